"""The base of the widgets that are lines of styled text: drawn by the Line API, never wrapped."""

from __future__ import annotations

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
        width, ground = self.size.width, self.ground(y)
        text = self.line(y, width)
        text.style = ground + self.app.console.get_style(text.style)
        strip = Strip(text.render(self.app.console), text.cell_len)
        return strip.adjust_cell_length(width, ground)

    def ink(self, part: str) -> Style:
        """The style of this widget's component class `part`, without a ground."""
        return self.get_component_rich_style(f"ink--{part}", partial=True)
