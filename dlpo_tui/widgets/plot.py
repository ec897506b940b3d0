"""From numbers to cells: braille lines and bands; knows no widget, no colour.

A cell holds 2 x 4 braille dots. However many points a line has, each dot column
keeps only its first, last, lowest and highest: numpy finds them, Python joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.series import Shape, Value

Numbers: TypeAlias = NDArray[np.float64]
Runs: TypeAlias = NDArray[np.int64]
"""(columns, 2) by dot column: the topmost and the lowest dot that a line covers, or NOTHING."""
NOTHING = [-1, -2]
"""Where a line leaves a column alone: no dot lies between."""

BRAILLE = 0x2800
WEIGHTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])[:, None, :]
"""Bits of a braille character by dot row and dot column."""
LARGEST = 1e150
"""Past this, differences and ratios of values overflow; NaN is on neither side."""


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
    numbers = array(ys)
    known = np.flatnonzero(~np.isnan(numbers))
    if not len(known):
        return np.tile(np.array(NOTHING), (width, 1)), []
    x = (array(xs)[known] - across.low) * ((width - 1) / (across.high - across.low))
    y = (up.high - numbers[known]) * ((height - 1) / (up.high - up.low))
    column = np.rint(x).astype(np.int64)
    # A piece is what one unbroken stretch of the line leaves in one dot column.
    parted = np.concatenate([[True], np.diff(known) > 1])
    starts = np.flatnonzero(parted | np.concatenate([[True], np.diff(column) != 0]))
    ends = np.concatenate([starts[1:], [len(known)]]) - 1
    tops, lows = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    breaks = np.concatenate([parted[starts], [True]])
    single = breaks[:-1] & breaks[1:] & (starts == ends)
    covered = np.tile(np.array([np.inf, -np.inf]), (width, 1))
    left, right = ends[:-1], starts[1:]
    halve(tops, lows, x, y, column, left, right, breaks)
    for i in np.flatnonzero(~breaks[1:-1] & (column[right] - column[left] > 1)).tolist():
        connect(covered, (x[left[i]], y[left[i]]), (x[right[i]], y[right[i]]))
    drawn = ~single & (column[starts] >= 0) & (column[starts] < width)
    np.minimum.at(covered[:, 0], column[starts][drawn], tops[drawn])
    np.maximum.at(covered[:, 1], column[starts][drawn], lows[drawn])
    runs = np.tile(np.array(NOTHING), (width, 1))
    some = covered[:, 0] <= covered[:, 1]
    runs[some] = np.clip(np.rint(covered[some]), 0, height - 1)
    lone = starts[single & (column[starts] >= 0) & (column[starts] < width)]
    rows = np.clip(np.rint(y[lone]), 0, height - 1).astype(np.int64)
    return runs, list(zip(column[lone].tolist(), rows.tolist(), strict=True))


def halve(
    tops: Numbers,
    lows: Numbers,
    x: Numbers,
    y: Numbers,
    column: Runs,
    left: Runs,
    right: Runs,
    breaks: NDArray[np.bool_],
) -> None:
    """Draws pieces in neighbouring columns towards each other, to where the columns meet."""
    near = np.flatnonzero(~breaks[1:-1] & (column[right] - column[left] == 1))
    a, b = left[near], right[near]
    share = (column[a] + 0.5 - x[a]) / np.maximum(x[b] - x[a], 1e-9)
    meet = y[a] + np.clip(share, 0, 1) * (y[b] - y[a])
    for piece in (near, near + 1):
        tops[piece] = np.minimum(tops[piece], meet)
        lows[piece] = np.maximum(lows[piece], meet)


def connect(covered: Numbers, a: tuple[float, float], b: tuple[float, float]) -> None:
    """Covers the columns between two points by the line that joins them."""
    first, last = max(round(a[0]), 0), min(round(b[0]), len(covered) - 1)
    at = np.arange(first, last + 1)
    slope = (b[1] - a[1]) / (b[0] - a[0])
    # Each column takes the stretch of line within half a dot of it.
    y = a[1] + slope * (np.clip(np.stack([at - 0.5, at + 0.5]), a[0], b[0]) - a[0])
    part = covered[first : last + 1]
    part[:, 0] = np.minimum(part[:, 0], y.min(axis=0))
    part[:, 1] = np.maximum(part[:, 1], y.max(axis=0))


def braille(runs: Runs, height: int, shape: Shape = "line") -> dict[tuple[int, int], int]:
    """The runs as braille bits by (row, column) of cells."""
    rows, width = -(-height // 4), -(-len(runs) // 2)
    edges = np.tile(np.array(NOTHING), (width * 2, 1))
    edges[: len(runs)] = runs
    edges[skipped(width * 2, shape)] = NOTHING
    dots = np.arange(rows * 4)[:, None]
    inked = (dots >= edges[:, 0]) & (dots <= np.minimum(edges[:, 1], height - 1))
    bits = (inked.reshape(rows, 4, width, 2) * WEIGHTS).sum(axis=(1, 3))
    y, x = np.nonzero(bits)
    places = zip(y.tolist(), x.tolist(), strict=True)
    return dict(zip(places, bits[y, x].tolist(), strict=True))


def skipped(width: int, shape: Shape) -> NDArray[np.bool_]:
    """Dashes leave out every fourth dot column, dots three of four."""
    inked = {"dashes": (0, 1, 2), "dots": (0,)}.get(shape, (0, 1, 2, 3))
    return np.isin(np.arange(width) % 4, inked, invert=True)


def band(
    xs: Numbers, lows: Numbers, highs: Numbers, across: Span, up: Span, width: int, height: int
) -> list[tuple[float, float] | None]:
    """By cell column: the band's upper and lower edge in rows from the top; None outside."""
    edges: list[tuple[float, float] | None] = [None] * width
    # Half a cell finer than drawn, so that an edge falls where its line does.
    uppers = columns(xs, highs, across, up, width, height * 8)[0].tolist()
    lowers = columns(xs, lows, across, up, width, height * 8)[0].tolist()
    for column, (upper, lower) in enumerate(zip(uppers, lowers, strict=True)):
        if NOTHING not in (upper, lower):
            edges[column] = (sum(upper) / 16, sum(lower) / 16 + 1 / 8)
    return edges
