"""The base of the widgets that are lines of styled text: drawn by the Line API, never wrapped."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget


class Lines(Widget):
    """Subclasses say what stands in a row; colours come from their component classes."""

    ALLOW_SELECT = False

    def line(self, y: int, width: int) -> Text:
        """The text of row `y`, at most `width` cells; what is longer is cut."""
        raise NotImplementedError

    def ground(self, y: int) -> Style:
        """What lies under row `y`."""
        return self.rich_style

    def render_line(self, y: int) -> Strip:
        return strip(self, self.line(y, self.size.width), self.size.width, self.ground(y))

    def ink(self, part: str) -> Style:
        """The style of this widget's component class `part`."""
        return ink(self, f"ink--{part}")


def ink(widget: Widget, component: str) -> Style:
    """A component class's style, its colours mixed with what lies under them.

    The ground is left out where it is the widget's own: a row may have another.
    """
    style = widget.get_component_rich_style(component)
    if style.bgcolor != widget.rich_style.bgcolor:
        return style
    # without_color keeps bold and italic.
    return style.without_color + Style(color=style.color)


def strip(widget: Widget, text: Text, width: int, ground: Style) -> Strip:
    """A text on its ground, exactly `width` cells long."""
    # A text without spans renders without its own style.
    base = ground + widget.app.console.get_style(text.style)
    segments = Segment.apply_style(text.render(widget.app.console), base)
    return Strip(segments, text.cell_len).adjust_cell_length(width, ground)
