"""What a series becomes on its axis: gaps, logarithms, trends; and what the axis covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets.axis import Limits, Span
from dlpo_tui.widgets.scaled import Curve, averaged, ready, value_span
from dlpo_tui.widgets.series import Series, Value

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


def curve(ys: list[Value], log: bool = False, **more: object) -> Curve:
    series = Series("x", list(range(len(ys))), ys, **more)  # type: ignore[arg-type]
    return ready(series, Span(0, max(len(ys) - 1, 1)), log)


def span(ys: list[Value], limits: Limits | None = None, log: bool = False) -> Span:
    found = value_span([curve(ys, log)], limits)
    assert found is not None
    return found


def test_the_span_of_nothing_is_none() -> None:
    assert value_span([]) is None
    assert value_span([curve([None, math.inf])]) is None
    assert value_span([curve([0.0, -1.0], log=True)]) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 1e-9, 1e12])
def test_a_constant_lies_within_its_span(value: float) -> None:
    found = span([value, value])
    assert found.low < value < found.high


def test_the_end_of_a_unit_ends_the_axis() -> None:
    assert span([0.0, 0.98], Limits(0.0, 1.0)) == Span(0.0, 1.0)
    # Values beyond the unit's end are shown all the same.
    assert span([0.5, 1.4], Limits(0.0, 1.0)).high > 1.4


@pytest.mark.parametrize(
    ("ys", "lows", "highs", "axis"),
    [
        ([0.01, 0.3], [-0.1, -0.2], [0.1, 0.8], (0.0, 0.848)),
        ([0.9, 0.95], [0.5, 0.6], [1.3, 1.5], (0.47, 1.0)),
        ([0.0, 0.0], [-0.4, -0.4], [0.4, 0.4], (0.0, 0.424)),
        ([1.0, 1.0], [0.2, 0.2], [1.8, 1.8], (0.152, 1.0)),
    ],
)
def test_no_band_takes_the_axis_past_the_end_of_its_unit(
    ys: list[Value], lows: list[Value], highs: list[Value], axis: tuple[float, float]
) -> None:
    found = value_span([curve(ys, low=lows, high=highs)], Limits(0.0, 1.0))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(axis)


def test_rounding_around_1_is_drawn_flat() -> None:
    found = span([1.0, 1.0000002, 0.9999999])
    assert found.high - found.low > 0.1


def test_an_axis_reaches_as_far_as_it_must() -> None:
    assert span([1e-7, 3e-7], Limits(0.0, reach=1e-3)).high >= 1e-3
    assert span([0.1, 0.3], Limits(0.0, reach=1e-3)).high == pytest.approx(0.312)


def test_gaps_are_told_apart_by_what_made_them() -> None:
    found = curve([1.0, None, math.nan, math.inf, -math.inf, None, 2.0, -1.0, 0.0], log=True)
    assert (found.infinite, found.below) == (3, 2)
    assert np.isnan(found.y).tolist() == [False] + [True] * 5 + [False] + [True] * 2


def test_what_is_lost_outside_the_window_is_not_counted() -> None:
    series = Series("x", [0, 1, 2, 3, 4], [math.nan, 0.0, 1.0, 2.0, math.inf])
    found = ready(series, Span(2, 3), log=True)
    assert (found.infinite, found.below) == (0, 0)
    assert found.inside(found.x).tolist() == [2, 3]
    assert value_span([found]) == value_span([curve([1.0, 2.0], log=True)])


def test_a_logarithmic_axis_counts_in_powers_of_ten() -> None:
    found = curve([1.0, 10.0, 1000.0], log=True)
    assert found.y.tolist() == pytest.approx([0, 1, 3])
    axis = value_span([found])
    assert axis is not None
    assert axis.log
    assert axis.low < 0 < 3 < axis.high


def test_a_band_that_reaches_0_is_followed_for_one_decade_at_most() -> None:
    found = value_span([curve([1.0, 10.0], log=True, low=[0.0, -1.0], high=[2.0, 20.0])])
    assert found is not None
    assert -1.2 < found.low < -0.99


def test_the_average_begins_at_the_first_value_and_keeps_a_constant() -> None:
    assert averaged(np.array([5.0] * 4), 0.9).tolist() == pytest.approx([5.0] * 4)
    # m = (0.5 0 + 0.5 4) / (1 - 0.25)
    assert averaged(np.array([0.0, 4.0]), 0.5).tolist() == pytest.approx([0.0, 8 / 3])


def test_the_average_steps_over_gaps_and_leaves_them() -> None:
    found = averaged(np.array([1.0, math.nan, 1.0]), 0.6)
    assert found[[0, 2]].tolist() == pytest.approx([1.0, 1.0])
    assert math.isnan(found[1])


def test_evaluations_are_not_smoothed() -> None:
    for shape, length in (("line", 3), ("dots", 3), ("joined", 0), ("points", 0), ("area", 0)):
        series = Series("x", [0, 1, 2], [1.0, 2.0, 3.0], shape=shape)  # type: ignore[arg-type]
        assert len(ready(series, Span(0, 2), weight=0.6).smooth) == length


@given(ys=st.lists(NUMBERS, max_size=60), log=st.booleans())
def test_no_value_makes_an_axis_without_extent(ys: list[Value], log: bool) -> None:
    found = value_span([curve(ys, log)])
    if found is not None:
        assert math.isfinite(found.low)
        assert found.low < found.high < math.inf
