from __future__ import annotations

import pytest

from engine.messages import RolledBack
from engine.setbacks import MAX_ROLLBACKS, MAX_SKIPPED, SessionError, Setbacks


def skip(setbacks: Setbacks, update: int) -> list[bool]:
    return [setbacks.count(update + i, 1) for i in range(MAX_SKIPPED)]


def test_three_in_a_row_and_no_fewer_call_for_going_back() -> None:
    setbacks = Setbacks()
    assert skip(setbacks, 1) == [False, False, True]
    setbacks = Setbacks()
    told = [setbacks.count(update, skipped) for update, skipped in enumerate((1, 1, 0, 1, 1, 0))]
    assert told == [False] * 6


def test_too_often_without_getting_past_is_the_end() -> None:
    setbacks = Setbacks()
    for _ in range(MAX_ROLLBACKS):
        assert not setbacks.count(6, 0)  # a good update, but not past where it had been
        assert skip(setbacks, 7)[-1]
        setbacks.went_back(RolledBack(5, 9, "back"))
        assert setbacks.skipped == 0
    setbacks.count(7, 1)
    setbacks.count(8, 1)
    with pytest.raises(SessionError, match="3 updates in a row had a loss or gradient that is not"):
        setbacks.count(9, 1)


def test_a_good_update_past_where_it_had_been_ends_the_count() -> None:
    setbacks = Setbacks(0, (RolledBack(5, 9, "back"),))
    setbacks.count(9, 0)
    assert setbacks.undone
    setbacks.count(10, 1)
    assert setbacks.undone
    setbacks.count(10, 0)
    assert setbacks.undone == ()
