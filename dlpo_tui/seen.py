"""What no line of a screen may hold: characters that a terminal obeys."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from engine.visible import visible


class Visible(LineFilter):
    """Applied to every line of every widget, Textual's own as well, whatever text is in it."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [Segment(visible(text), style, control) for text, style, control in segments]
