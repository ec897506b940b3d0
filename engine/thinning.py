"""Rows by update kept few: the newest whole, older ones by their extremes. Standard library only.

What is left depends on the rows alone, so live, attached and replayed views keep the same ones;
and a session that goes back a few updates and does them again ends with those it would have had.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TypeAlias, TypeVar

Row = TypeVar("Row")
Rows: TypeAlias = tuple[tuple[int, Row], ...]
"""(update, what there is of it), ascending."""

MOST = 2048
"""Rows past which they are thinned."""
NEWEST = 512
"""Rows that are never thinned: what a session still goes back to lies among them."""
STRETCHES = 256
"""Into how many stretches of equal length, at most, what is older is parted."""


def thinned(rows: Rows[Row], *values: Callable[[Row], float | None]) -> Rows[Row]:
    """The rows as they are up to MOST; else the first, the NEWEST, and the extremes between.

    Of each stretch of older updates the rows stay in which one of `values` is least or greatest,
    or the first where none is known; so no peak of a curve is lost, and nothing is averaged. A
    stretch's length is a power of two, so the next time only extremes of extremes are taken.
    """
    if len(rows) <= MOST:
        return rows
    first, older, newest = rows[:1], rows[1:-NEWEST], rows[-NEWEST:]
    length = 1
    while newest[0][0] // length >= STRETCHES:
        length *= 2
    kept = list(first)
    for _, stretch in groupby(older, key=lambda row: row[0] // length):
        kept += extremes(list(stretch), values)
    return (*kept, *newest)


def extremes(
    stretch: list[tuple[int, Row]], values: tuple[Callable[[Row], float | None], ...]
) -> list[tuple[int, Row]]:
    """The rows that hold the least and the greatest of each value, in their order."""
    found: set[int] = set()
    for value in values:
        known = [(v, at) for at, (_, row) in enumerate(stretch) if (v := value(row)) is not None]
        if known:
            found |= {min(known)[1], max(known)[1]}
    return [stretch[at] for at in sorted(found or {0})]
