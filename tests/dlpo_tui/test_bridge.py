"""The bridge: nothing is lost on the way, and no failure vanishes."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
from queue import SimpleQueue

import pytest
import scenes

from dlpo_tui.bridge import BEHIND_THE_SCREEN, Bridge, SessionLike, sentence
from engine.messages import (
    Command,
    CommandRefused,
    Emit,
    Pause,
    PhaseEntered,
    Resume,
    SessionEnded,
    Stop,
)


class Broken:
    """Opens, and fails as told."""

    def __init__(self, error: BaseException | None, before: tuple[SessionEnded, ...] = ()) -> None:
        self.commands: SimpleQueue[Command] = SimpleQueue()
        self.error, self.before = error, before
        self.emit: Emit = lambda event: None

    def open(self, emit: Emit) -> Broken:
        self.emit = emit
        return self

    def run(self) -> None:
        self.emit(scenes.STARTED)
        for event in self.before:
            self.emit(event)
        if self.error is not None:
            raise self.error


def ended(bridge: Bridge) -> SessionEnded:
    assert bridge.join(10)
    assert bridge.drain()
    assert bridge.now.ended is not None
    return bridge.now.ended


def test_an_exception_while_opening_becomes_the_end(caplog: pytest.LogCaptureFixture) -> None:
    def open_session(emit: Emit) -> SessionLike:
        raise FileNotFoundError("there is no file pretrained/x.ckpt\nand more")

    with caplog.at_level(logging.ERROR):
        end = ended(Bridge(open_session))
    assert end == SessionEnded(0, "failed", "there is no file pretrained/x.ckpt")
    assert "Traceback" in caplog.text


def test_what_the_disk_says_of_a_users_name_is_a_refusal() -> None:
    def open_session(emit: Emit) -> SessionLike:
        raise OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300)

    end = ended(Bridge(open_session))
    assert end.refused
    assert "File name too long" in end.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("CUDA is gone"), "CUDA is gone"),
        (KeyError("alpha"), "KeyError: 'alpha'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_exception_while_running_becomes_the_end(error: BaseException, told: str) -> None:
    assert sentence(error) == told
    bridge = Bridge(Broken(error).open)
    assert ended(bridge) == SessionEnded(0, "failed", told)
    assert bridge.now.started == scenes.STARTED


def test_an_error_after_the_end_changes_nothing() -> None:
    end = SessionEnded(0, "finished")
    assert ended(Bridge(Broken(RuntimeError("late"), (end,)).open)) == end


def test_a_session_that_returns_without_an_end_has_failed() -> None:
    assert ended(Bridge(Broken(None).open)).reason == "failed"


def test_the_end_names_the_last_finished_update() -> None:
    class Dies(scenes.Scripted):
        def run(self) -> None:
            raise OSError("no space left on device")

    assert ended(Bridge(Dies(scenes.running(12)).open)).update == 12


def test_commands_sent_before_the_session_opens_arrive_in_order() -> None:
    may_open = threading.Event()
    session = scenes.Scripted([scenes.STARTED])

    def open_session(emit: Emit) -> SessionLike:
        assert may_open.wait(10)
        return session.open(emit)

    bridge = Bridge(open_session)
    bridge.send(Pause())
    bridge.send(Resume())
    assert not bridge.drain()
    may_open.set()
    bridge.send(Stop())
    assert ended(bridge).reason == "stopped"
    assert session.told == [Pause(), Resume(), Stop()]


def test_drain_folds_what_came_and_says_whether_anything_did() -> None:
    bridge, session = scenes.scripted(scenes.running())
    assert bridge.drain()
    assert bridge.now == scenes.fold(scenes.running())
    before = bridge.now
    assert not bridge.drain()
    assert bridge.now is before
    session.emit(PhaseEntered(40, "paused"))
    session.emit(CommandRefused(40, "no"))
    assert bridge.drain()
    assert bridge.now.paused
    assert bridge.refusals == [CommandRefused(40, "no")]
    bridge.send(Stop())
    assert bridge.join(10)


def test_a_helping_leaves_the_rest_of_a_burst_for_later() -> None:
    events = scenes.running(20)
    bridge, _ = scenes.scripted(events)
    assert bridge.waiting == len(events)
    helpings = 0
    while bridge.drain(0.0):
        helpings += 1
        assert bridge.now == scenes.fold(events[:helpings])
    assert helpings == len(events)
    assert bridge.waiting == 0
    bridge.send(Stop())
    assert bridge.join(10)


def test_join_gives_up_in_time() -> None:
    bridge, _ = scenes.scripted([scenes.STARTED])
    assert not bridge.join(0.01)
    bridge.send(Stop())
    assert bridge.join(10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives threads their own priority")
def test_the_session_and_what_it_starts_stand_behind_the_screen() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, found = niceness(), []

    class Asking(Broken):
        def run(self) -> None:
            found.append(niceness())
            worker = threading.Thread(target=lambda: found.append(niceness()))
            worker.start()
            worker.join()

    assert Bridge(Asking(None).open).join(10)
    assert found == [max(before, BEHIND_THE_SCREEN)] * 2
    assert niceness() == before


def test_a_session_is_opened_behind_the_first_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlpo_tui.bridge.PAINTED_SECONDS", 60.0)
    painted, seen = threading.Event(), []

    def open_session(emit: Emit) -> SessionLike:
        seen.append(painted.is_set())
        return Broken(None, (SessionEnded(0, "finished"),)).open(emit)

    bridge = Bridge(open_session, behind_first_paint=True)
    bridge.send(Pause())  # waits with it
    assert not bridge.drain()
    painted.set()
    bridge.painted.set()
    assert ended(bridge) == SessionEnded(0, "finished")
    assert seen == [True]


def test_a_session_that_is_only_waited_for_is_opened_without_a_paint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dlpo_tui.bridge.PAINTED_SECONDS", 60.0)
    bridge = Bridge(Broken(None, (SessionEnded(0, "finished"),)).open, behind_first_paint=True)
    assert ended(bridge) == SessionEnded(0, "finished")
