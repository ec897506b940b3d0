"""Scores in as many columns as fit, each as wide as what stands in it; knows no clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from rich.text import Text

Parts: TypeAlias = tuple[Text, Text, Text, Text]
"""Name, value, unit, change; any may be empty."""
GAPS = (4, 3, 2)
"""Cells between two columns: the more there is room for, the calmer."""
RIGHT = (False, True, False, True)
"""Numbers stand flush right."""


def grid(scores: Sequence[Parts], width: int) -> list[Text]:
    """As few rows as hold the scores within `width` cells; read from left to right."""
    counts = dict.fromkeys(-(-len(scores) // rows) for rows in range(1, len(scores) + 1))
    for count in counts:
        for gap in GAPS:
            rows = laid_out(scores, count, gap)
            if all(row.cell_len <= width for row in rows):
                return rows
    for row in rows:
        row.truncate(width, overflow="ellipsis")
    return rows


def laid_out(scores: Sequence[Parts], count: int, gap: int) -> list[Text]:
    columns = [scores[at::count] for at in range(count)]
    widths = [
        [max(part[at].cell_len for part in column) for at in range(len(RIGHT))]
        for column in columns
        if column
    ]
    rows = []
    for start in range(0, len(scores), count):
        row = Text()
        for parts, sizes in zip(scores[start : start + count], widths, strict=False):
            row.append(" " * gap if row.cell_len else "")
            row.append_text(cell(parts, sizes))
        row.rstrip()
        rows.append(row)
    return rows


def cell(parts: Parts, sizes: Sequence[int]) -> Text:
    line = Text()
    for part, size, right in zip(parts, sizes, RIGHT, strict=True):
        if size:
            space = Text(" " * (size - part.cell_len))
            line.append(" " if line.cell_len else "")
            line.append_text(space + part if right else part + space)
    return line
