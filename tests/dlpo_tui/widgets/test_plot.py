"""The drawing of curves: gaps, infinities, single points, constants, emptiness."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets import plot
from dlpo_tui.widgets.plot import Series, Span

ACROSS, UP = Span(0, 9), Span(0.0, 1.0)


def rows_of(ys: list[float | None], width: int = 10, height: int = 8) -> plot.Runs:
    runs, _ = plot.columns(list(range(len(ys))), ys, ACROSS, UP, width, height)
    return runs


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
    assert runs == [None] * 10
    assert alone == [(0, 7), (8, 0)]


def test_many_points_in_a_column_keep_their_extremes() -> None:
    ys: list[float | None] = [0.5] * 1000
    ys[300], ys[301] = 0.0, 1.0
    xs = [9 * i / 999 for i in range(1000)]
    runs, _ = plot.columns(xs, ys, ACROSS, UP, 10, 8)
    assert runs[3] == (0, 7)
    assert runs[7] == (4, 4)


def test_the_span_of_nothing_is_none() -> None:
    assert plot.value_span([]) is None
    assert plot.value_span([Series("x", [0, 1], [None, math.inf])]) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-9, 1e12])
def test_a_constant_lies_within_its_span(value: float) -> None:
    span = plot.value_span([Series("x", [0, 1], [value, value])])
    assert span is not None
    assert span.low < value < span.high


def test_the_end_of_a_unit_ends_the_axis() -> None:
    series = [Series("wer", [0, 1], [0.0, 0.98])]
    assert plot.value_span(series, 0.0, 1.0) == Span(0.0, 1.0)
    # Data beyond the unit's end are shown all the same.
    beyond = plot.value_span([Series("wer", [0, 1], [0.5, 1.4])], 0.0, 1.0)
    assert beyond is not None
    assert beyond.high > 1.4


def test_ticks_are_round_and_within() -> None:
    assert plot.ticks(Span(0.0, 1.0), 3) == ([0.0, 0.5, 1.0], 1)
    values, decimals = plot.ticks(Span(2.71, 3.98), 3)
    assert plot.tick_texts(values, decimals) == ["3.0", "3.5"]


@given(
    low=st.floats(-1e9, 1e9),
    size=st.floats(1e-6, 1e9),
    most=st.integers(1, 12),
)
def test_ticks_for_any_span(low: float, size: float, most: int) -> None:
    span = Span(low, low + size)
    if span.high - span.low < abs(low) * 1e-9:
        return
    values, decimals = plot.ticks(span, most)
    assert len(values) <= most
    room = size * 1e-6
    assert all(span.low - room <= v <= span.high + room for v in values)
    assert values == sorted(values)
    assert len(plot.tick_texts(values, decimals)) == len(values)


@given(
    ys=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    width=st.integers(1, 40),
    height=st.integers(4, 40),
)
def test_no_input_draws_outside(ys: list[float | None], width: int, height: int) -> None:
    series = Series("x", list(range(len(ys))), ys)
    span = plot.value_span([series])
    if span is None:
        return
    across = Span(0, max(len(ys) - 1, 1))
    runs, alone = plot.columns(series.x, ys, across, span, width, height)
    assert all(run is None or 0 <= run[0] <= run[1] < height for run in runs)
    assert all(0 <= x < width and 0 <= y < height for x, y in alone)
    cells = plot.braille(runs, height)
    assert all(0 < bits < 256 for bits in cells.values())


def test_the_band_lies_around_its_line() -> None:
    xs = [0.0, 9.0]
    series = Series("x", xs, [0.5, 0.5], low=[0.25, 0.25], high=[0.75, 0.75])
    edges = plot.band(series, ACROSS, UP, 10, 8)
    for edge in edges:
        assert edge is not None
        assert edge[0] == pytest.approx(2, abs=0.2)
        assert edge[1] == pytest.approx(6, abs=0.2)


def test_values_close_to_1_are_told_apart_on_the_axis() -> None:
    values, decimals = plot.ticks(plot.Span(0.9999, 1.0009), 4)
    texts = plot.tick_texts(values, decimals)
    assert len(set(texts)) == len(texts) > 1
    assert all("e" not in text for text in texts)


def test_rounding_around_1_is_drawn_flat() -> None:
    span = plot.value_span([plot.Series("ratio", (0, 1, 2), (1.0, 1.0000002, 0.9999999))])
    assert span is not None
    assert span.high - span.low > 0.1
