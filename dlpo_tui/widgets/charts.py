"""The charts of a session: as many as fit, in pages; only the visible ones are computed."""

from __future__ import annotations

import math

from textual.app import ComposeResult
from textual.containers import Grid
from textual.content import Content

from dlpo_tui.widgets.chart import Chart
from dlpo_tui.widgets.curves import Builder, builders
from dlpo_tui.widgets.shapes import MOST, choices, fitting, wished
from dlpo_tui.widgets.view import happened, newest, view
from dlpo_tui.widgets.window import Window
from engine.messages import Snapshot

WINDOWS = (0, 200, 50)
WEIGHTS = (0.0, 0.6, 0.9)
"""Of the past in the moving average."""
CLOSER = 0.5
"""Of the updates, what one step of the zoom leaves."""


class ChartGrid(Grid):
    """Holds the snapshot, the page, the window, the cursor; lays out what there is room for."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.charts = [Chart() for _ in range(MOST)]
        self.now = Snapshot()
        self.known: list[Builder] = []
        self.first = 0
        self.alone = False
        self.hidden: set[str] = set()
        """Titles of the charts that are not shown."""
        self.wish: int | None = None
        """Charts at a time; None: as many as fit."""
        self.window = Window()
        self.logarithmic = False
        self.weight = 0.0
        self.pinned: int | None = None
        self.hovered: int | None = None
        """The update under the mouse; it goes before the one that was pinned."""

    def compose(self) -> ComposeResult:
        yield from self.charts

    def show(self, now: Snapshot) -> None:
        self.now, self.known = now, builders(now)
        self.lay_out()

    def on_resize(self) -> None:
        self.lay_out()

    # --- Which charts ---

    def every(self) -> list[Builder]:
        """The charts that were not hidden; all, where no other is left."""
        return [b for b in self.known if b.title not in self.hidden] or self.known

    def titles(self) -> list[str]:
        """All the charts there are."""
        return [builder.title for builder in self.known]

    def place(self) -> int:
        """Where the first visible chart stands among all."""
        every = self.every()
        return self.titles().index(every[min(self.first, len(every) - 1)].title)

    def turn(self, title: str) -> set[str]:
        """Shows or hides a chart, but never the last one; returns what is hidden."""
        if title and (title in self.hidden or len(self.every()) > 1):
            self.hidden ^= {title}
            self.lay_out()
        return set(self.hidden)

    def go_to(self, title: str | None) -> None:
        """The page with that chart; shows it, if it was hidden."""
        if title is not None:
            self.hidden.discard(title)
            shown = [builder.title for builder in self.every()]
            self.first = shown.index(title) if title in shown else 0
            self.lay_out()

    # --- Pages and sizes ---

    def turn_page(self, by: int) -> None:
        """The next or previous page, round and round."""
        count, room = len(self.every()), self.room()
        if count:
            pages = math.ceil(count / room)
            self.first = (self.first // room + by) % pages * room
            self.lay_out()

    def zoom(self) -> None:
        """One chart alone, or as many as before."""
        self.alone = not self.alone
        self.lay_out()

    def resize_grid(self, by: int) -> None:
        """The next larger or smaller number of charts at a time."""
        count = len(self.every())
        counts = [c * r for c, r in choices(*self.size, count)]
        room = self.room()
        others = [n for n in counts if (n > room if by > 0 else n < room)]
        if others:
            self.wish = min(others) if by > 0 else max(others)
            self.alone = False
            self.lay_out()

    def room(self) -> int:
        columns, rows = self.shape(len(self.every()))
        return columns * rows

    def shape(self, count: int) -> tuple[int, int]:
        """Columns and rows for up to `count` charts."""
        if self.alone or not count:
            return 1, 1
        if self.wish is None:
            return fitting(*self.size, count)
        return wished(*self.size, count, self.wish)

    # --- The window, the scale, the trend ---

    def turn_window(self) -> None:
        """All updates, the last 200, the last 50."""
        width = self.window.width if self.window.width in WINDOWS else WINDOWS[-1]
        self.window = Window(WINDOWS[(WINDOWS.index(width) + 1) % len(WINDOWS)])
        self.lay_out()

    def magnify(self, by: int, at: int | None = None) -> None:
        """Half or twice as many updates around `at`, the cursor or the end; 0: all of them."""
        at = self.cursor if at is None else at
        times = CLOSER**by
        self.window = self.window.zoomed(times, at, newest(self.now)) if by else Window()
        self.lay_out()

    def turn_log(self) -> None:
        self.logarithmic = not self.logarithmic
        self.lay_out()

    def turn_smoothing(self) -> None:
        self.weight = WEIGHTS[(WEIGHTS.index(self.weight) + 1) % len(WEIGHTS)]
        self.lay_out()

    # --- The cursor ---

    @property
    def cursor(self) -> int | None:
        """The update that every title tells of; None: the latest."""
        at = self.pinned if self.hovered is None else self.hovered
        # A session that was resumed may have fewer updates than were seen.
        return None if at is None else min(at, newest(self.now))

    def turn_cursor(self) -> None:
        """Away, or at the end of what is seen."""
        seen = self.window.span(newest(self.now))
        end = min(int(seen.high), newest(self.now))
        self.pinned, self.hovered = None if self.cursor is not None else end, None
        self.point()

    def move_cursor(self, by: int) -> None:
        """`by` updates on; the window goes along."""
        if self.cursor is None:
            self.turn_cursor()
        last = newest(self.now)
        self.pinned, self.hovered = min(max((self.cursor or 0) + by, 0), last), None
        window = self.window.holding(self.pinned, last)
        if window != self.window:
            self.window = window
            self.lay_out()
        self.point()

    def on_chart_pointed(self, event: Chart.Pointed) -> None:
        event.stop()
        if event.stays:
            self.pinned = event.update
        if (event.update, event.stays) != (self.hovered, False):
            self.hovered = event.update
            self.point()

    def on_chart_zoomed(self, event: Chart.Zoomed) -> None:
        event.stop()
        self.magnify(event.by, event.update)

    def point(self) -> None:
        """The cursor alone has moved: nothing is computed anew."""
        for index, chart in enumerate(self.charts):
            if chart.display:
                chart.point_at(self.cursor, "" if index else self.note())
        self.head()

    # --- What is shown ---

    def lay_out(self) -> None:
        """Gives the visible charts their figures and hides the others."""
        every = self.every()
        columns, rows = self.shape(len(every))
        room = columns * rows
        self.first = min(self.first, max(len(every) - 1, 0)) // room * room
        shown = every[self.first : self.first + room]
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        across = self.window.span(newest(self.now))
        seen = view(self.now, across, self.logarithmic, self.weight)
        for index, chart in enumerate(self.charts):
            chart.display = index < len(shown)
            if chart.display:
                chart.show(shown[index](seen))
        self.point()

    def head(self) -> None:
        """The title: which charts, where the cursor is, and how the curves are drawn."""
        pointed = [] if self.cursor is None else [f"update {self.cursor}"]
        parts = [self.paging(), *pointed, *self.drawn(), *happened(self.now, self.cursor)]
        # Never markup: a mark's text may be a user's.
        self.border_title = Content(f" {' · '.join(parts)} ")

    def note(self) -> str:
        """What the first chart says where the terminal is too low for the panel's title."""
        if self.styles.border_top[0]:
            return ""
        return " · ".join([*self.drawn(), *happened(self.now, self.cursor)])

    def drawn(self) -> list[str]:
        """Window, scale, trend, where they are not the usual ones."""
        smoothed = f"smoothed {self.weight:g}" if self.weight else ""
        parts = (self.window.describe(newest(self.now)), "log" * self.logarithmic, smoothed)
        return [part for part in parts if part]

    def paging(self) -> str:
        count, shown = len(self.every()), sum(chart.display for chart in self.charts)
        if shown >= count:
            return "charts"
        last = self.first + shown
        return (
            f"charts {self.first + 1}–{last} of {count}"
            if shown > 1
            else f"chart {last} of {count}"
        )
