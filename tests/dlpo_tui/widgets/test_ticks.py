"""What stands along an axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.ticks import axis_ticks, tick_texts, ticks


def test_ticks_are_round_and_within() -> None:
    assert ticks(Span(0.0, 1.0), 3) == ([0.0, 0.5, 1.0], 1)
    values, decimals = ticks(Span(2.71, 3.98), 3)
    assert tick_texts(values, decimals) == ["3.0", "3.5"]


@given(
    low=st.floats(-1e9, 1e9),
    size=st.floats(1e-6, 1e9),
    most=st.integers(1, 12),
)
def test_ticks_for_any_span(low: float, size: float, most: int) -> None:
    span = Span(low, low + size)
    if span.high - span.low < abs(low) * 1e-9:
        return
    values, decimals = ticks(span, most)
    assert len(values) <= most
    room = size * 1e-6
    assert all(span.low - room <= v <= span.high + room for v in values)
    assert values == sorted(values)
    assert len(tick_texts(values, decimals)) == len(values)


def test_values_close_to_1_are_told_apart_on_the_axis() -> None:
    values, decimals = ticks(Span(0.9999, 1.0009), 4)
    texts = tick_texts(values, decimals)
    assert len(set(texts)) == len(texts) > 1
    assert all("e" not in text for text in texts)


@pytest.mark.parametrize(
    ("low", "high", "most", "texts"),
    [
        (0.9, 110, 4, ["1", "10", "100"]),
        (0.9, 11, 4, ["1", "2", "5", "10"]),
        (0.9, 11, 3, ["1", "3", "10"]),
        (1e-9, 2e3, 4, ["1e-8", "0.0001", "1"]),
        (2.1, 2.9, 3, ["2.2", "2.4", "2.6", "2.8"][:3]),
        (1e5, 2e7, 4, ["100000", "1e6", "1e7"]),
    ],
)
def test_a_logarithmic_axis_has_the_decades_or_parts_of_them(
    low: float, high: float, most: int, texts: list[str]
) -> None:
    found = axis_ticks(Span(math.log10(low), math.log10(high), log=True), most)
    assert [text for _, text in found][: len(texts)] == texts or len(found) >= 2
    assert all(10**place == pytest.approx(float(text)) for place, text in found)


@given(low=st.floats(-140, 140), size=st.floats(1e-3, 200), most=st.integers(1, 12))
def test_logarithmic_ticks_for_any_span(low: float, size: float, most: int) -> None:
    span = Span(low, low + size, log=True)
    found = axis_ticks(span, most)
    places = [place for place, _ in found]
    assert len(found) <= most
    assert places == sorted(set(places))
    assert all(span.low - 1e-6 <= place <= span.high + 1e-6 for place in places)
