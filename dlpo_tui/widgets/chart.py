"""One chart: title with values, axes, curves, bands, marks, cursor; by Textual's Line API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from dlpo_tui import formats
from dlpo_tui.widgets.canvas import EIGHTHS, Canvas
from dlpo_tui.widgets.lines import Inked
from dlpo_tui.widgets.series import ROLES, Series, Strength, role
from dlpo_tui.widgets.view import MARKS, Figure

if TYPE_CHECKING:
    from dlpo_tui.widgets.drawing import Drawing

STRENGTHS: dict[Strength, float] = {"faint": 0.45, "tint": 0.27}
"""How much of an ink is left in a curve beneath its trend, and in a band."""
GLYPHS = {
    "line": "━",
    "dashes": "╍",
    "dots": "┈",
    "points": "●",
    "joined": "●",
    "area": "▆",
}
LEAST = 16, 4
"""Cells below which nothing is drawn."""


class Chart(Inked):
    """Draws a figure into strips once a change; the cursor is laid over them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}"
        for part in (*ROLES, "points", "value", "axis", "label", "pointed", "warning", *MARKS)
    }

    @dataclass
    class Pointed(Message):
        """The mouse is over an update, or over none; `stays`: it was clicked on."""

        update: int | None
        stays: bool

    @dataclass
    class Zoomed(Message):
        """The wheel was turned over an update; above 0: closer."""

        by: int
        update: int | None

    def __init__(self) -> None:
        super().__init__()
        self.figure: Figure | None = None
        self.cursor: int | None = None
        self.note = ""
        self.drawing: Drawing | None = None
        self._strips: list[Strip] = []

    def show(self, figure: Figure) -> None:
        """Takes another figure; one that is equal is not drawn again."""
        if figure != self.figure:
            self.figure = figure
            self._strips = []
            self.refresh()

    def point_at(self, cursor: int | None, note: str = "") -> None:
        """The update whose values the title tells, None: the latest's; and a word beside them."""
        if (cursor, note) != (self.cursor, self.note):
            self.cursor, self.note = cursor, note
            self.refresh()

    def notify_style_update(self) -> None:
        self._strips = []
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        size = self.size
        if not self._strips or self._strips[0].cell_length != size.width:
            self._strips = self.draw(size)
        if self.figure is None or self.drawing is None or y >= len(self._strips) + 1:
            return Strip.blank(size.width, self.paper)
        if y == 0:
            return self.title(self.figure, size.width)
        strip = self.crossed(self._strips[y - 1])
        return self.named(strip) if y == len(self._strips) else strip

    def on_resize(self) -> None:
        self._strips = []

    def draw(self, size: Size) -> list[Strip]:
        """The plot below the title, without the cursor."""
        self.drawing = None
        if self.figure is None or size.width < LEAST[0] or size.height < LEAST[1]:
            return [Strip.blank(size.width, self.paper)] * max(size.height - 1, 1)
        from dlpo_tui.widgets.drawing import Drawing  # numpy, after the first paint

        canvas = Canvas(size.width, size.height - 1, self.paper)
        self.drawing = Drawing(self.figure, canvas, self.colour)
        self.drawing.draw()
        return canvas.strips()

    def crossed(self, strip: Strip) -> Strip:
        """A row with the cursor's line through it; what is drawn there stays to be seen."""
        if (at := self.crossing()) is None:
            return strip
        before, cell, after = strip.divide([at, at + 1, strip.cell_length])
        glyph, style = cell.text, next(iter(cell)).style or self.paper
        pointed = self.ink("pointed")
        if glyph in EIGHTHS:  # nothing, or part of a band
            glyph, style = "│", style + Style(color=pointed.color)
        ground = Style(bgcolor=pointed.bgcolor)
        return Strip.join([before, Strip([Segment(glyph, style + ground)], 1), after])

    def named(self, axis: Strip) -> Strip:
        """The horizontal axis with the cursor's update on it, below the cursor's line."""
        at = self.crossing()
        if at is None or self.drawing is None:
            return axis
        told = f" {self.cursor} "
        first = min(max(at - len(told) // 2, self.drawing.x0), self.drawing.x1 - len(told))
        before, _, after = axis.divide([first, first + len(told), axis.cell_length])
        rule = self.paper + self.ink("axis")
        # A label that is covered in part would be another number.
        kept = before.cell_length - digits(before.text[::-1])
        cut = digits(after.text)
        return Strip.join(
            [
                before.crop(0, kept),
                Strip([Segment("─" * (before.cell_length - kept), rule)]),
                Strip([Segment(told, self.paper + self.ink("pointed"))]),
                Strip([Segment("─" * cut, rule)]),
                after.crop(cut),
            ]
        )

    def crossing(self) -> int | None:
        """The cell column of the cursor."""
        if self.cursor is None or self.drawing is None:
            return None
        return self.drawing.column(self.cursor)

    # --- The title ---

    def title(self, figure: Figure, width: int) -> Strip:
        """Every series' sign, name and value, as many as fit; what is lost on the right."""
        lost = Text(self.drawing.lost() if self.drawing else "", self.ink("warning"))
        if self.note:
            most = width - lost.cell_len - self.part(figure.series[0], 0, True).cell_len - 4
            note = Text(formats.shortened(self.note, max(most, 0)), self.ink("label"))
            lost = formats.joined([note, lost], width)
        room = width - lost.cell_len - (2 if lost.cell_len else 0)
        parts = self.parts(figure)
        if sum(part.cell_len + 2 for part in parts) - 2 > room:
            parts = self.parts(figure, brief=True)
        line = formats.joined(parts, room, "  ")
        if not line.cell_len and parts:
            line = formats.cut(parts[0], room)
        return self.strip(formats.spread(line, lost, width), self.paper)

    def parts(self, figure: Figure, brief: bool = False) -> list[Text]:
        return [self.part(series, i, brief) for i, series in enumerate(figure.series)]

    def part(self, series: Series, index: int, brief: bool) -> Text:
        at = series.index(self.cursor)
        told = series.told(at, brief)
        name = series.brief if brief and series.brief else series.name
        part = Text.assemble(
            (f"{GLYPHS[series.shape]} ", self.ink(role(series, index))),
            (f"{name} ", self.ink("label")),
            (told, self.ink("value")),
        )
        if not brief and at >= 0 and self.cursor not in (None, series.x[at]):
            part.append(f" at {series.x[at]:g}", self.ink("label"))
        return part

    def colour(self, part: str, strength: Strength) -> Color | None:
        """An ink's colour, or as much of it as a band or a faint line takes."""
        if strength == "full":
            return self.ink(part).color
        colour = self.get_component_styles(f"ink--{part}").color
        return self.background_colors[1].blend(colour, STRENGTHS[strength]).rich_color

    # --- The mouse ---

    def update_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset(self)
        if offset is None or self.drawing is None:
            return None
        return self.drawing.update_at(offset.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self.post_message(self.Pointed(self.update_at(event), stays=False))

    def on_leave(self, event: events.Leave) -> None:
        self.post_message(self.Pointed(None, stays=False))

    def on_click(self, event: events.Click) -> None:
        if (update := self.update_at(event)) is not None:
            self.post_message(self.Pointed(update, stays=True))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.post_message(self.Zoomed(1, self.update_at(event)))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.post_message(self.Zoomed(-1, self.update_at(event)))


def digits(text: str) -> int:
    """How many there are at the start."""
    return len(text) - len(text.lstrip("0123456789"))
