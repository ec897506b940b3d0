"""What an app without a folder leaves on the terminal: nothing but its own last words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dlpo_tui.base_app import BaseApp
from dlpo_tui.sound import Silent
from dlpo_tui.themed import run_quietly


class Over(BaseApp):
    def run(self, *args: object, **kwargs: object) -> None:
        """Over at once."""


class Searching(Silent):
    """A device that is still being looked for when the app ends."""

    def close(self) -> None:
        os.write(2, b"ALSA lib: no card\n")


def test_what_a_device_prints_at_the_end_goes_to_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    why = run_quietly(Over(), "test", Searching(), lambda: True)
    log = Path(why.removeprefix("why is in "))
    assert log.read_text() == "ALSA lib: no card\n"
    log.unlink()
    assert capfd.readouterr().err == ""


def test_without_a_reason_no_log_is_left(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_quietly(Over(), "test", Searching()) == ""
    assert capfd.readouterr().err == ""


def test_the_log_is_its_users_alone_and_nobody_knows_its_name() -> None:
    logs = [Path(run_quietly(Over(), "test", Silent(), lambda: True)[10:]) for _ in range(2)]
    assert logs[0] != logs[1]
    assert [log.stat().st_mode & 0o777 for log in logs] == [0o600, 0o600]
    for log in logs:
        log.unlink()
