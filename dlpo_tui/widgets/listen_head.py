"""The first two lines of the listen screen: which voices, and what is being made."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.takes import SIDES, Listening, Side
from dlpo_tui.widgets.lines import Lines

LEAST_BAR = 4
MOST_BAR = 30


class ListenHead(Lines):
    """Voice A, and B where there are two; the one that is heard stands out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("name", "label", "chosen", "calm")
    }

    def __init__(self, sources: tuple[str, ...]) -> None:
        super().__init__()
        self.sources = sources
        self.now = Listening()
        self.side: Side = "A"

    def show(self, now: Listening, side: Side) -> None:
        if (now.voices, side) != (self.now.voices, self.side):
            self.now, self.side = now, side
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        facts = self.now.voices[0] if self.now.voices else None
        right = Text(f"{facts.sample_rate} Hz" if facts and width >= 70 else "", self.ink("label"))
        left = Text.assemble(("listen", self.ink("name")), "  ")
        if len(self.sources) == 1:
            room = width - left.cell_len - right.cell_len - 2
            told = formats.squeezed(formats.plain(self.sources[0]), room)
            return formats.spread(left.append(told, self.ink("label")), right, width)
        room = (width - left.cell_len - right.cell_len - 12) // 2
        for side, source in zip(SIDES, self.sources, strict=True):
            heard = side == self.side
            left.append(f" {side} ", self.ink("calm" if heard else "label"))
            told = formats.squeezed(formats.plain(source), max(room, 4))
            left.append(f" {told}  ", self.ink("chosen" if heard else "label"))
        return formats.spread(left, right, width)


class ListenStatus(Lines):
    """Loading, speaking with a bar over the timesteps, scoring, or ready."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("phase", "bar", "rest", "label", "value", "failed")
    }

    def __init__(self) -> None:
        super().__init__()
        self.now = Listening()
        self.seconds = 0

    def show(self, now: Listening, seconds: float = 0.0) -> None:
        """`seconds`: since the start, as a sign of life while a voice loads."""
        whole = int(seconds) if not now.voices else self.seconds
        if now is not self.now or whole != self.seconds:
            self.now, self.seconds = now, whole
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        now = self.now
        if now.ended is not None:
            words = formats.shortened(formats.plain(now.ended.sentence), width)
            return Text(words, self.ink("failed"))
        if (working := now.working) is not None:
            return self.speaking(working.text, working.side, working.progress, width)
        if now.loading:
            what = formats.squeezed(formats.plain(now.loading), max(width - 18, 8))
            waited = f"  {self.seconds} s" if self.seconds >= 3 and not now.voices else ""
            return Text.assemble(
                ("loading  ", self.ink("phase")),
                (f"{what} …", self.ink("value")),
                (waited, self.ink("label")),
            )
        if now.waiting:
            return Text("speaking", self.ink("phase"))
        return Text("ready", self.ink("label"))

    def speaking(self, text: str, side: Side, progress: tuple[int, int], width: int) -> Text:
        """speaking A  The sentence …  ━━━━──── 4/10   2 wait"""
        done, total = progress
        who = f" {side}" if len(self.now.voices) > 1 else ""
        left = Text(f"speaking{who}  ", self.ink("phase"))
        count = f" {done}/{total}"
        waits = f"  {self.now.waiting} wait" if self.now.waiting else ""
        cells = min(max(width // 4, LEAST_BAR), MOST_BAR)
        full = round(done / total * cells) if total else 0
        right = Text.assemble(
            ("━" * full, self.ink("bar")),
            ("─" * (cells - full), self.ink("rest")),
            (count, self.ink("label")),
            (waits, self.ink("value")),
        )
        left.append(formats.plain(text), self.ink("value"))
        return formats.spread(left, right, width)
