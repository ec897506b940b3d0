"""How many charts stand side by side and below one another; pure."""

from __future__ import annotations

import math

LEAST_WIDTH, LEAST_HEIGHT = 36, 8
"""Cells below which a chart says too little to be shown unasked."""
SMALLEST_WIDTH, SMALLEST_HEIGHT = 22, 5
"""Cells below which none is drawn at all."""
MOST_COLUMNS, MOST = 4, 12
IDEAL = 3.6
"""A chart's width over its height, in cells."""


def fitting(width: int, height: int, count: int) -> tuple[int, int]:
    """Columns and rows for up to `count` charts: none too small, as few empty as can be."""
    if not count:
        return 1, 1
    columns = min(max(width // LEAST_WIDTH, 1), MOST_COLUMNS)
    rows = max(height // LEAST_HEIGHT, 1)
    rows = min(rows, math.ceil(count / columns))
    return min(columns, math.ceil(count / rows)), rows


def choices(width: int, height: int, count: int) -> list[tuple[int, int]]:
    """Every shape from one chart to as many as can be drawn, each one column or row larger."""
    columns, rows = 1, 1
    found = [(1, 1)]
    while columns * rows < count:
        larger = [
            (c, r)
            for c, r in ((columns + 1, rows), (columns, rows + 1))
            if width // c >= SMALLEST_WIDTH and height // r >= SMALLEST_HEIGHT and c * r <= MOST
        ]
        if not larger:
            break
        columns, rows = min(
            larger, key=lambda s: abs(math.log(width / s[0] / height * s[1] / IDEAL))
        )
        found.append((columns, rows))
    return found


def wished(width: int, height: int, count: int, wish: int) -> tuple[int, int]:
    """The largest shape of at most `wish` charts."""
    return [s for s in choices(width, height, count) if s[0] * s[1] <= max(wish, 1)][-1]
