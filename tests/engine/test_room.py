"""Microbatches that the profile leaves open: what fits is measured, said, and kept on going on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine import messages as m
from engine import room
from engine.journal import replay
from engine.memory import ProcessMemory
from engine.room import Room, measured
from tests.sessions import Ran, begun, gone_on, same
from tests.voices import write_profile, write_voice

pytestmark = pytest.mark.usefixtures("restored_threads")
MEASURED = ("rollout.microbatch=0", "train.microbatch=0", "evaluation.every=0")


class Plain:
    """Memory in which a row takes `row` beside `fixed`; work tells it how many rows it has."""

    def __init__(self, free: float, fixed: float, row: float, holds: int = 9) -> None:
        self.numbers, self.holds, self.rows = (free, fixed, row), holds, 0

    def work(self, rows: int) -> None:
        self.rows = rows
        if rows > self.holds:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def free(self) -> float:
        return self.numbers[0]

    def most(self, work: Callable[[], None]) -> float:
        work()
        return self.numbers[1] + self.rows * self.numbers[2]


def fit(memory: Plain, reserved: float = 0.0, most: int = 64) -> int:
    return measured(memory.work, memory, reserved).rows(most)


def test_as_many_rows_as_the_free_memory_holds() -> None:
    assert fit(Plain(free=1000, fixed=100, row=50)) == (0.8 * 1000 - 100) // 50
    assert fit(Plain(1000, 100, 50), reserved=300) == (0.8 * 1000 - 300 - 100) // 50
    assert fit(Plain(1000, 100, 50), most=8) == 8
    shared = Plain(1000, 100, 50)
    assert measured(shared.work, shared, processes=2).rows(64) == (0.8 * 1000 / 2 - 100) // 50
    assert fit(Plain(10, 100, 50)) == 1


def test_where_two_rows_do_not_fit_one_is_all() -> None:
    assert fit(Plain(free=1000, fixed=100, row=50, holds=1)) == 1


def test_a_row_that_seems_to_cost_nothing_costs_an_eighth_of_all() -> None:
    assert measured(Plain(1000, 100, 0).work, Plain(1000, 100, 0)).row == 100 / 8
    assert Room(free=100.0, fixed=0.0, row=0.0).rows(7) == 7


def test_other_trouble_is_not_taken_for_a_lack_of_memory() -> None:
    def work(rows: int) -> None:
        if rows == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measured(work, Plain(1, 1, 1))


# --- in a session


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ran]:
    profile = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    return lambda name, *changes: begun(profile, tmp_path / name, *changes)


def give(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """A machine with so much memory; what passes take stays what they take."""
    monkeypatch.setattr(ProcessMemory, "free", lambda self: free)
    monkeypatch.setattr(room, "memory_of", lambda device: ProcessMemory())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_session_measures_says_and_learns_the_same(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, 1.0)
    narrow = run("narrow", *MEASURED)
    told = [(e.update, e.phase, e.size) for e in narrow.of(m.MicrobatchMeasured)]
    assert told == [(0, "rollout", 1), (0, "optimise", 1)]
    assert narrow.session.rows == {"rollout": 1, "optimise": 1}
    assert narrow.session.learner.settings.microbatch == 1
    sentence = narrow.of(m.MicrobatchMeasured)[1].sentence
    assert sentence.startswith("an update takes 1 clip at a time: measured ")
    alone = ("rollout.microbatch=1", "train.microbatch=1", "evaluation.every=0")
    by_hand = run("by hand", *alone)
    assert same(narrow.weights, by_hand.weights)  # the measuring left no trace
    assert by_hand.of(m.MicrobatchMeasured) == []
    give(monkeypatch, 1e12)
    wide = run("wide", *MEASURED)
    assert wide.session.rows == {"rollout": 4, "optimise": 4}  # the batch is no larger


def test_it_goes_on_with_what_was_measured(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, 1.0)
    first = run("run", "train.updates=1", *MEASURED)
    assert [one.size for one in replay(first.folder).microbatches] == [1, 1]
    give(monkeypatch, 1e12)
    again = gone_on(first.folder, "train.updates=2")
    assert again.of(m.MicrobatchMeasured) == []
    assert again.session.rows == {"rollout": 1, "optimise": 1}


def test_a_session_that_goes_on_measures_what_it_is_asked_to_only_then(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, 1e12)
    first = run("run", "train.updates=1", "evaluation.every=0", "train.microbatch=1")
    again = gone_on(first.folder, "train.updates=2", "train.microbatch=0")
    assert [(e.update, e.phase, e.size) for e in again.of(m.MicrobatchMeasured)] == [
        (1, "optimise", 4)
    ]


def test_where_nothing_can_be_measured_the_usual_numbers_do(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "memory_of", lambda device: None)
    ran = run("run", *MEASURED, "train.updates=1")
    assert ran.ended.reason == "finished"
    assert ran.session.rows == {"rollout": 8, "optimise": 4}
    assert (
        "this system does not say how much memory a pass takes: a rollout takes 8 clips, an "
        "update takes 4 clips at a time"
    ) in ran.notices


def test_a_stop_is_heard_while_it_measures(tmp_path: Path) -> None:
    profile = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))

    def stop(event: m.Event, session: object) -> None:
        if isinstance(event, m.PhaseProgressed) and event.phase == "loading" and event.done == 2:
            session.commands.put(m.Stop())  # type: ignore[attr-defined]

    ran = begun(profile, tmp_path / "run", *MEASURED, react=stop)
    assert ran.ended == m.SessionEnded(0, "stopped")
    assert ran.of(m.MicrobatchMeasured) == []
