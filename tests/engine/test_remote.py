"""The process of a detached session, run in this one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import address, journal, remote
from engine import messages as m
from tests.audience import Raw, until


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    import logging

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    handling = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    yield
    logging.captureWarnings(False)
    root.setLevel(level)
    root.handlers[:] = handlers
    for number, handler in handling.items():
        signal.signal(number, handler)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_what_is_refused_is_told_to_the_starter_the_terminals_and_the_journal(
    tmp_path: Path, pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "profile.toml").write_text('voice.checkpoint = "away.safetensors"\n')
    met: list[object] = []

    def attach() -> None:
        until(lambda: address.alive(tmp_path) and address.read(tmp_path) is not None)
        at = Raw(tmp_path / "session.sock")
        met.append(at.find(m.SessionEnded))
        at.close()

    ready, theirs = pipe
    terminal = threading.Thread(target=attach)
    check = remote.opened

    def after_the_terminal(*arguments: object) -> object:
        until(lambda: bool(arguments[0].guests))  # type: ignore[attr-defined]
        return check(*arguments)  # type: ignore[arg-type]

    remote.opened = after_the_terminal  # type: ignore[assignment]
    try:
        terminal.start()
        assert remote.main([str(tmp_path), "--tell", str(theirs)]) == 2
    finally:
        remote.opened = check
    terminal.join(30)
    told = os.read(ready, 4096).decode().splitlines()
    assert told[0] == remote.READY
    assert told[1].startswith(remote.REFUSED)
    assert "away.safetensors" in told[1]
    assert "Traceback" not in capsys.readouterr().err
    (end,) = journal.events(tmp_path)
    assert met == [end]
    assert isinstance(end, m.SessionEnded)
    assert end.refused
    assert not address.alive(tmp_path)


def test_a_run_that_is_served_already_is_refused(tmp_path: Path, pipe: tuple[int, int]) -> None:
    claim = address.Claim(tmp_path)
    assert remote.main([str(tmp_path), "--tell", str(pipe[1])]) == 2
    told = os.read(pipe[0], 4096).decode()
    assert told.startswith(remote.REFUSED)
    assert "at work in another process" in told
    claim.close()


def test_a_starter_that_is_gone_disturbs_nobody(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    (tmp_path / "profile.toml").write_text("nonsense = 1\n")
    assert remote.main([str(tmp_path), "--tell", str(theirs)]) == 2
    os.close(theirs)
