"""What can be undone of the knobs: a fold of their changes; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.messages import KnobsChanged

UNDO = "undo"
"""Who undoes: a change by this name, or by one that begins so, takes the one before it back, and
is none itself."""
UNDO_BY = f"{UNDO} by "
"""Before the name of a terminal that is one of several."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that was asked for and that the session has not confirmed."""

    changes: Mapping[str, float]
    who: str


def undoable(
    turns: Sequence[KnobsChanged], asked: Sequence[Asked], values: Mapping[str, float]
) -> list[dict[str, float]]:
    """The values before each change that still holds, the newest last.

    `values`: of all knobs, after `turns` and before `asked`.
    """
    stack: list[dict[str, float]] = []
    for turn in turns:
        push(stack, turn.who, turn.old)
    current = dict(values)
    for wish in asked:
        push(stack, wish.who, {name: current[name] for name in wish.changes})
        current |= wish.changes
    return stack


def push(stack: list[dict[str, float]], who: str, old: Mapping[str, float]) -> None:
    if not undoes(who):
        stack.append(dict(old))
    elif stack:
        stack.pop()


def undoes(who: str) -> bool:
    return who == UNDO or who.startswith(UNDO_BY)


def unconfirmed(asked: Sequence[Asked], news: Sequence[KnobsChanged]) -> list[Asked]:
    """What is still asked for after the session's latest changes, which come in order."""
    left = list(asked)
    for turn in news:
        if left and (dict(left[0].changes), left[0].who) == (turn.new, turn.who):
            left.pop(0)
    return left
