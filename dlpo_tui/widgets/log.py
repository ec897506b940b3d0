"""The last lines of the log; the newest stands below."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines
from engine.messages import Line, Snapshot


class LogTail(Lines):
    """As many lines as there are rows. An answer to a key takes the last row until news come."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("label", "info", "warning", "error", "answer")
    }

    kept: tuple[Line, ...] = ()
    answer = ""

    def show(self, now: Snapshot) -> None:
        if now.log is not self.kept:
            self.kept, self.answer = now.log, ""
            self.refresh()

    def say(self, answer: str) -> None:
        """Shows a sentence in the last row."""
        if answer != self.answer:
            self.answer = answer
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        rows = self.size.height - (1 if self.answer else 0)
        if y >= rows:
            told = formats.squeezed(formats.plain(self.answer), max(width - 2, 0))
            return Text(f"› {told}", self.ink("answer"))
        # Few lines hang from the top, as text does.
        lines = self.kept[-rows:] if rows else ()
        return row(lines[y], self, width) if y < len(lines) else Text()


def row(line: Line, widget: Lines, width: int) -> Text:
    """Update and sentence of one log line."""
    at = Text(f"{line.update:>5}  ", widget.ink("label"))
    return formats.spread(
        at + Text(formats.plain(line.text), widget.ink(line.level)), Text(), width
    )
