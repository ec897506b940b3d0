"""Which grids of charts there are at a size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets.shapes import MOST, SMALLEST_HEIGHT, SMALLEST_WIDTH, choices, wished

SIZES = {"width": st.integers(1, 300), "height": st.integers(1, 100), "count": st.integers(0, 30)}


@given(**SIZES)
def test_every_choice_is_larger_than_the_one_before_and_can_be_drawn(
    width: int, height: int, count: int
) -> None:
    found = choices(width, height, count)
    assert found[0] == (1, 1)
    counts = [columns * rows for columns, rows in found]
    assert counts == sorted(set(counts))
    assert counts[-1] <= MOST
    for columns, rows in found[1:]:
        assert width // columns >= SMALLEST_WIDTH
        assert height // rows >= SMALLEST_HEIGHT


@given(**SIZES, wish=st.integers(0, 40))
def test_a_wish_is_a_choice_and_never_passed(
    width: int, height: int, count: int, wish: int
) -> None:
    columns, rows = wished(width, height, count, wish)
    assert (columns, rows) in choices(width, height, count)
    assert columns * rows <= max(wish, 1)


def test_charts_stay_about_as_wide_as_they_should() -> None:
    assert choices(116, 20, 8) == [(1, 1), (2, 1), (2, 2), (3, 2), (4, 2)]
