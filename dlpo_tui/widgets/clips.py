"""The table of clips: sorted, filtered; only the rows in sight are ever drawn."""

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
from dlpo_tui.widgets import clip_order
from dlpo_tui.widgets.clip_columns import GAP, Cell, fitting
from dlpo_tui.widgets.clip_filter import Filter
from dlpo_tui.widgets.clip_order import Order
from dlpo_tui.widgets.curves import evaluated
from dlpo_tui.widgets.lines import Inked
from engine.messages import Clip, Snapshot

Name: TypeAlias = tuple[int, str, int]
"""Update, kind and index: what tells one clip from all others."""
MARGIN = 2
"""Cells before the first column, for a row's sign."""


def name_of(clip: Clip) -> Name:
    return clip.update, clip.kind, clip.index


class ClipTable(ScrollView, Inked, can_focus=True):
    """A cursor that stays with its clip while others arrive, or with the first row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}"
        for part in ("head", "text", "number", "missing", "evaluation", "playing", "cursor")
    }
    BINDINGS = bindings("clips")

    class Played(Message):
        """A row was clicked twice."""

    class Selected(Message):
        """Another clip is under the cursor, or none."""

    class Told(Message):
        """An answer to a key."""

        def __init__(self, sentence: str) -> None:
            super().__init__()
            self.sentence = sentence

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.now = Snapshot()
        self.pinned: Name | None = None
        """The clip under the cursor; None: whichever is in the first row."""
        self.order, self.passing = Order(), Filter()
        self.rows: list[Clip] = []
        """The clips shown, in order."""
        self._places: dict[Name, int] = {}
        self._selected: Clip | None = None
        self._cells: tuple[int, list[Cell]] | None = None
        self.sounding = ""
        """Path of the clip that sounds, as the clip tells it."""

    # --- What is shown ---

    def show(self, now: Snapshot) -> None:
        """Takes other clips; a cursor off the first row keeps its clip, and its place in sight."""
        self.now = now
        self.put_in_order()

    def pin(self) -> None:
        """The cursor stays with its clip from now on, in the first row, too."""
        if self.selected is not None:
            self.pinned = name_of(self.selected)

    def put_in_order(self) -> None:
        """Works out the rows anew, once a change of the clips, the order or the filter."""
        before, started = self.cursor, self.now.started
        self.rows = clip_order.arranged(self.now.clips, self.order, self.passing, started)
        self._places = {name_of(clip): row for row, clip in enumerate(self.rows)}
        self._cells = None
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)
        if self.pinned is not None and self.cursor != before:
            y = self.scroll_offset.y + self.cursor - before
            self.scroll_to(y=y, animate=False, immediate=True)
        self.border_title = f" clips · {self.count()} " if self.now.clips else " clips "
        self.refresh()
        self.notice()

    def count(self) -> str:
        """How many there are; with a filter, how many of them pass."""
        every = len(self.now.clips)
        return f"{len(self.rows)} of {every}" if self.passing.parts else f"{every}"

    def notice(self) -> None:
        """Says that another clip is under the cursor, where that is so."""
        if self.selected is not self._selected:
            self._selected = self.selected
            self.post_message(self.Selected())

    def arrange_by(self, order: Order) -> None:
        """Sorts by another column, or the other way; the cursor stays with its clip."""
        self.pin()
        self.order = order
        self.put_in_order()
        self.select(self.cursor)

    def let_pass(self, passing: Filter) -> None:
        """Shows the clips that pass alone; the cursor stays with its clip while that is shown."""
        self.passing = passing
        self.put_in_order()
        self.select(self.cursor)

    def sound(self, path: str) -> None:
        """Marks the clip that sounds."""
        if path != self.sounding:
            self.sounding = path
            self.refresh()

    @property
    def cursor(self) -> int:
        """Row of the cursor."""
        return self._places.get(self.pinned, 0) if self.pinned is not None else 0

    @property
    def selected(self) -> Clip | None:
        """The clip under the cursor."""
        return self.rows[self.cursor] if self.rows else None

    # --- Keys and mouse ---

    def select(self, row: int) -> None:
        """Puts the cursor on a row and brings the row into sight."""
        if not self.rows:
            return
        row = min(max(row, 0), len(self.rows) - 1)
        self.pinned = name_of(self.rows[row]) if row else None
        top, rows = self.scroll_offset.y, max(self.size.height - 1, 1)
        if not top <= row < top + rows:
            target = row if row < top else row - rows + 1
            self.scroll_to(y=target, animate=False, immediate=True)
        self.refresh()
        self.notice()

    def action_move(self, by: int) -> None:
        self.select(self.cursor + by)

    def action_leap(self, by: int) -> None:
        self.select(self.cursor + by * max(self.size.height - 2, 1))

    def action_newest(self) -> None:
        self.select(0)

    def action_oldest(self) -> None:
        self.select(len(self.rows) - 1)

    def action_sort(self) -> None:
        self.arrange_by(clip_order.following(self.order, self.now.started))

    def action_reverse(self) -> None:
        self.arrange_by(Order(self.order.name, not self.order.reverse))

    def action_best(self) -> None:
        self.jump(clip_order.best(self.rows), "best")

    def action_worst(self) -> None:
        self.jump(clip_order.best(self.rows, worst=True), "worst")

    def action_most_changed(self) -> None:
        found = clip_order.most_changed(self.rows, self.now)
        if found is None:
            self.post_message(self.Told("no evaluation clip here can be compared with update 0"))
            return
        clip, change = found
        self.select(self._places[name_of(clip)])
        told = f"most changed: {change:+.3f} since update 0, at update {clip.update}"
        self.post_message(self.Told(told))

    def jump(self, clip: Clip | None, told: str) -> None:
        if clip is None:
            self.post_message(self.Told("no clip here has a reward"))
            return
        self.select(self._places[name_of(clip)])
        reward = formats.score(clip.reward, 3)
        told = f"{told} of {self.count()}: reward {reward}, at update {clip.update}"
        self.post_message(self.Told(told))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y == 0:
            self.sort_at(offset.x)
        elif offset is not None:
            self.select(self.scroll_offset.y + offset.y - 1)
            if event.chain == 2:
                self.post_message(self.Played())

    def sort_at(self, x: int) -> None:
        """A click on a heading sorts by its column; on the one sorted by, the other way."""
        edge = MARGIN
        for cell in self.cells(self.scrollable_content_region.width):
            edge += cell.width + GAP
            if x < edge:
                same = cell.column == self.order.name
                reverse = same and not self.order.reverse
                self.arrange_by(Order(cell.column, reverse))
                return

    # --- Drawing ---

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        ground = self.paper
        cells = self.cells(width)
        row = self.scroll_offset.y + y - 1
        if y == 0:
            text = self.header(cells)
        elif row < len(self.rows):
            text = self.row(self.rows[row], cells)
            if row == self.cursor:
                ground += self.ink("cursor")
        elif y == 1 and not self.rows:
            told = "no clip passes the filter" if self.now.clips else "none yet"
            text = Text(f"  {told}", self.ink("missing"))
        else:
            text = Text()
        return self.strip(text, ground)

    def cells(self, width: int) -> list[Cell]:
        """The columns, worked out once for all the rows of a painting."""
        if self._cells is None or self._cells[0] != width:
            twice, by = evaluated(self.now), self.order.name
            self._cells = width, fitting(self.now.started, width - MARGIN, twice, by)
        return self._cells[1]

    def header(self, cells: list[Cell]) -> Text:
        """The columns' names; beside that of the one sorted by, the direction."""
        names = [aligned(cell.name, cell) for cell in cells]
        line = [*(" " * MARGIN + (" " * GAP).join(names))]
        edge = MARGIN
        for cell in cells:
            if cell.column == self.order.name:
                size = Text(cell.name).cell_len
                # In the blank beside the name, so that no column grows.
                at = edge + cell.width - size - 1 if cell.right else edge + size
                line[at : at + 1] = "▾" if self.order.falls(self.now.started) else "▴"
            edge += cell.width + GAP
        return Text("".join(line), self.ink("head"))

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
