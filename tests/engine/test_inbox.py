"""Commands on several ranks: rank 0 hears, all take. Alone, the session's tests say it."""

from __future__ import annotations

from typing import TypeVar

import pytest

from engine import inbox
from engine import messages as m
from engine.inbox import Inbox

T = TypeVar("T")


class Passing:
    """Rank 0 of two, with what it passes to the other."""

    leads = True

    def __init__(self) -> None:
        self.passed: list[object] = []

    def agree(self, value: T) -> T:
        self.passed.append(value)
        return value


class Told(Passing):
    """Rank 1, which is told these in turn."""

    leads = False

    def __init__(self, *told: list[m.Command]) -> None:
        super().__init__()
        self.told = list(told)

    def agree(self, value: T) -> T:
        super().agree(value)
        return self.told.pop(0)  # type: ignore[return-value]


def test_what_rank_0_hears_goes_to_all_and_nothing_is_told_too() -> None:
    ranks = Passing()
    box = Inbox(ranks)  # type: ignore[arg-type]
    box.hear()
    box.queue.put(m.Pause())
    box.queue.put(m.Evaluate())
    box.hear()
    assert ranks.passed == [[], [m.Pause(), m.Evaluate()]]
    assert (box.paused, list(box.waiting)) == (True, [m.Evaluate()])


def test_another_rank_takes_what_it_is_told_and_nothing_else() -> None:
    box = Inbox(Told([m.Pause()], [], [], [m.Resume()]))  # type: ignore[arg-type]
    box.queue.put(m.Stop())  # nobody may give it one
    box.hear()
    assert (box.paused, box.stopping) == (True, False)
    box.wait()
    assert (box.paused, box.stopping) == (False, False)


def test_while_it_waits_rank_0_keeps_the_others_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "AWAKE_SECONDS", 0.001)
    ranks = Passing()
    box = Inbox(ranks)  # type: ignore[arg-type]
    agree = ranks.agree

    def then_resume(value: T) -> T:
        if len(ranks.passed) == 3:
            box.queue.put(m.Resume())
        return agree(value)

    monkeypatch.setattr(ranks, "agree", then_resume)
    box.wait()
    assert ranks.passed == [[], [], [], [], [m.Resume()]]
