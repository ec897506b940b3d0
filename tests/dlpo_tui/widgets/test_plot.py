"""The drawing of curves: gaps, infinities, single points, constants, emptiness."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets import plot
from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.series import Shape

ACROSS, UP = Span(0, 9), Span(0.0, 1.0)


Run = tuple[int, int] | None


def listed(runs: plot.Runs) -> list[Run]:
    """By dot column: topmost and lowest dot; None where there is none."""
    return [None if run == plot.NOTHING else (run[0], run[1]) for run in runs.tolist()]


def rows_of(ys: list[float | None], width: int = 10, height: int = 8) -> list[Run]:
    runs, _ = plot.columns(list(range(len(ys))), ys, ACROSS, UP, width, height)
    return listed(runs)


def test_a_rising_line_covers_every_column_without_a_break() -> None:
    runs = rows_of([i / 9 for i in range(10)])
    assert runs[0] is not None
    assert runs[0][1] == 7
    assert runs[9] is not None
    assert runs[9][0] == 0
    for left, right in itertools.pairwise(runs):
        assert left is not None
        assert right is not None
        assert right[1] >= left[0] - 1, "neighbouring columns touch"


@pytest.mark.parametrize("gap", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_gap(gap: float | None) -> None:
    runs = rows_of([0.5, 0.5, 0.5, gap, gap, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert [run is None for run in runs] == [False] * 3 + [True] * 2 + [False] * 5


def test_a_point_without_neighbours_is_told_apart() -> None:
    runs, alone = plot.columns([0, 4, 8], [0.0, None, 1.0], ACROSS, UP, 10, 8)
    assert listed(runs) == [None] * 10
    assert alone == [(0, 7), (8, 0)]


def test_many_points_in_a_column_keep_their_extremes() -> None:
    ys: list[float | None] = [0.5] * 1000
    ys[300], ys[301] = 0.0, 1.0
    xs = [9 * i / 999 for i in range(1000)]
    runs, _ = plot.columns(xs, ys, ACROSS, UP, 10, 8)
    assert listed(runs)[3] == (0, 7)
    assert listed(runs)[7] == (4, 4)


@given(
    ys=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    width=st.integers(1, 40),
    height=st.integers(4, 40),
)
def test_no_input_draws_outside(ys: list[float | None], width: int, height: int) -> None:
    across = Span(0, max(len(ys) - 1, 1))
    runs, alone = plot.columns(list(range(len(ys))), ys, across, UP, width, height)
    assert all(run is None or 0 <= run[0] <= run[1] < height for run in listed(runs))
    assert all(0 <= x < width and 0 <= y < height for x, y in alone)
    cells = plot.braille(runs, height)
    assert all(0 < bits < 256 for bits in cells.values())


def test_the_band_lies_around_its_line() -> None:
    xs, lows, highs = (plot.array(v) for v in ([0.0, 9.0], [0.25, 0.25], [0.75, 0.75]))
    edges = plot.band(xs, lows, highs, ACROSS, UP, 10, 8)
    for edge in edges:
        assert edge is not None
        assert edge[0] == pytest.approx(2, abs=0.2)
        assert edge[1] == pytest.approx(6, abs=0.2)


def test_a_line_from_outside_the_window_reaches_its_edge() -> None:
    runs, alone = plot.columns([-5, 5, 20], [0.5, 0.5, 0.5], ACROSS, UP, 10, 8)
    assert all(run == (4, 4) for run in listed(runs))
    assert alone == []
    runs, alone = plot.columns([-5, 20], [0.5, None], ACROSS, UP, 10, 8)
    assert (listed(runs), alone) == ([None] * 10, [])


def test_a_cell_of_braille_is_what_its_dots_say() -> None:
    runs = np.array([(0, 0), plot.NOTHING, (1, 6), (7, 7)])
    assert plot.braille(runs, 8) == {(0, 0): 0x01, (0, 1): 0x46, (1, 1): 0x87}


@pytest.mark.parametrize(("shape", "columns"), [("line", 8), ("dashes", 6), ("dots", 2)])
def test_lines_differ_without_colour(shape: Shape, columns: int) -> None:
    cells = plot.braille(np.zeros((8, 2), dtype=np.int64), 4, shape)
    assert sum(bits.bit_count() for bits in cells.values()) == columns
