"""One chart: title with the latest values, axes, curves, bands, marks; by Textual's Line API."""

from __future__ import annotations

import math
from typing import ClassVar

from rich.color import Color
from rich.text import Text
from textual.geometry import Size
from textual.strip import Strip

from dlpo_tui import formats
from dlpo_tui.widgets import plot
from dlpo_tui.widgets.canvas import Canvas
from dlpo_tui.widgets.curves import Figure
from dlpo_tui.widgets.lines import Inked
from dlpo_tui.widgets.plot import Series, Span

TINT = 0.27
CROWD = 3
"""Cells that a point on a line needs for itself."""
ROLES = ("first", "second", "third")
GLYPHS = {"line": "━", "dashes": "╍", "points": "●", "joined": "●", "area": "▆"}
MARKS = {"checkpoint": "┴", "knob": "▲", "alarm": "!"}
"""On the horizontal axis, the most important last: it is drawn over the others."""


class Chart(Inked):
    """Draws a figure into strips once a change; scrolling or focus redraws nothing."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in (*ROLES, "points", "value", "axis", "label", *MARKS)
    }

    def __init__(self) -> None:
        super().__init__()
        self.figure: Figure | None = None
        self._strips: list[Strip] = []

    def show(self, figure: Figure) -> None:
        """Takes another figure; one that is equal is not drawn again."""
        if figure != self.figure:
            self.figure = figure
            self._strips = []
            self.refresh()

    def notify_style_update(self) -> None:
        self._strips = []
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        if not self._strips or self._strips[0].cell_length != self.size.width:
            self._strips = self.draw(self.size)
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.paper)

    def on_resize(self) -> None:
        self._strips = []

    def draw(self, size: Size) -> list[Strip]:
        """The whole chart at this size."""
        if self.figure is None or size.height < 4 or size.width < 16:
            return [Strip.blank(size.width, self.paper)] * size.height
        canvas = Canvas(size.width, size.height - 1, self.paper)
        Drawing(self, self.figure, canvas).draw()
        return [self.title(self.figure, size.width), *canvas.strips()]

    def title(self, figure: Figure, width: int) -> Strip:
        """Every series' sign, name and latest value, as many as fit."""
        parts: list[Text] = []
        for index, series in enumerate(figure.series):
            sign = Text(f"{GLYPHS[series.shape]} ", self.ink(self.role(series, index)))
            name = Text(f"{series.name} ", self.ink("label"))
            parts.append(sign + name + Text(series.told, self.ink("value")))
        line = formats.joined(parts, width, "  ")
        if not line.cell_len and parts:
            line = parts[0]
            line.truncate(width, overflow="ellipsis")
        return self.strip(line, self.paper)

    def role(self, series: Series, index: int) -> str:
        return "points" if series.shape == "points" else ROLES[min(index, len(ROLES) - 1)]

    def colour(self, part: str) -> Color | None:
        return self.ink(part).color

    def tint(self, part: str) -> Color:
        """A role's colour, as thin as a band of it should be."""
        colour = self.get_component_styles(f"ink--{part}").color
        return self.background_colors[1].blend(colour, TINT).rich_color


class Drawing:
    """One figure on one canvas: the axes' widths, then layer over layer."""

    def __init__(self, chart: Chart, figure: Figure, canvas: Canvas) -> None:
        self.chart, self.figure, self.canvas = chart, figure, canvas
        self.rows = canvas.height - 1
        left = [s for s in figure.series if s.axis == "left"]
        right = [s for s in figure.series if s.axis == "right"]
        self.spans = {
            "left": plot.value_span(left, figure.least, figure.most),
            "right": plot.value_span(right),
        }
        self.labels = {side: self.labelled(span) for side, span in self.spans.items()}
        longest = max((len(t) for t in self.labels["left"].values()), default=0)
        # A common least width keeps the plots of charts below one another in line.
        self.x0 = max(longest, 5) + 1
        longest = max((len(t) for t in self.labels["right"].values()), default=-1)
        self.x1 = canvas.width - (longest + 1 if longest > 0 else 0)
        self.width = self.x1 - self.x0

    def labelled(self, span: Span | None) -> dict[int, str]:
        """Row -> text of the axis' labels."""
        if span is None:
            return {}
        values, decimals = plot.ticks(span, max(math.ceil(self.rows / 2.5), 2))
        texts = plot.tick_texts(values, decimals)
        rows = [self.row(span, value) for value in values]
        return dict(zip(rows, texts, strict=True))

    def row(self, span: Span, value: float) -> int:
        """The cell row in which a curve passes through a value."""
        return round((1 - span.share(value)) * (self.rows * 4 - 1)) // 4

    def draw(self) -> None:
        self.axes()
        if all(span is None for span in self.spans.values()):
            text = "no values yet"
            at = self.x0 + max((self.width - len(text)) // 2, 0)
            self.canvas.write(at, self.rows // 2, text, self.chart.colour("label"))
        inked = [(s, self.chart.role(s, i)) for i, s in enumerate(self.figure.series)]
        for series, role in inked:
            self.band(series, role)
        self.marks()
        self.ends()
        # Backwards, so that the first series, the chart's subject, lies on the others.
        for series, role in reversed(inked):
            self.curve(series, self.chart.colour(role))
        for series, role in inked:
            self.points(series, self.chart.colour(role))

    def axes(self) -> None:
        canvas, axis, label = self.canvas, self.chart.colour("axis"), self.chart.colour("label")
        for row in range(self.rows):
            text = self.labels["left"].get(row, "")
            canvas.write(self.x0 - 1 - len(text), row, text, label)
            canvas.put(self.x0 - 1, row, "┤" if text else "│", axis)
            if text := self.labels["right"].get(row, ""):
                canvas.write(self.x1 + 1, row, text, label)
                canvas.put(self.x1, row, "├", axis)
            elif self.labels["right"]:
                canvas.put(self.x1, row, "│", axis)
        end = "┘" if self.labels["right"] else ""
        canvas.write(self.x0 - 1, self.rows, "└" + "─" * self.width + end, axis)

    def ends(self) -> None:
        """The first and the last update below the axis."""
        label = self.chart.colour("label")
        first, last = f"{self.figure.across.low:g} ", f" {self.figure.across.high:g}"
        self.canvas.write(self.x0, self.rows, first, label)
        self.canvas.write(self.x1 - len(last), self.rows, last, label)

    def band(self, series: Series, role: str) -> None:
        span = self.spans[series.axis]
        if span is not None and series.low:
            edges = plot.band(series, self.figure.across, span, self.width, self.rows)
            self.canvas.band(self.x0, edges, self.chart.tint(role))

    def marks(self) -> None:
        kinds = list(MARKS)
        for mark in sorted(self.figure.marks, key=lambda m: kinds.index(m.kind)):
            share = self.figure.across.share(mark.update)
            column = self.x0 + round(share * (self.width - 1))
            if not self.x0 <= column < self.x1:
                continue
            colour = self.chart.colour(mark.kind)
            self.canvas.put(column, self.rows, MARKS[mark.kind], colour)
            if mark.kind != "checkpoint":
                for row in range(self.rows):
                    self.canvas.put(column, row, "┊", colour)

    def curve(self, series: Series, colour: Color | None) -> None:
        span = self.spans[series.axis]
        if span is None or series.shape in ("points", "area"):
            return
        dots = self.width * 2, self.rows * 4
        runs, alone = plot.columns(series.x, series.y, self.figure.across, span, *dots)
        for (row, column), bits in plot.braille(runs, dots[1], series.shape == "dashes").items():
            self.canvas.put(self.x0 + column, row, chr(plot.BRAILLE | bits), colour)
        for x, y in alone:
            self.canvas.put(self.x0 + x // 2, y // 4, "●", colour)

    def points(self, series: Series, colour: Color | None) -> None:
        """Every value by itself, unless they stand too close on a line to be told apart."""
        span = self.spans[series.axis]
        crowded = series.shape == "joined" and len(series.x) * CROWD > self.width
        if span is None or series.shape not in ("points", "joined") or crowded:
            return
        for x, y in zip(series.x, plot.array(series.y).tolist(), strict=True):
            if math.isnan(y):
                continue
            column = round(self.figure.across.share(x) * (self.width - 1))
            self.canvas.put(self.x0 + column, self.row(span, y), "●", colour)
