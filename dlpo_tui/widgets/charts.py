"""The charts of a session: as many as fit, in pages; only the visible ones are computed."""

from __future__ import annotations

import math

from textual.app import ComposeResult
from textual.containers import Grid

from dlpo_tui.widgets.chart import Chart
from dlpo_tui.widgets.curves import builders, view
from engine.messages import Snapshot

LEAST_WIDTH, LEAST_HEIGHT = 36, 8
"""Cells below which a chart says too little to be shown."""
MOST_COLUMNS, MOST = 4, 12
WINDOWS = (0, 200, 50)


class ChartGrid(Grid):
    """Holds the snapshot, the page, the window; lays the charts out for the space there is."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.charts = [Chart() for _ in range(MOST)]
        self.now = Snapshot()
        self.first = 0
        self.alone = False
        self.window = 0

    def compose(self) -> ComposeResult:
        yield from self.charts

    def show(self, now: Snapshot) -> None:
        self.now = now
        self.lay_out()

    def on_resize(self) -> None:
        self.lay_out()

    def turn_page(self, by: int) -> None:
        """The next or previous page, round and round."""
        count, room = len(builders(self.now)), self.room()
        if count:
            pages = math.ceil(count / room)
            self.first = (self.first // room + by) % pages * room
            self.lay_out()

    def zoom(self) -> None:
        """One chart alone, or as many as fit."""
        self.alone = not self.alone
        self.lay_out()

    def turn_window(self) -> None:
        """All updates, the last 200, the last 50."""
        self.window = (self.window + 1) % len(WINDOWS)
        self.lay_out()

    def room(self) -> int:
        columns, rows = self.shape(len(builders(self.now)))
        return columns * rows

    def shape(self, count: int) -> tuple[int, int]:
        """Columns and rows for up to `count` charts: none too small, as few empty as can be."""
        if self.alone or not count:
            return 1, 1
        columns = min(max(self.size.width // LEAST_WIDTH, 1), MOST_COLUMNS)
        rows = max(self.size.height // LEAST_HEIGHT, 1)
        rows = min(rows, math.ceil(count / columns))
        return min(columns, math.ceil(count / rows)), rows

    def lay_out(self) -> None:
        """Gives the visible charts their figures and hides the others."""
        every = builders(self.now)
        columns, rows = self.shape(len(every))
        room = columns * rows
        self.first = min(self.first, max(len(every) - 1, 0)) // room * room
        shown = every[self.first : self.first + room]
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        seen = view(self.now, WINDOWS[self.window])
        for index, chart in enumerate(self.charts):
            chart.display = index < len(shown)
            if chart.display:
                chart.show(shown[index](seen))
        self.border_title = self.heading(len(every), len(shown))

    def heading(self, count: int, shown: int) -> str:
        window = WINDOWS[self.window]
        parts = ["charts"]
        if shown < count:
            last = self.first + shown
            parts = [
                f"charts {self.first + 1}–{last} of {count}"
                if shown > 1
                else f"chart {last} of {count}"
            ]
        if window:
            parts.append(f"last {window} updates")
        return f" {' · '.join(parts)} "
