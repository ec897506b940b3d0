"""A grid of coloured cells that becomes strips; knows no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

EIGHTHS = " ▁▂▃▄▅▆▇█"
HALF = 0.5
"""A cell covered so far by a band keeps the band's ground under a curve."""


class Canvas:
    """Glyph, colour and ground of width x height cells."""

    def __init__(self, width: int, height: int, style: Style) -> None:
        self.width, self.height, self.style = width, height, style
        self.glyphs = [[" "] * width for _ in range(height)]
        self.inks: list[list[Color | None]] = [[None] * width for _ in range(height)]
        self.grounds: list[list[Color | None]] = [[None] * width for _ in range(height)]
        self._under: dict[tuple[int, int], Color | None] = {}

    def put(self, x: int, y: int, glyph: str, ink: Color | None) -> None:
        """One cell; outside the canvas nothing happens."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self.glyphs[y][x], self.inks[y][x] = glyph, ink
            if (y, x) in self._under:
                self.grounds[y][x] = self._under[y, x]

    def write(self, x: int, y: int, text: str, ink: Color | None) -> None:
        """A text of single-width characters."""
        for offset, character in enumerate(text):
            self.put(x + offset, y, character, ink)

    def band(self, x: int, edges: Sequence[tuple[float, float] | None], tint: Color | None) -> None:
        """Fills each column between its edges (rows from the top), to an eighth of a cell."""
        for column, edge in enumerate(edges, x):
            if edge is None:
                continue
            top, low = edge
            for row in range(max(int(top), 0), min(int(low) + 1, self.height)):
                self._fill(column, row, max(top - row, 0.0), min(low - row, 1.0), tint)

    def _fill(self, x: int, y: int, top: float, low: float, tint: Color | None) -> None:
        """One cell of a band that covers it from `top` to `low`, shares of its height."""
        if low - top <= 1 / 16:
            return
        self._under[y, x] = tint if low - top >= HALF else None
        if low >= 1:
            self.glyphs[y][x], self.inks[y][x] = EIGHTHS[max(round((1 - top) * 8), 1)], tint
        elif top <= 0:
            # There are no upper blocks but the half: the empty part below is drawn instead.
            self.grounds[y][x], self.inks[y][x] = tint, self.style.bgcolor
            self.glyphs[y][x] = EIGHTHS[round((1 - low) * 8)]
        else:
            self.glyphs[y][x], self.inks[y][x] = "━", tint

    def strips(self) -> list[Strip]:
        """The rows, neighbours of one style joined into one segment."""
        return [self._strip(y) for y in range(self.height)]

    def _strip(self, y: int) -> Strip:
        cells = zip(self.glyphs[y], self.inks[y], self.grounds[y], strict=True)
        segments = [
            Segment("".join(c[0] for c in run), inked(self.style, *style))
            for style, run in groupby(cells, key=lambda cell: cell[1:])
        ]
        return Strip(segments, self.width)


@lru_cache(maxsize=1024)
def inked(style: Style, ink: Color | None, ground: Color | None) -> Style:
    return style + Style(color=ink, bgcolor=ground)
