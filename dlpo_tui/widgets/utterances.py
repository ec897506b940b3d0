"""The history: what was said so far, newest first, to be heard again."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dlpo_tui import formats
from dlpo_tui.keys import bindings
from dlpo_tui.speech_settings import VoiceFacts, brief
from dlpo_tui.takes import Listening, Side, Utterance
from dlpo_tui.widgets.lines import Inked
from engine.messages import Column

GAP = 2
LENGTH = 8
"""Cells of a clip's length, or of what became of the sentence instead."""
LEAST_SENTENCE = 22
"""Cells of the sentence before scores, and then settings, give way."""
FIRST = ("distillmos", "wer", "loudness", "cer", "clipping")
"""Scores in the order in which narrow terminals keep them."""


class UtteranceList(ScrollView, Inked, can_focus=True):
    """A cursor that stays with its utterance, or with the newest."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}"
        for part in ("head", "text", "number", "missing", "error", "playing", "cursor", "phase")
    }
    BINDINGS = bindings("said")

    class Selected(Message):
        """The cursor stands on another utterance."""

    class Played(Message):
        """A row was clicked twice."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.now = Listening()
        self.side: Side = "A"
        self.pinned: int | None = None
        """Number of the utterance under the cursor; None: whichever is the newest."""
        self.sounding: int | None = None

    # --- What is shown ---

    def show(self, now: Listening, side: Side) -> None:
        """Takes what there is now; `side` is the voice whose takes are shown."""
        if (now.utterances, now.columns, side) == (
            self.now.utterances,
            self.now.columns,
            self.side,
        ):
            return
        grown = len(now.utterances) - len(self.now.utterances)
        self.now, self.side = now, side
        self.virtual_size = Size(self.size.width, len(now.utterances) + 1)
        if self.pinned is not None and grown:
            self.scroll_to(y=self.scroll_offset.y + grown, animate=False, immediate=True)
        count = len(now.utterances)
        self.border_title = f" said · {count} " if count else " said "
        self.refresh()

    def sound(self, number: int | None) -> None:
        """Marks the utterance that sounds."""
        if number != self.sounding:
            self.sounding = number
            self.refresh()

    @property
    def cursor(self) -> int:
        """Row of the cursor, 0 the newest."""
        return 0 if self.pinned is None else len(self.now.utterances) - self.pinned

    @property
    def selected(self) -> Utterance | None:
        return self.now.utterances[-1 - self.cursor] if self.now.utterances else None

    # --- Keys and mouse ---

    def select(self, row: int) -> None:
        """Puts the cursor on a row and brings the row into sight."""
        if not self.now.utterances:
            return
        row = min(max(row, 0), len(self.now.utterances) - 1)
        self.pinned = self.now.utterances[-1 - row].number if row else None
        top, rows = self.scroll_offset.y, max(self.size.height - 1, 1)
        if not top <= row < top + rows:
            target = row if row < top else row - rows + 1
            self.scroll_to(y=target, animate=False, immediate=True)
        self.post_message(self.Selected())
        self.refresh()

    def action_move(self, by: int) -> None:
        self.select(self.cursor + by)

    def action_leap(self, by: int) -> None:
        self.select(self.cursor + by * max(self.size.height - 2, 1))

    def action_newest(self) -> None:
        self.select(0)

    def action_oldest(self) -> None:
        self.select(len(self.now.utterances) - 1)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y > 0:
            self.select(self.scroll_offset.y + offset.y - 1)
            if event.chain == 2:
                self.post_message(self.Played())

    # --- Drawing ---

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        row, ground = self.scroll_offset.y + y - 1, self.paper
        columns, settings, sentence = self.plan(width)
        if y == 0:
            text = self.header(columns, settings, sentence)
        elif row < len(self.now.utterances):
            utterance = self.now.utterances[-1 - row]
            text = self.row(utterance, columns, settings, sentence)
            if row == self.cursor:
                ground += self.ink("cursor")
        elif y == 1 and not self.now.utterances:
            text = Text("  nothing yet: type a sentence and press enter", self.ink("missing"))
        else:
            text = Text()
        return self.strip(text, ground)

    def plan(self, width: int) -> tuple[list[Column], int, int]:
        """The score columns, the settings' width (0: none) and the sentence's."""
        order = {name: at for at, name in enumerate(FIRST)}
        columns = sorted(self.now.columns, key=lambda c: order.get(c.name, len(order)))
        told = [brief(u.settings, self.facts) for u in self.now.utterances]
        settings = max([len("settings"), *map(len, told)]) if told else 0
        room = width - 2 - (GAP + LENGTH)
        while columns and room - LEAST_SENTENCE < scores_width(columns):
            columns.pop()
        room -= scores_width(columns)
        if room - GAP - settings < LEAST_SENTENCE:
            settings = 0
        return columns, settings, room - (settings + GAP if settings else 0)

    @property
    def facts(self) -> VoiceFacts | None:
        return self.now.voices[0] if self.now.voices else None

    def header(self, columns: list[Column], settings: int, sentence: int) -> Text:
        parts = ["sentence".ljust(sentence)]
        if settings:
            parts.append("settings".ljust(settings))
        parts.append("seconds".rjust(LENGTH))
        parts += [column.name.rjust(score_width(column)) for column in columns]
        return Text("  " + (" " * GAP).join(parts), self.ink("head"))

    def row(
        self, utterance: Utterance, columns: list[Column], settings: int, sentence: int
    ) -> Text:
        sounds = utterance.number == self.sounding
        line = Text.assemble(("♪ " if sounds else "  ", self.ink("playing")))
        told = formats.shortened(formats.plain(utterance.text), sentence)
        line.append(padded(told, sentence), self.ink("text"))
        gap = " " * GAP
        if settings:
            words = formats.plain(brief(utterance.settings, self.facts))
            line.append(gap + padded(words, settings), self.ink("missing"))
        take = utterance.takes.get(self.side)
        if take is None:
            done, total = utterance.progress
            word, part = {
                "queued": ("waits", "missing"),
                "speaking": (f"{done}/{total}", "phase"),
                "spoken": (formats.MISSING, "missing"),
                "cancelled": ("given up", "missing"),
                "failed": ("failed", "error"),
            }[utterance.state]
            return line.append(gap + word.rjust(LENGTH), self.ink(part))
        line.append(gap + f"{take.seconds:.2f}".rjust(LENGTH), self.ink("number"))
        for column in columns:
            value = take.scores.get(column.name)
            told = formats.score(value, formats.column_decimals(column))
            waits = utterance.settings.scores and column.name not in take.scores
            told = "…" if waits else told
            part = "missing" if told in (formats.MISSING, "…") else "number"
            line.append(gap + told.rjust(score_width(column)), self.ink(part))
        return line


def score_width(column: Column) -> int:
    return max(len(column.name), 5)


def scores_width(columns: list[Column]) -> int:
    return sum(GAP + score_width(column) for column in columns)


def padded(text: str, width: int) -> str:
    """The text and spaces, in exactly so many cells."""
    return text + " " * (width - Text(text).cell_len)
