"""What stands there until the session has started: what it is doing, or why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines
from engine.messages import Snapshot

PATIENCE_SECONDS = 3
"""After this the seconds are counted, as a sign of life."""
LATEST = 3
WIDEST = 72


class Waiting(Lines):
    """A few centred lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("phase", "bar", "label", "info", "warning", "error")
    }

    now = Snapshot()
    seconds = 0

    def __init__(self, log_path: Path | None) -> None:
        """`log_path`: where the details of a failure stand."""
        super().__init__()
        self.log_path = log_path

    def show(self, now: Snapshot, seconds: float) -> None:
        """`seconds`: since the start."""
        if now is not self.now or int(seconds) != self.seconds:
            self.now, self.seconds = now, int(seconds)
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        lines = self.lines(min(width, WIDEST))
        row = y - max((self.size.height - len(lines)) // 2, 0)
        if not 0 <= row < len(lines):
            return Text()
        text = lines[row]
        text.truncate(width, overflow="ellipsis")
        return Text(" " * ((width - text.cell_len) // 2)) + text

    def lines(self, width: int) -> list[Text]:
        if self.now.ended is not None:
            return self.end(width)
        waited = f"  {self.seconds} s" if self.seconds >= PATIENCE_SECONDS else ""
        head = Text.assemble(("loading …", self.ink("phase")), (waited, self.ink("label")))
        latest = [
            Text(formats.shortened(formats.plain(line.text), width), self.ink(line.level))
            for line in self.now.log[-LATEST:]
        ]
        return [head, Text(), *latest] if latest else [head]

    def end(self, width: int) -> list[Text]:
        ended = self.now.ended
        assert ended is not None
        words = Text(formats.plain(ended.error or ended.reason), self.ink("error"))
        head = Text("the session could not start", self.ink("label"))
        if not ended.error:
            head, words = Text("the session ended before it started", self.ink("label")), Text()
        lines = [head, Text(), *words.wrap(self.app.console, width)]
        if self.log_path is not None:
            where = formats.squeezed(f"details in {self.log_path}", width)
            lines += [Text(), Text(where, self.ink("label"))]
        return lines
