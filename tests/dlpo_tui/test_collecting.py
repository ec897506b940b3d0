"""What is loaded once is not looked at again by every collection of garbage."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import scenes

from dlpo_tui.bridge import Bridge
from engine.messages import Stop, UpdateFinished


def test_what_exists_is_exempt_and_what_comes_later_is_not() -> None:
    code = (
        "import gc\n"
        "from dlpo_tui.collecting import spare_what_is_loaded as spare\n"
        "before = len(gc.get_objects()); spare()\n"
        "print(gc.get_freeze_count() >= before, len(gc.get_objects()) < before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_a_session_is_spared_when_it_is_open_and_once_its_first_update_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times: list[None] = []
    freezing = SimpleNamespace(freeze=lambda: times.append(None))
    monkeypatch.setattr("dlpo_tui.collecting.gc", freezing)
    events = scenes.running(5)
    assert sum(isinstance(event, UpdateFinished) for event in events) == 5
    bridge = Bridge(scenes.Scripted(events).open)
    bridge.send(Stop())
    assert bridge.join(10)
    assert len(times) == 2
