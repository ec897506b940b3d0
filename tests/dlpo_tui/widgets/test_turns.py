"""What can be undone of the knobs."""

from __future__ import annotations

from dlpo_tui.widgets.turns import UNDO, Asked, unconfirmed, undoable
from engine.messages import Knobs, KnobsChanged

VALUES = {"alpha": 3.0, "beta": 1.0}


def turn(old: float, new: float, who: str = "user", name: str = "alpha") -> KnobsChanged:
    return KnobsChanged(1, who, {name: old}, {name: new}, Knobs())


def test_undoing_walks_back() -> None:
    turns = [turn(1.0, 2.0), turn(2.0, 3.0)]
    assert undoable(turns, [], VALUES) == [{"alpha": 1.0}, {"alpha": 2.0}]
    turns.append(turn(3.0, 2.0, UNDO))
    assert undoable(turns, [], VALUES) == [{"alpha": 1.0}]
    turns.append(turn(2.0, 5.0))
    assert undoable(turns, [], VALUES) == [{"alpha": 1.0}, {"alpha": 2.0}]


def test_what_is_only_asked_for_can_be_undone_as_well() -> None:
    asked = [Asked({"alpha": 4.0}, "user"), Asked({"alpha": 5.0, "beta": 2.0}, "user")]
    assert undoable([], asked, VALUES) == [{"alpha": 3.0}, {"alpha": 4.0, "beta": 1.0}]
    asked.append(Asked({"alpha": 4.0, "beta": 1.0}, UNDO))
    assert undoable([], asked, VALUES) == [{"alpha": 3.0}]


def test_an_undo_too_many_is_none() -> None:
    assert undoable([turn(1.0, 2.0, UNDO)], [Asked({"alpha": 1.0}, UNDO)], VALUES) == []


def test_what_the_session_confirms_is_asked_for_no_more() -> None:
    asked = [Asked({"alpha": 2.0}, "user"), Asked({"alpha": 1.0}, UNDO)]
    assert unconfirmed(asked, [turn(1.0, 2.0)]) == asked[1:]
    assert unconfirmed(asked, [turn(1.0, 2.0), turn(2.0, 1.0, UNDO)]) == []
    assert unconfirmed(asked, [turn(1.0, 2.0, "somebody else")]) == asked
