"""The second line: phase, progress, a stand-in reward, updates done, pace, time left."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines
from engine.messages import Snapshot

ROOMY = 76
"""Cells from which on the line speaks in words."""
RECENT = 20
"""Updates that the pace is the mean of."""
LONGEST_PHASE = len("optimise")


class Status(Lines):
    """Redrawn at every change; all its numbers come from the snapshot, none from a clock."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("phase", "bar", "rest", "label", "value", "stand-in", "failed")
    }

    now = Snapshot()

    def show(self, now: Snapshot) -> None:
        self.now = now
        self.refresh()

    def line(self, y: int, width: int) -> Text:
        if self.now.ended is not None:
            return self.verdict(width) if self.now.started else Text()
        done, total = self.now.progress
        count = f" {done}/{total}" if total else ""
        left = Text(self.now.phase.ljust(LONGEST_PHASE), self.ink("phase")) + self.stand_in()
        right = self.pace(width)
        if left.cell_len + len(count) + right.cell_len + 2 > width:
            right = self.pace(width, brief=True)
        if total:
            room = width - left.cell_len - right.cell_len - len(count) - 3
            left += self.bar(min(done / total, 1.0), min(max(room, 0), width // 4))
            left.append(count, self.ink("label"))
        return formats.spread(left, right, width)

    def stand_in(self) -> Text:
        """Which score rewards in the place of another; said for as long as it does."""
        started = self.now.started
        if started is None or not started.stand_in:
            return Text()
        return Text(f"  {formats.plain(started.stand_in)}", self.ink("stand-in"))

    def bar(self, share: float, cells: int) -> Text:
        """A line that fills from the left, to half a cell."""
        if cells < 4:
            return Text()
        halves = round(share * cells * 2)
        full = "━" * (halves // 2) + ("╸" if halves % 2 else "")
        return Text.assemble(
            " ", (full, self.ink("bar")), ("─" * (cells - len(full)), self.ink("rest"))
        )

    def pace(self, width: int, brief: bool = False) -> Text:
        """Update k / N · a minute · left, as much as a line of this width can hold."""
        now, label, value = self.now, self.ink("label"), self.ink("value")
        if now.started is None:
            return Text()
        total = now.started.updates
        head, of = ("update ", " / ") if width >= ROOMY else ("", "/")
        told = Text.assemble((head, label), (f"{now.update}", value), (f"{of}{total}", label))
        seconds = [sum(stats.seconds.values()) for _, stats in now.history[-RECENT:]]
        mean = sum(seconds) / len(seconds) if seconds else 0.0
        if mean > 0:
            if not brief:
                told.append(f" · {60 / mean:.3g}", value)
                told.append(" a minute" if width >= ROOMY else "/min", label)
            if left := max(total - now.update, 0):
                told.append(f" · {formats.duration(mean * left)}", value)
                told.append(" left", label)
        return told

    def verdict(self, width: int) -> Text:
        ended, now = self.now.ended, self.now
        assert ended is not None
        done = f"{ended.reason} after {now.update} update{'' if now.update == 1 else 's'}"
        if not ended.error:
            told = Text(formats.shortened(done, width), self.ink("phase")) + self.stand_in()
            told.truncate(width)
            return told
        told = Text(f"{ended.reason}: {formats.plain(ended.error)}", self.ink("failed"))
        return formats.spread(told, Text(f"after update {now.update}", self.ink("label")), width)
