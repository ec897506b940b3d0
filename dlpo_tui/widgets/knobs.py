"""The panel of knobs: choose one, turn it by arrows or type its value."""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar

from rich.text import Text
from textual.message import Message

from dlpo_tui import formats
from dlpo_tui.keys import bindings
from dlpo_tui.widgets.turns import UNDO, UNDO_BY, Asked, unconfirmed, undoable
from dlpo_tui.widgets.typed import TypedPanel
from engine.messages import KNOB_RANGES, Knobs, Snapshot, check_knobs

NAMES = tuple(KNOB_RANGES)
SHORT = {"learning_rate": "lr", "clip_range": "clip", "max_grad_norm": "norm"}
"""In the one-row form of a narrow terminal."""
LONGEST = max(map(len, NAMES))
USER = "user"
"""Who turns a knob where there is one terminal alone."""
ENDED = "the session has ended: no knob turns"


class KnobPanel(TypedPanel, can_focus=True):
    """One knob a row and, below, what happened to them; or all in one row where space is short.

    A change is pending from the key until the session says that it is done, which it does
    between updates.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("value", "chosen", "pending", "typed", "error", "label")
    }
    BINDINGS = bindings("knobs")

    class Turned(Message):
        """A person wants other values."""

        def __init__(self, changes: dict[str, float], who: str = USER) -> None:
            super().__init__()
            self.changes, self.who = changes, who

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.now = Snapshot()
        self.who = USER
        """What the session will call whoever turns a knob here."""
        self.chosen = 0
        self.pending: dict[str, float] = {}
        self.asked: list[Asked] = []
        """What was asked for and not confirmed, oldest first."""

    # --- State ---

    def show(self, now: Snapshot) -> None:
        values = asdict(now.knobs)
        done = {k for k, v in self.pending.items() if values[k] == v or now.ended}
        if done or now.knobs != self.now.knobs or now.marks != self.now.marks:
            self.refresh()
        self.pending = {k: v for k, v in self.pending.items() if k not in done}
        self.asked = unconfirmed(self.asked, now.turns[len(self.now.turns) :])
        if now.ended:
            self.asked = []
        self.now = now

    def refuse(self, sentence: str) -> None:
        """The session did not take a command; which one, only what is pending can tell."""
        self.asked = []
        if self.pending:
            self.pending, self.error = {}, sentence
            self.refresh()

    def choose(self, name: str) -> None:
        """Selects a knob."""
        self.chosen, self.error = NAMES.index(name), ""
        self.stop_typing()

    @property
    def name_chosen(self) -> str:
        return NAMES[self.chosen]

    def ask(self, value: float) -> None:
        """Asks for a value of the chosen knob, or says why it cannot be."""
        if self.now.ended is not None:
            self.error = ENDED
            self.refresh()
            return
        try:
            changes = check_knobs({self.name_chosen: value})
        except ValueError as error:
            self.error = str(error)
        else:
            self.error = ""
            self.request(changes, self.who)
        self.refresh()

    def request(self, changes: dict[str, float], who: str) -> None:
        self.pending |= changes
        self.asked.append(Asked(changes, who))
        self.post_message(self.Turned(changes, who))

    def undo(self) -> str:
        """Takes the last change back that still holds; returns what was done, in one sentence."""
        if self.now.ended is not None:
            return ENDED
        values = asdict(self.now.knobs)
        stack = undoable(self.now.turns, self.asked, values)
        if not stack:
            return "no knob was turned: there is nothing to undo"
        current = values | self.pending
        changes = stack[-1]
        self.error = ""
        self.request(changes, UNDO if self.who == USER else f"{UNDO_BY}{self.who}")
        self.refresh()
        told = ", ".join(f"{k} {current[k]:g} → {v:g}" for k, v in changes.items())
        return f"undone: {told}, from the next update on"

    # --- Keys ---

    def action_choose(self, by: int) -> None:
        self.choose(NAMES[(self.chosen + by) % len(NAMES)])

    def action_turn(self, by: int) -> None:
        name = self.name_chosen
        value = self.pending.get(name, asdict(self.now.knobs)[name])
        self.ask(turned(name, value, by))

    def submit(self) -> None:
        """Takes the typed value; one that is no number stays, with the sentence beside it."""
        assert self.typed is not None
        text = self.typed.strip().replace(",", ".")
        try:
            value = float(text)
        except ValueError:
            self.error = f"{self.name_chosen} must be a number, not {self.typed.strip()!r}"
            self.refresh()
            return
        self.ask(value)
        if not self.error:
            self.stop_typing()

    # --- Drawing ---

    def line(self, y: int, width: int) -> Text:
        if self.size.height < len(NAMES):
            return self.one_row(width) if y == 0 else Text()
        if y < len(NAMES):
            return self.row(y, width)
        return self.below(y - len(NAMES), width)

    def row(self, index: int, width: int) -> Text:
        name = NAMES[index]
        chosen = index == self.chosen
        sign = "▸ " if chosen and self.has_focus else "  "
        part = "chosen" if chosen and self.has_focus else "label"
        line = Text.assemble((sign, self.ink("chosen")), (name.ljust(LONGEST), self.ink(part)))
        return line.append("  ").append_text(self.value(name))

    def value(self, name: str) -> Text:
        if self.typed is not None and name == self.name_chosen:
            return Text(f"{self.typed}▏", self.ink("typed"))
        if name in self.pending:
            return Text.assemble(
                (formats.knob(self.pending[name]), self.ink("value")),
                (" pending", self.ink("pending")),
            )
        return Text(formats.knob(asdict(self.now.knobs)[name]), self.ink("value"))

    def below(self, y: int, width: int) -> Text:
        """An empty row, then the sentence or the latest changes, the newest first."""
        if self.error:
            words = Text(formats.plain(self.error), self.ink("error"))
            rows = words.wrap(self.app.console, max(width - 2, 1))
            return Text("  ") + rows[y - 1] if 0 < y <= len(rows) else Text()
        changes = [mark for mark in self.now.marks if mark.kind == "knob"][::-1]
        if not 0 < y <= len(changes):
            return Text()
        mark = changes[y - 1]
        told = f"  at {mark.update}: {mark.text}"
        return Text(formats.shortened(told, width), self.ink("label"))

    def one_row(self, width: int) -> Text:
        """All knobs in one row; while one is typed or wrong, that one with its sentence."""
        if self.typed is not None or self.error:
            line = Text.assemble((f"▸ {self.name_chosen} ", self.ink("chosen")))
            line.append_text(self.value(self.name_chosen)).append("  ")
            room = max(width - line.cell_len, 0)
            # The name stands there already; without it the sentence fits 60 columns.
            told = self.error.removeprefix(f"{self.name_chosen} ")
            return line.append(formats.shortened(formats.plain(told), room), self.ink("error"))
        full = self.items({})
        fits = sum(item.cell_len + 2 for item in full) - 2 <= width
        return formats.joined(full if fits else self.items(SHORT), width)

    def items(self, short: dict[str, str]) -> list[Text]:
        parts = []
        for name in NAMES:
            chosen = name == self.name_chosen and self.has_focus
            part = "chosen" if chosen else "label"
            waits = "…" if name in self.pending else ""
            value = self.pending.get(name, asdict(self.now.knobs)[name])
            item = Text(f"{'▸' if chosen else ' '}{short.get(name, name)} ", self.ink(part))
            parts.append(item.append(formats.knob(value) + waits, self.ink("value")))
        return parts


def turned(name: str, value: float, by: int) -> float:
    """One press of an arrow: times or divided by the knob's factor, to three digits.

    Zero has no multiples: upwards it becomes a hundredth of the knob's usual value.
    """
    limits = KNOB_RANGES[name]
    if value == 0.0:
        value = asdict(Knobs())[name] / 100 if by > 0 else 0.0
    else:
        value *= limits.factor**by
    return min(max(float(f"{value:.3g}"), limits.low), limits.high)
