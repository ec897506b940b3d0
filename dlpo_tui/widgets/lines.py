"""What the drawn widgets share: inks from component classes, and lines of styled text."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget


class Inked(Widget):
    """Knows its inks by name; each is worked out once per change of style, which is slow."""

    ALLOW_SELECT = False
    _inks: dict[str, Style] | None = None

    def notify_style_update(self) -> None:
        self._inks = None
        super().notify_style_update()

    def ink(self, part: str) -> Style:
        """The style of the component class ink--`part`, its colours mixed with what is below.

        The ground is left out where it is the widget's own: a row may have another.
        """
        inks = self._known()
        if part not in inks:
            style = self.get_component_rich_style(f"ink--{part}")
            if style.bgcolor == inks[""].bgcolor:
                # without_color keeps bold and italic.
                style = style.without_color + Style(color=style.color)
            inks[part] = style
        return inks[part]

    @property
    def paper(self) -> Style:
        """The widget's own style: what inks are written on."""
        return self._known()[""]

    def _known(self) -> dict[str, Style]:
        if self._inks is None:
            self._inks = {"": self.rich_style}
        return self._inks

    def strip(self, text: Text, ground: Style) -> Strip:
        """A text on its ground, exactly as wide as the widget's content."""
        width = self.scrollable_content_region.width
        # A text without spans renders without its own style.
        base = ground + self.app.console.get_style(text.style)
        segments = Segment.apply_style(text.render(self.app.console), base)
        return Strip(segments, text.cell_len).adjust_cell_length(width, ground)


class Lines(Inked):
    """Rows of text, never wrapped; subclasses say what stands in each."""

    def line(self, y: int, width: int) -> Text:
        """The text of row `y`, at most `width` cells; what is longer is cut."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        return self.strip(self.line(y, self.size.width), self.paper)
