"""The first two lines of a blind test: what it is, and how far it is."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines


class BlindHead(Lines):
    """The two voices by their places, never by what is heard; and a bar."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("name", "label", "value", "phase", "bar", "rest")
    }

    def __init__(self, sources: tuple[str, str]) -> None:
        super().__init__()
        self.sources = sources
        self.told: tuple[str, int, int] = ("loading", 0, 0)

    def show(self, what: str, done: int, total: int) -> None:
        """`what` is at work, or is counted, of which `done` of `total`."""
        if (what, done, total) != self.told:
            self.told = what, done, total
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        if y == 0:
            room = max((width - 16) // 2, 6)
            names = [formats.squeezed(formats.plain(name), room) for name in self.sources]
            line = Text.assemble(
                ("blind test  ", self.ink("name")), (" or ".join(names), self.ink("label"))
            )
            return formats.cut(line, width)
        what, done, total = self.told
        count = f" {done}/{total}" if total else ""
        cells = min(width // 3, 40)
        full = round(done / total * cells) if total else 0
        right = Text(count, self.ink("value"))
        if total:
            right = Text.assemble(
                ("━" * full, self.ink("bar")), ("─" * (cells - full), self.ink("rest")), right
            )
        return formats.spread(Text(formats.plain(what), self.ink("phase")), right, width)
