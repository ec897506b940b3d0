"""Real processes, without torch: each prints the events it is told to, as a session would."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlpo_tui.children import Child, Children, Outcome, outcome
from engine import messages as m

LOADING, DONE = m.PhaseEntered(0, "loading"), m.SessionEnded(2, "finished")


def says(*events: m.Event, then: str = "") -> tuple[str, ...]:
    """A command that prints these events, then does as told."""
    lines = "".join(f"print({json.dumps(m.to_json(event))!r}, flush=True)\n" for event in events)
    return (sys.executable, "-c", f"import os, signal, sys\n{lines}{then}")


class Heard:
    def __init__(self) -> None:
        self.events: list[tuple[str, m.Event]] = []
        self.ends: dict[str, Outcome] = {}
        self.then: Callable[[str, m.Event], None] = lambda name, event: None

    def hear(self, name: str, event: m.Event) -> None:
        self.events.append((name, event))
        self.then(name, event)

    def left(self, name: str, done: Outcome) -> None:
        self.ends[name] = done


@pytest.fixture
def heard() -> Heard:
    return Heard()


def run(heard: Heard, *children: Child, at_once: int = 2) -> dict[str, Outcome]:
    return Children(at_once, heard.hear, heard.left).run(children)


def test_every_event_is_heard_and_every_end_told(heard: Heard) -> None:
    noise = "print('a library says hello')\nprint('{\"kind\": \"Nonsense\"}')"
    ends = run(
        heard,
        Child("one", says(LOADING, DONE)),
        Child("two", says(LOADING, DONE, then=noise)),
        Child("three", says(DONE)),
    )
    assert ends == heard.ends == dict.fromkeys(("one", "two", "three"), Outcome(True))
    assert [event for name, event in heard.events if name == "two"] == [LOADING, DONE]


REFUSAL = "print('noise\\ndlpo-tui: no such voice', file=sys.stderr)\nsys.exit(2)"


def test_one_that_fails_leaves_the_others_alone(heard: Heard) -> None:
    failed = m.SessionEnded(1, "failed", "the disk is full")
    ends = run(
        heard,
        Child("session", says(failed, then="sys.exit(1)")),
        Child("refused", says(then=REFUSAL)),
        Child("crashed", says(LOADING, then="1 / 0")),
        Child("killed", says(LOADING, then="os.kill(os.getpid(), signal.SIGKILL)")),
        Child("silent", says(then="sys.exit(3)")),
        Child("fine", says(DONE)),
        at_once=1,
    )  # fmt: skip
    assert {name: end.sentence for name, end in ends.items()} == {
        "session": "the disk is full",
        "refused": "no such voice",
        "crashed": "ZeroDivisionError: division by zero",
        "killed": "its process was ended by SIGKILL, as a system does where memory is short",
        "silent": "its process ended with code 3",
        "fine": "",
    }
    assert [name for name, end in ends.items() if end.finished] == ["fine"]


def test_a_child_has_its_share_of_the_machine_and_is_made_ready_before_it(
    heard: Heard, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    then = f"assert open({str(ready)!r}).read() == os.environ['OMP_NUM_THREADS'] == '7'"

    def lay_ready() -> None:
        ready.write_text("7")

    child = Child("one", says(DONE, then=then), {"OMP_NUM_THREADS": "7"}, lay_ready)
    assert run(heard, child) == {"one": Outcome(True)}


STOPPED = json.dumps(m.to_json(m.SessionEnded(1, "stopped")))
OBEYS = f"""
def stop(*_):
    print({STOPPED!r}, flush=True)
    os._exit(130)
signal.signal(signal.SIGINT, stop)
print({json.dumps(m.to_json(m.PhaseEntered(0, "rollout")))!r}, flush=True)
while True:
    signal.pause()
"""
DEAF = OBEYS.replace("SIGINT, stop", "SIGINT, signal.SIG_IGN")


def test_a_stop_reaches_those_at_work_and_keeps_the_others_from_beginning(heard: Heard) -> None:
    children = Children(1, heard.hear, heard.left)
    heard.then = lambda name, event: (
        children.stop() if event == m.PhaseEntered(0, "rollout") else None
    )
    ends = children.run([Child("one", says(then=OBEYS)), Child("two", says(DONE))])
    assert children.stopped()
    assert ends == {"one": Outcome(False), "two": Outcome(False)}
    assert [event for _, event in heard.events][-1] == m.SessionEnded(1, "stopped")
    assert list(heard.ends) == ["one"]


def test_a_second_stop_kills(heard: Heard) -> None:
    children = Children(1, heard.hear, heard.left)

    def twice(name: str, event: m.Event) -> None:
        children.stop()
        children.stop()

    heard.then = twice
    assert children.run([Child("deaf", says(then=DEAF))]) == {"deaf": Outcome(False)}


def test_a_session_that_somebody_else_stopped_is_no_failure() -> None:
    assert outcome(130, m.SessionEnded(1, "stopped"), "") == Outcome(False)
    assert outcome(-signal.SIGTERM, None, "") == Outcome(False, "its process was ended by SIGTERM")
