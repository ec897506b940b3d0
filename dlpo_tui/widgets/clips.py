"""The table of clips, newest first; only the rows in sight are ever drawn."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dlpo_tui import formats
from dlpo_tui.keys import bindings
from dlpo_tui.widgets.clip_columns import GAP, Cell, fitting
from dlpo_tui.widgets.curves import evaluated
from dlpo_tui.widgets.lines import Inked
from engine.messages import Clip, Snapshot

Name: TypeAlias = tuple[int, str, int]
"""Update, kind and index: what tells one clip from all others."""


def name_of(clip: Clip) -> Name:
    return clip.update, clip.kind, clip.index


class ClipTable(ScrollView, Inked, can_focus=True):
    """A cursor that stays with its clip while newer ones arrive, or with the newest."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}"
        for part in ("head", "text", "number", "missing", "evaluation", "playing", "cursor")
    }
    BINDINGS = bindings("clips")

    class Played(Message):
        """A row was clicked twice."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.now = Snapshot()
        self.pinned: Name | None = None
        """The clip under the cursor; None: whichever is the newest."""
        self._cells: tuple[int, list[Cell]] | None = None
        self.sounding = ""
        """Path of the clip that sounds, as the clip tells it."""

    # --- What is shown ---

    def show(self, now: Snapshot) -> None:
        """Takes other clips; a cursor off the newest keeps its clip, and its place in sight."""
        before = self.cursor
        self.now, self._cells = now, None
        self.virtual_size = Size(self.size.width, len(now.clips) + 1)
        after = self.cursor
        if self.pinned is not None and after != before:
            self.scroll_to(y=self.scroll_offset.y + after - before, animate=False, immediate=True)
        self.border_title = f" clips · {len(now.clips)} " if now.clips else " clips "
        self.refresh()

    def sound(self, path: str) -> None:
        """Marks the clip that sounds."""
        if path != self.sounding:
            self.sounding = path
            self.refresh()

    @property
    def cursor(self) -> int:
        """Row of the cursor, 0 the newest."""
        if self.pinned is not None:
            for row, clip in enumerate(reversed(self.now.clips)):
                if name_of(clip) == self.pinned:
                    return row
        return 0

    @property
    def selected(self) -> Clip | None:
        """The clip under the cursor."""
        return self.now.clips[-1 - self.cursor] if self.now.clips else None

    # --- Keys and mouse ---

    def select(self, row: int) -> None:
        """Puts the cursor on a row and brings the row into sight."""
        if not self.now.clips:
            return
        row = min(max(row, 0), len(self.now.clips) - 1)
        self.pinned = name_of(self.now.clips[-1 - row]) if row else None
        top, rows = self.scroll_offset.y, max(self.size.height - 1, 1)
        if not top <= row < top + rows:
            target = row if row < top else row - rows + 1
            self.scroll_to(y=target, animate=False, immediate=True)
        self.refresh()

    def action_move(self, by: int) -> None:
        self.select(self.cursor + by)

    def action_leap(self, by: int) -> None:
        self.select(self.cursor + by * max(self.size.height - 2, 1))

    def action_newest(self) -> None:
        self.select(0)

    def action_oldest(self) -> None:
        self.select(len(self.now.clips) - 1)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y > 0:
            self.select(self.scroll_offset.y + offset.y - 1)
            if event.chain == 2:
                self.post_message(self.Played())

    # --- Drawing ---

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        ground = self.paper
        cells = self.cells(width)
        row = self.scroll_offset.y + y - 1
        if y == 0:
            text = self.header(cells)
        elif row < len(self.now.clips):
            clip = self.now.clips[-1 - row]
            text = self.row(clip, cells)
            if row == self.cursor:
                ground += self.ink("cursor")
        elif y == 1 and not self.now.clips:
            text = Text("  none yet", self.ink("missing"))
        else:
            text = Text()
        return self.strip(text, ground)

    def cells(self, width: int) -> list[Cell]:
        """The columns, worked out once for all the rows of a painting."""
        if self._cells is None or self._cells[0] != width:
            self._cells = width, fitting(self.now.started, width - 2, evaluated(self.now))
        return self._cells[1]

    def header(self, cells: list[Cell]) -> Text:
        names = [aligned(cell.name, cell) for cell in cells]
        return Text("  " + (" " * GAP).join(names), self.ink("head"))

    def row(self, clip: Clip, cells: list[Cell]) -> Text:
        sounds = bool(clip.path) and clip.path == self.sounding
        sign = "♪" if sounds else "●" if clip.kind == "evaluation" else " "
        text = Text(f"{sign} ", self.ink("playing" if sounds else "evaluation"))
        line = Text.assemble(text)
        for place, cell in enumerate(cells):
            told = cell.read(clip)
            part = "number" if cell.right else "text"
            ink = self.ink("missing" if told == formats.MISSING else part)
            line.append(" " * GAP if place else "")
            line.append(aligned(told, cell), ink)
        return line


def aligned(text: str, cell: Cell) -> str:
    """The text in exactly the column's width."""
    text = formats.shortened(text, cell.width)
    space = " " * (cell.width - Text(text).cell_len)
    return space + text if cell.right else text + space
