"""From numbers to cells: braille lines and bands; knows no widget, no colour.

A cell holds 2 x 4 braille dots. However many points a line has, each dot column
keeps only its first, last, lowest and highest: numpy finds them, Python joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlpo_tui.widgets.series import Shape, Value

Numbers: TypeAlias = NDArray[np.float64]
Runs: TypeAlias = list[tuple[int, int] | None]
"""By dot column: the topmost and the lowest dot that a line covers."""

BRAILLE = 0x2800
WEIGHTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])[:, None, :]
"""Bits of a braille character by dot row and dot column."""
LARGEST = 1e150
"""Past this, differences and ratios of values overflow; NaN is on neither side."""
EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an axis; of a logarithmic one in powers of ten."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)


def array(values: Sequence[Value] | Numbers) -> Numbers:
    """The values as numbers; NaN where a value is missing or has no place on an axis."""
    numbers = np.array(values, dtype=np.float64)  # None becomes NaN
    numbers[~(np.abs(numbers) < LARGEST)] = np.nan
    return numbers


def columns(
    xs: Sequence[float] | Numbers,
    ys: Sequence[Value] | Numbers,
    across: Span,
    up: Span,
    width: int,
    height: int,
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
            if 0 <= x0[i] <= width - 1:
                alone.append((round(x0[i]), min(max(round(y0[i]), 0), height - 1)))
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


def braille(runs: Runs, height: int, shape: Shape = "line") -> dict[tuple[int, int], int]:
    """The runs as braille bits by (row, column) of cells."""
    rows, width = -(-height // 4), -(-len(runs) // 2)
    kept = [
        run if run and not skipped(column, shape) else (1, 0) for column, run in enumerate(runs)
    ]
    kept += [(1, 0)] * (width * 2 - len(kept))
    edges = np.array(kept, dtype=np.int64)
    dots = np.arange(rows * 4)[:, None]
    inked = (dots >= edges[:, 0]) & (dots <= np.minimum(edges[:, 1], height - 1))
    bits = (inked.reshape(rows, 4, width, 2) * WEIGHTS).sum(axis=(1, 3))
    places = np.argwhere(bits)
    found = bits[places[:, 0], places[:, 1]].tolist()
    return {(y, x): code for (y, x), code in zip(places.tolist(), found, strict=True)}


def skipped(column: int, shape: Shape) -> bool:
    """Dashes leave out every fourth dot column, dots three of four."""
    if shape == "dashes":
        return column % 4 == 3
    return shape == "dots" and column % 4 != 0


def band(
    xs: Numbers, lows: Numbers, highs: Numbers, across: Span, up: Span, width: int, height: int
) -> list[tuple[float, float] | None]:
    """By cell column: the band's upper and lower edge in rows from the top; None outside."""
    edges: list[tuple[float, float] | None] = [None] * width
    # Half a cell finer than drawn, so that an edge falls where its line does.
    uppers, _ = columns(xs, highs, across, up, width, height * 8)
    lowers, _ = columns(xs, lows, across, up, width, height * 8)
    for column, (upper, lower) in enumerate(zip(uppers, lowers, strict=True)):
        if upper is not None and lower is not None:
            edges[column] = (sum(upper) / 16, sum(lower) / 16 + 1 / 8)
    return edges
