from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.thinning import MOST, NEWEST, STRETCHES, Rows, thinned


def itself(row: float | None) -> float | None:
    return row


def rows(count: int) -> Rows[float | None]:
    return tuple((update, float(update * 7919 % 1009)) for update in range(1, count + 1))


def grown(all_of: Rows[float | None]) -> Rows[float | None]:
    """One row after the other, as a session's fold meets them."""
    now: Rows[float | None] = ()
    for row in all_of:
        now = thinned((*now, row), itself)
    return now


def test_a_session_of_some_length_keeps_every_row() -> None:
    assert thinned(rows(MOST), itself) == rows(MOST)


def test_ever_more_rows_never_are_many_and_the_ends_stay() -> None:
    every = rows(6 * MOST)
    now: Rows[float | None] = ()
    for row in every:
        now = thinned((*now, row), itself)
        assert len(now) <= MOST
        assert now[0] == every[0]
        assert now[-1] == row
    assert now[-NEWEST:] == every[-NEWEST:]
    assert [update for update, _ in now] == sorted({update for update, _ in now})
    assert set(now) <= set(every)


def test_peaks_stay_however_old() -> None:
    every = list(rows(5 * MOST))
    every[1000], every[2000], every[7000] = (1001, 5000.0), (2001, -5000.0), (7001, 6000.0)
    now = grown(tuple(every))
    assert {every[1000], every[2000], every[7000]} <= set(now)
    gaps = [b - a for (a, _), (b, _) in pairwise(now)]
    assert max(gaps) <= 2 * 2 * 5 * MOST // STRETCHES


@settings(max_examples=15, deadline=None)
@given(st.integers(MOST // 2, 3 * MOST), st.integers(0, NEWEST - 1))
def test_going_back_and_doing_it_again_leaves_the_same_rows(at: int, back: int) -> None:
    every = rows(3 * MOST + NEWEST)
    now = grown(every[:at])
    kept = tuple(row for row in now if row[0] <= at - back)
    for row in every[at - back :]:
        kept = thinned((*kept, row), itself)
    assert kept == grown(every)


def test_what_has_no_value_leaves_one_row_a_stretch() -> None:
    nothing = tuple((update, None) for update in range(1, MOST + 2))
    now = thinned(nothing, itself)
    assert NEWEST < len(now) <= NEWEST + STRETCHES + 1
    assert now[0] == nothing[0]
