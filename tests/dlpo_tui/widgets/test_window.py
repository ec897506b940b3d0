"""The horizontal window: following, zooming, moving along with the cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.window import SHORTEST, Window

WINDOWS = st.builds(Window, st.integers(SHORTEST, 500), st.none() | st.integers(0, 900))


@pytest.mark.parametrize(
    ("window", "newest", "seen"),
    [
        (Window(), 0, (0, 10)),
        (Window(), 400, (0, 400)),
        (Window(50), 400, (350, 400)),
        (Window(50), 20, (0, 20)),
        (Window(50), 3, (0, 10)),
        (Window(50, 120), 400, (70, 120)),
        (Window(50, 120), 100, (50, 100)),
    ],
)
def test_what_is_seen(window: Window, newest: int, seen: tuple[int, int]) -> None:
    assert window.span(newest) == Span(*seen)


def test_the_zoom_follows_the_newest_where_nothing_else_is_pointed_at() -> None:
    closer = Window().zoomed(0.5, None, 400)
    assert closer == Window(200)
    assert closer.describe(400) == "last 200 updates"
    assert closer.zoomed(2.0, None, 400) == Window()


def test_the_update_pointed_at_stays_where_it_is() -> None:
    before, after = Window(), Window().zoomed(0.5, 100, 400)
    assert after.span(400).share(100) == pytest.approx(before.span(400).share(100), abs=0.01)
    assert after.describe(400) == "updates 50–250"


@given(WINDOWS, st.sampled_from([0.5, 2.0]), st.integers(-5, 950), st.integers(11, 900))
def test_no_zoom_leaves_what_there_is(window: Window, times: float, at: int, newest: int) -> None:
    seen = window.zoomed(times, at, newest).span(newest)
    assert 0 <= seen.low < seen.high <= newest
    assert seen.high - seen.low >= SHORTEST


@given(WINDOWS, st.integers(0, 900), st.integers(10, 900))
def test_the_window_goes_along_with_the_cursor(window: Window, update: int, newest: int) -> None:
    update = min(update, newest)
    seen = window.holding(update, newest).span(newest)
    assert seen.low <= update <= seen.high
