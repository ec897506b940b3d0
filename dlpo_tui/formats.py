"""Numbers, durations and foreign text as they stand on the screen; knows no widget."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from engine.visible import visible

if TYPE_CHECKING:
    from engine.messages import Column

MISSING = "–"
"""Where a number does not exist."""
DECIMALS = {"MOS": 2, "share": 3, "LUFS": 1, "dB": 1, "s": 1}
"""By unit; the same number of decimals keeps a column of numbers aligned."""


def number(value: float | None, digits: int = 4) -> str:
    """The value with `digits` significant digits, trailing zeros kept: 3.400, 0.01250, 1.2e-05."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size != 0 and (size < 1e-4 or size >= 10.0**6):
        return f"{value:.{max(digits - 2, 0)}e}"
    whole = math.floor(math.log10(size)) if size else 0
    return f"{value:.{min(max(digits - 1 - whole, 0), digits)}f}"


def knob(value: float) -> str:
    """A knob's value, as short as it was typed: 1.25, 1e-05."""
    return f"{value:.6g}"


def score(value: float | None, decimals: int) -> str:
    """A score with a fixed number of decimals."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{decimals}f}"


def column_decimals(column: Column) -> int:
    """Decimals of a score column, from its unit."""
    return DECIMALS.get(column.unit, 2)


def duration(seconds: float) -> str:
    """A length of time in its two largest units: 45 s, 18 min, 2 h 05 min, 3 d 4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def size(amount: float) -> str:
    """An amount of memory in bytes: 640 MB, 1.2 GB, 23 GB."""
    if amount < 995e6:
        return f"{amount / 1e6:.0f} MB"
    return f"{amount / 1e9:.1f} GB" if amount < 9.95e9 else f"{amount / 1e9:.0f} GB"


def plain(text: str) -> str:
    """Foreign text on one line, with nothing in it that a terminal obeys; as many characters."""
    return visible(text)


def shortened(text: str, width: int) -> str:
    """The text in at most `width` cells, its end replaced by … where it is longer."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def squeezed(text: str, width: int) -> str:
    """The text in at most `width` cells, its middle replaced by …: a path keeps its name."""
    if cell_len(text) <= width:
        return text
    if width < 3:
        return shortened(text, width)
    head = width // 3
    tail = text
    while cell_len(tail) > width - head - 1:
        tail = tail[1:]
    return set_cell_size(text, head) + "…" + tail


def spread(left: Text, right: Text, width: int) -> Text:
    """One line: `left` cut with … to leave room, `right` flush with the right edge."""
    room = width - right.cell_len - (2 if right.cell_len else 0)
    if room <= 0:
        return cut(right, width).append(" " * max(width - right.cell_len, 0))
    left = cut(left, room)
    gap = Text(" " * (width - left.cell_len - right.cell_len))
    return Text.assemble(left, gap, right)


def cut(text: Text, width: int) -> Text:
    """A copy of at most `width` cells, its end replaced by … where it is longer."""
    if width <= 0:
        return Text()
    text = text.copy()
    text.truncate(width, overflow="ellipsis")
    return text


def joined(parts: Iterable[Text], width: int, gap: str = "  ") -> Text:
    """As many of the parts, in order, as fit into the width."""
    line = Text()
    for part in parts:
        between = gap if line.cell_len else ""
        if line.cell_len + len(between) + part.cell_len > width:
            break
        line.append(between, part.style)
        line.append_text(part)
    return line
