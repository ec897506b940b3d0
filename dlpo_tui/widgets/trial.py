"""One pair of a blind test: the sentence, X and Y, and how to answer.

Nothing of the sound is drawn: a listener should hear, not see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.rendering import LABELS, Label
from dlpo_tui.widgets.lines import Lines

WIDEST = 72


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands on the card."""

    text: str = ""
    sounding: Label | None = None
    heard: frozenset[Label] = frozenset()
    over: bool = False
    """Every pair is answered."""
    result: tuple[str, ...] = ()
    """The tally's lines, once it is asked for."""


class TrialCard(Lines):
    """A few centred lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("name", "value", "label", "key", "playing", "phase")
    }

    shown: Shown | None = None

    def show(self, shown: Shown | None) -> None:
        """None: the pairs are not there yet."""
        if shown != self.shown:
            self.shown = shown
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        lines = self.lines(min(width, WIDEST))
        row = y - max((self.size.height - len(lines)) // 2, 0)
        if not 0 <= row < len(lines):
            return Text()
        text = formats.cut(lines[row], width)
        return Text(" " * ((width - text.cell_len) // 2)) + text

    def lines(self, width: int) -> list[Text]:
        key, label = self.ink("key"), self.ink("label")
        if self.shown is None:
            return [
                Text("both voices say every sentence", self.ink("phase")),
                Text(),
                Text("then you hear them in pairs, X and Y, equally loud,", label),
                Text("and say which is better, without knowing which is which", label),
            ]
        if self.shown.result:
            first, *rest = self.shown.result
            return [
                Text(first, self.ink("value")),
                Text(),
                *(Text(line, label) for line in rest if line),
                Text(),
                Text.assemble(("enter", key), (" shows the scores", label)),
            ]
        if self.shown.over:
            return [
                Text("every pair is answered", self.ink("phase")),
                Text(),
                Text.assemble(("enter", key), (" shows the result", label)),
                Text.assemble(("⌫", key), (" takes the last answer back", label)),
            ]
        words = Text(formats.plain(self.shown.text), self.ink("value"))
        cards = [self.card(name, number) for number, name in enumerate(LABELS, 1)]
        apart = Text(" " * 8)
        return [
            *words.wrap(self.app.console, width),
            Text(),
            Text.assemble(cards[0], apart, cards[1]),
            Text(),
            Text.assemble(
                ("x", key), (" X is better   ", label),
                ("=", key), (" no difference   ", label),
                ("y", key), (" Y is better", label),
            ),
        ]  # fmt: skip

    def card(self, name: Label, number: int) -> Text:
        """1 X ♪"""
        assert self.shown is not None
        sounds, heard = self.shown.sounding == name, name in self.shown.heard
        sign = "♪" if sounds else "✓" if heard else "·"
        return Text.assemble(
            (f"{number} ", self.ink("key")),
            (f" {name} ", self.ink("playing" if sounds else "name")),
            (f" {sign}", self.ink("playing" if sounds else "label")),
        )
