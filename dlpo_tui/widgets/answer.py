"""One line: the answer to the last key."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines


class Answer(Lines):
    """Empty until something is said; a path keeps its name where the line is short."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"ink--answer"}

    told = ""

    def say(self, told: str) -> None:
        if told != self.told:
            self.told = told
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        if not self.told or y:
            return Text()
        told = formats.squeezed(formats.plain(self.told), max(width - 2, 0))
        return Text(f"› {told}", self.ink("answer"))
