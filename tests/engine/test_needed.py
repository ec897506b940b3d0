from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import messages as m
from engine import needed as module
from engine.journal import Journal, events, lines_of, replay
from engine.needed import needed
from tests.tools.golden import CLIP, EVENTS, INTERVAL, STATS

FEW = 7
"""Clips that a snapshot holds in these tests."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "KEPT_CLIPS", FEW)
    monkeypatch.setattr(module, "KEPT_CLIPS", FEW)


def clip(update: int, index: int, evaluated: bool) -> m.Clip:
    return m.Clip(
        update, index, "evaluation" if evaluated else "rollout", '"kind": "evaluation", "index": 3',
        "anna", 0, 0.5, "", {"mos": 1.0}, 1.0,
    )  # fmt: skip


def batch(update: int, count: int, evaluated: bool = False) -> m.ClipsScored:
    return m.ClipsScored(update, tuple(clip(update, i, evaluated) for i in range(count)))


STEPS: dict[str, Callable[[int, int], list[m.Event]]] = {
    "update": lambda at, n: [
        m.PhaseEntered(at, "rollout"), batch(at + 1, n), m.UpdateFinished(at + 1, STATS),
    ],
    "again": lambda at, n: [batch(at + 1, n), batch(at + 1, n), m.UpdateFinished(at + 1, STATS)],
    "look": lambda at, n: [
        m.PhaseEntered(at, "evaluate"), batch(at, n, True),
        m.EvaluationFinished(at, {"mos": INTERVAL}, 1.0),
    ],
    "resumed": lambda at, n: [m.SessionResumed(max(at - n, 0), 99, m.Knobs())],
    "back": lambda at, n: [m.RolledBack(max(at - n, 0), at, "back")],
    "paused": lambda at, n: [m.PhaseEntered(at, "paused")],
    "ended": lambda at, n: [m.SessionEnded(at, "stopped")],
}  # fmt: skip


def written(folder: Path, told: list[m.Event]) -> Path:
    (folder / "events.jsonl").unlink(missing_ok=True)
    journal = Journal(folder)
    for event in told:
        journal.write(event)
    journal.close()
    return folder


def full(folder: Path) -> m.Snapshot:
    now = m.Snapshot()
    for event in events(folder):
        now = m.advance(now, event)
    return now


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(1, 4)), max_size=25))
def test_the_fold_of_what_is_needed_is_the_fold_of_all(
    tmp_path: Path, steps: list[tuple[str, int]]
) -> None:
    told: list[m.Event] = [m.PhaseEntered(0, "loading"), EVENTS[1], batch(0, 2, True)]
    at = 0
    for name, number in steps:
        told += STEPS[name](at, number)
        if isinstance(told[-1], m.UpdateFinished | m.SessionResumed | m.RolledBack):
            at = told[-1].update
    folder = written(tmp_path, told)
    assert replay(folder) == full(folder)


def test_what_was_lost_or_said_again_makes_nothing_older_superfluous(tmp_path: Path) -> None:
    one, two, three = STEPS["update"](0, 3), STEPS["update"](1, 1), STEPS["update"](2, 3)
    for told in (
        [*one, *two, *three, m.SessionResumed(1, 99, m.Knobs()), *STEPS["update"](1, 4)],
        [*one, *two, *three, m.RolledBack(1, 3, "back"), *STEPS["update"](1, 4)],
        [*one, *STEPS["again"](1, 4)],
    ):
        folder = written(tmp_path, told)
        assert {clip.update for clip in full(folder).clips} == {1, 2}
        assert replay(folder) == full(folder)


def test_of_a_long_journal_little_is_needed(tmp_path: Path) -> None:
    told = [event for at in range(50) for event in STEPS["update"](at, 2)]
    wanted = needed(lines_of(written(tmp_path, told)))
    kinds = [type(event) for event, use in zip(told, wanted, strict=True) if use]
    assert kinds.count(m.UpdateFinished) == 50
    assert kinds.count(m.ClipsScored) == 4  # of two clips each; seven are held
    assert kinds.count(m.PhaseEntered) == 1


def test_a_row_that_begins_otherwise_is_needed() -> None:
    assert (
        needed([b"", b"{", b'{"kind": "PhaseEntered", "update": 1, "phase": "score"}'])
        == [True] * 3
    )


def test_every_kind_of_event_folds_alike(tmp_path: Path) -> None:
    folder = written(tmp_path, [*EVENTS, m.ClipsScored(1, (CLIP,))])
    assert replay(folder) == full(folder)
