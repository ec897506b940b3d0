"""One figure on one canvas: the axes' widths, then layer over layer."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.color import Color

from dlpo_tui.widgets import plot
from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.canvas import Canvas
from dlpo_tui.widgets.plot import Numbers
from dlpo_tui.widgets.scaled import Curve, ready, value_span
from dlpo_tui.widgets.series import Strength, role
from dlpo_tui.widgets.ticks import axis_ticks
from dlpo_tui.widgets.view import MARKS, Figure

CROWD = 3
"""Cells that a point on a line needs for itself."""
LEAST_MARGIN = 6
"""Cells left of the plots at least: those of charts below one another stand in line."""
Colours = Callable[[str, Strength], Color | None]
"""From an ink's name and how strong it is to be."""


class Drawing:
    """Where everything stands; `draw` puts it on the canvas."""

    def __init__(self, figure: Figure, canvas: Canvas, colours: Colours) -> None:
        self.figure, self.canvas, self.colours = figure, canvas, colours
        self.rows = canvas.height - 1
        self.curves = [
            ready(series, figure.across, figure.log and series.shape != "area", figure.weight)
            for series in figure.series
        ]
        left = [c for c in self.curves if c.series.axis == "left"]
        right = [c for c in self.curves if c.series.axis == "right"]
        self.spans = {"left": value_span(left, figure.limits), "right": value_span(right)}
        self.labels = {side: self.labelled(span) for side, span in self.spans.items()}
        longest = max((len(t) for t in self.labels["left"].values()), default=0)
        self.x0 = max(longest + 1, LEAST_MARGIN)
        longest = max((len(t) for t in self.labels["right"].values()), default=-1)
        self.x1 = canvas.width - (longest + 1 if longest > 0 else 0)
        self.width = self.x1 - self.x0

    def lost(self) -> str:
        """What cannot be drawn, for the title."""
        infinite = sum(c.infinite for c in self.curves if c.series.shape != "area")
        below = sum(c.below for c in self.curves)
        told = [f"{infinite} not finite"] if infinite else []
        return " · ".join([*told, f"{below} not above 0"] if below else told)

    def column(self, update: float) -> int | None:
        """The cell column of an update; None outside the window."""
        share = self.figure.across.share(update)
        return self.x0 + round(share * (self.width - 1)) if 0 <= share <= 1 else None

    def update_at(self, column: int) -> int | None:
        """The update at a cell column, a marked one before its neighbours; None off the plot."""
        if not self.x0 <= column < self.x1:
            return None
        for mark in reversed(self.figure.marks):
            if self.column(mark.update) == column:
                return mark.update
        across = self.figure.across
        share = (column - self.x0) / max(self.width - 1, 1)
        return round(across.low + share * (across.high - across.low))

    def labelled(self, span: Span | None) -> dict[int, str]:
        """Row -> text of the axis' labels."""
        if span is None:
            return {}
        ticks = axis_ticks(span, max(math.ceil(self.rows / 2.5), 2))
        return {self.row(span, value): text for value, text in ticks}

    def row(self, span: Span, value: float) -> int:
        """The cell row in which a curve passes through a value."""
        return round((1 - span.share(value)) * (self.rows * 4 - 1)) // 4

    def draw(self) -> None:
        self.axes()
        if all(span is None for span in self.spans.values()):
            self.excuse()
        for curve, ink in self.inked():
            self.band(curve, ink)
        self.marks()
        self.ends()
        # Backwards, so that the first series, the chart's subject, lies on the others.
        for curve, ink in reversed(self.inked()):
            if len(curve.smooth):
                self.line(curve, curve.y, self.colours(ink, "faint"))
        for curve, ink in reversed(self.inked()):
            self.line(
                curve, curve.smooth if len(curve.smooth) else curve.y, self.colours(ink, "full")
            )
        for curve, ink in self.inked():
            self.points(curve, self.colours(ink, "full"))

    def inked(self) -> list[tuple[Curve, str]]:
        return [(curve, role(curve.series, i)) for i, curve in enumerate(self.curves)]

    def excuse(self) -> None:
        """Why the chart is empty."""
        text = "no values above 0" if any(c.below for c in self.curves) else "no values yet"
        at = self.x0 + max((self.width - len(text)) // 2, 0)
        self.canvas.write(at, self.rows // 2, text, self.colours("label", "full"))

    def axes(self) -> None:
        canvas = self.canvas
        axis, label = self.colours("axis", "full"), self.colours("label", "full")
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
        label = self.colours("label", "full")
        first, last = f"{self.figure.across.low:g} ", f" {self.figure.across.high:g}"
        self.canvas.write(self.x0, self.rows, first, label)
        self.canvas.write(self.x1 - len(last), self.rows, last, label)

    def band(self, curve: Curve, role: str) -> None:
        span = self.spans[curve.series.axis]
        if span is not None and len(curve.low):
            edges = plot.band(
                curve.x, curve.low, curve.high, self.figure.across, span, self.width, self.rows
            )
            self.canvas.band(self.x0, edges, self.colours(role, "tint"))

    def marks(self) -> None:
        kinds = list(MARKS)
        for mark in sorted(self.figure.marks, key=lambda m: kinds.index(m.kind)):
            column = self.column(mark.update)
            if column is None:
                continue
            colour = self.colours(mark.kind, "full")
            self.canvas.put(column, self.rows, MARKS[mark.kind], colour)
            if mark.kind != "checkpoint":
                for row in range(self.rows):
                    self.canvas.put(column, row, "┊", colour)

    def line(self, curve: Curve, values: Numbers, colour: Color | None) -> None:
        span, shape = self.spans[curve.series.axis], curve.series.shape
        if span is None or shape in ("points", "area"):
            return
        dots = self.width * 2, self.rows * 4
        runs, alone = plot.columns(curve.x, values, self.figure.across, span, *dots)
        for (row, column), bits in plot.braille(runs, dots[1], shape).items():
            self.canvas.put(self.x0 + column, row, chr(plot.BRAILLE | bits), colour)
        for x, y in alone:
            self.canvas.put(self.x0 + x // 2, y // 4, "●", colour)

    def points(self, curve: Curve, colour: Color | None) -> None:
        """Every value by itself, unless they stand too close on a line to be told apart."""
        span, shape = self.spans[curve.series.axis], curve.series.shape
        xs, ys = curve.inside(curve.x), curve.inside(curve.y)
        crowded = shape == "joined" and len(xs) * CROWD > self.width
        if span is None or shape not in ("points", "joined") or crowded:
            return
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            column = self.column(x)
            if column is not None and not math.isnan(y):
                self.canvas.put(column, self.row(span, y), "●", colour)
