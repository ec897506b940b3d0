"""A long page of two columns; only the lines that are seen are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

GAP = 2
"""Cells between the columns."""


class Row(NamedTuple):
    name: Text
    """To the right of the first column; never wrapped."""
    told: Text
    """Wrapped in the second."""


class Sheet(ScrollView, can_focus=True):
    """Rows under each other; a long one goes on below itself.

    A table of a hundred rows, measured and rendered whole, kept a key waiting for 0.1 s.
    """

    DEFAULT_CSS = "Sheet { overflow-x: hidden; }"

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self._lines: list[Row] = []
        self._take(rows)

    def put(self, rows: Sequence[Row]) -> None:
        """Other rows in place of these, from the top."""
        self._take(rows)
        if self.size:  # else they are broken into lines when there is a width
            self.wrap()
            self.scroll_home(animate=False)

    def _take(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        widest = max((row.name.cell_len for row in self.rows), default=0)
        self._first = widest + GAP if widest else 0

    def on_resize(self, event: Resize) -> None:
        self.wrap()

    def wrap(self) -> None:
        """Breaks the rows into the lines of this width."""
        width = max(self.scrollable_content_region.width - self._first, 1)
        console = self.app.console
        self._lines = [line for row in self.rows for line in broken(row, width, console)]
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._lines))
        self.refresh()

    def plain(self) -> list[str]:
        """The lines as text."""
        return [self._text(line).plain for line in self._lines]

    def render_line(self, y: int) -> Strip:
        width, ground = self.scrollable_content_region.width, self.rich_style
        at = y + self.scroll_offset.y
        if at >= len(self._lines):
            return Strip.blank(width, ground)
        text = self._text(self._lines[at])
        if self.text_selection is not None and (span := self.text_selection.get_span(at)):
            start, end = span
            ink = self.screen.get_component_rich_style("screen--selection")
            text.stylize(ink, start, len(text) if end == -1 else end)
        segments = Segment.apply_style(text.render(self.app.console), ground)
        return Strip(segments).adjust_cell_length(width, ground).apply_offsets(0, at)

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        return selection.extract("\n".join(self.plain())), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def _text(self, line: Row) -> Text:
        if not self._first:
            return Text.assemble(line.told)
        before = " " * (self._first - GAP - line.name.cell_len)
        return Text.assemble(before, line.name, " " * GAP, line.told)


def broken(row: Row, width: int, console: Console) -> list[Row]:
    """A row as lines whose second column is at most `width` cells."""
    if row.told.cell_len <= width and "\n" not in row.told.plain:
        return [row]
    parts = row.told.wrap(console, width)
    for part in parts:
        part.rstrip()
    return [Row(row.name if at == 0 else Text(), part) for at, part in enumerate(parts)]
