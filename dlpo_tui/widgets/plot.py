"""From numbers to cells: bounds, ticks, braille lines and bands; knows no widget, no colour.

A cell holds 2 x 4 braille dots. However many points a line has, each dot column
keeps only its first, last, lowest and highest: numpy finds them, Python joins them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Value: TypeAlias = float | None
Numbers: TypeAlias = NDArray[np.float64]
Runs: TypeAlias = list[tuple[int, int] | None]
"""By dot column: the topmost and the lowest dot that a line covers."""

BRAILLE = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character by dot column and dot row."""
LARGEST, SMALLEST = 1e150, 1e-12
"""Past these, differences and ratios of values overflow; NaN is on neither side."""
FLAT = 1e-5
"""A spread this small beside its values is rounding (a ratio of 1), not something to magnify."""
EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: ascending x, and y with gaps where a value is None or not finite."""

    name: str
    x: Sequence[float]
    y: Sequence[Value]
    low: Sequence[Value] = ()
    """The band's lower edge, one a point; empty: no band."""
    high: Sequence[Value] = ()
    axis: Literal["left", "right"] = "left"
    shape: Literal["line", "dashes", "points", "joined", "area"] = "line"
    """joined: points and a line through them; area: the band alone."""
    told: str = ""
    """The latest value, for the title."""


@dataclass(frozen=True, slots=True)
class Span:
    low: float
    high: float

    def share(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)


def array(values: Sequence[Value]) -> Numbers:
    """The values as numbers; NaN where a value is missing or has no place on an axis."""
    numbers = np.array(values, dtype=np.float64)  # None becomes NaN
    numbers[~(np.abs(numbers) < LARGEST)] = np.nan
    return numbers


def finite(values: Sequence[Value]) -> Numbers:
    """The values that can be drawn."""
    numbers = array(values)
    return numbers[~np.isnan(numbers)]


def value_span(
    series: Sequence[Series], least: float | None = None, most: float | None = None
) -> Span | None:
    """What a value axis must cover, with some air, never past `least` and `most`; None if empty."""
    parts = [finite(values) for s in series for values in (s.y, s.low, s.high)]
    values = np.concatenate(parts) if parts else np.empty(0)
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if any(s.shape == "area" for s in series):
        # An area is a backdrop: it keeps to the lower half, clear of most curves.
        return Span(0.0, high * 2 if high > 0 else 1.0)
    air = (high - low) * 0.06
    if air <= abs(high) * FLAT:
        air = abs(high) * 0.1 if abs(high) > SMALLEST else 1.0
    # A limit that the data themselves pass is no limit: showing them comes first.
    floor = low - air if least is None or low < least else max(low - air, least)
    ceiling = high + air if most is None or high > most else min(high + air, most)
    if floor >= ceiling:
        return Span(low - air, high + air)
    return Span(floor, ceiling)


def ticks(span: Span, most: int) -> tuple[list[float], int]:
    """At most `most` round values within the span, and the decimals that tell them apart."""
    rough = (span.high - span.low) / max(most, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 25.0, 50.0):
        step = factor * size
        first = math.ceil(span.low / step - 1e-9)
        count = math.floor(span.high / step + 1e-9) - first + 1
        if 0 < count <= most:
            break
    decimals = 0
    while decimals < 9 and abs(step - round(step, decimals)) > step * 1e-6:
        decimals += 1
    # + 0.0 turns a negative zero into zero.
    return [(first + i) * step + 0.0 for i in range(max(count, 0))][:most], decimals


def tick_texts(values: Sequence[float], decimals: int) -> list[str]:
    """One notation for all, so that they align."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest >= 1e5 or (decimals > 4 and largest < 0.1):
        return [f"{v:.1e}".replace("e-0", "e-").replace("e+0", "e+") for v in values]
    return [f"{v:.{decimals}f}" for v in values]


def columns(
    xs: Sequence[float], ys: Sequence[Value], across: Span, up: Span, width: int, height: int
) -> tuple[Runs, list[tuple[int, int]]]:
    """A line on a grid of width x height dots: its runs, and its points without a neighbour."""
    runs: Runs = [None] * width
    alone: list[tuple[int, int]] = []
    numbers = array(ys)
    known = np.flatnonzero(~np.isnan(numbers))
    if not len(known):
        return runs, alone
    x = (array(xs)[known] - across.low) * ((width - 1) / (across.high - across.low))
    y = (up.high - numbers[known]) * ((height - 1) / (up.high - up.low))
    column = np.rint(x).astype(np.int64)
    # A piece is what one unbroken stretch of the line leaves in one dot column.
    parted = np.concatenate([[True], np.diff(known) > 1])
    starts = np.flatnonzero(parted | np.concatenate([[True], np.diff(column) != 0]))
    ends = np.concatenate([starts[1:], [len(known)]]) - 1
    tops, lows = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    x0, y0, x1, y1 = (v.tolist() for v in (x[starts], y[starts], x[ends], y[ends]))
    breaks = [*parted[starts].tolist(), True]
    single = (starts == ends).tolist()
    for i, (top, low) in enumerate(zip(tops.tolist(), lows.tolist(), strict=True)):
        if breaks[i] and breaks[i + 1] and single[i]:
            alone.append((round(x0[i]), round(y0[i])))
            continue
        cover(runs, round(x0[i]), top, low, height)
        if not breaks[i]:
            connect(runs, (x1[i - 1], y1[i - 1]), (x0[i], y0[i]), height)
    return runs, alone


def cover(runs: Runs, column: int, top: float, low: float, height: int) -> None:
    """Widens one column's run to hold `top` to `low`."""
    if not 0 <= column < len(runs):
        return
    first = min(max(round(top), 0), height - 1)
    last = min(max(round(low), 0), height - 1)
    run = runs[column]
    runs[column] = (first, last) if run is None else (min(run[0], first), max(run[1], last))


def connect(runs: Runs, a: tuple[float, float], b: tuple[float, float], height: int) -> None:
    """Widens the runs of the columns between two points by the line that joins them."""
    first, last = max(round(a[0]), 0), min(round(b[0]), len(runs) - 1)
    slope = (b[1] - a[1]) / (b[0] - a[0]) if b[0] - a[0] > 1e-9 else 0.0
    for column in range(first, last + 1):
        # Each column takes the stretch of line within half a dot of it.
        ya = a[1] + slope * (max(column - 0.5, a[0]) - a[0])
        yb = a[1] + slope * (min(column + 0.5, b[0]) - a[0]) if slope else b[1]
        cover(runs, column, min(ya, yb), max(ya, yb), height)


def braille(runs: Runs, height: int, dashed: bool = False) -> dict[tuple[int, int], int]:
    """The runs as braille bits by (row, column) of cells."""
    cells: dict[tuple[int, int], int] = {}
    for column, run in enumerate(runs):
        if run is None or (dashed and column % 4 == 3):
            continue
        bits = DOTS[column % 2]
        for dot in range(run[0], min(run[1], height - 1) + 1):
            key = (dot // 4, column // 2)
            cells[key] = cells.get(key, 0) | bits[dot % 4]
    return cells


def band(
    series: Series, across: Span, up: Span, width: int, height: int
) -> list[tuple[float, float] | None]:
    """By cell column: the band's upper and lower edge in rows from the top; None outside."""
    edges: list[tuple[float, float] | None] = [None] * width
    if not series.low:
        return edges
    # Half a cell finer than drawn, so that an edge falls where its line does.
    highs, _ = columns(series.x, series.high, across, up, width, height * 8)
    lows, _ = columns(series.x, series.low, across, up, width, height * 8)
    for column, (high, low) in enumerate(zip(highs, lows, strict=True)):
        if high is not None and low is not None:
            edges[column] = (sum(high) / 16, sum(low) / 16 + 1 / 8)
    return edges
