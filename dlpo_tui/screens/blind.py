"""Pairs to hear without knowing which voice is which; turns keys into answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from dlpo_tui.bridge import sentence
from dlpo_tui.keys import Key, Place, bindings, hints
from dlpo_tui.rendering import LABELS, Label, Pair, Rendering
from dlpo_tui.screens.hearing import Hearing
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.sound import Sound
from dlpo_tui.widgets.answer import Answer
from dlpo_tui.widgets.blind_head import BlindHead
from dlpo_tui.widgets.keybar import KeyBar
from dlpo_tui.widgets.trial import Shown, TrialCard

if TYPE_CHECKING:
    from dlpo_tui.keeping import Keeping
    from engine.preference import Choice

HEADINGS: dict[Place, str] = {"blind": "The blind test"}
BEFORE = ("help", "ask")
"""Actions that there are before the pairs are."""


class BlindScreen(Hearing):
    """Shows the pair after the last answer; its `answers` are the test."""

    CSS_PATH = ["run.tcss", "blind.tcss"]  # noqa: RUF012 (the inks; Textual's own way)
    BINDINGS = bindings("blind")

    def __init__(
        self,
        rendering: Rendering,
        sound: Sound,
        sources: tuple[str, str],
        keeping: Keeping | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keeping`: what writes each answer down as it is given."""
        super().__init__()
        self.rendering, self.sound = rendering, sound
        self.keeping, self.clock = keeping, clock
        self.answers: list[Choice] = []
        """One for each of the first trials."""
        self.result: tuple[str, ...] = ()
        """The tally, once it is seen; from then on the answers stand."""
        self._since: float | None = None
        """When the pair appeared."""
        self._heard: set[Label] = set()
        self._last: Label | None = None
        self._wished: Path | None = None
        self._asked = False
        self.head, self.card = BlindHead(sources), TrialCard()
        self.answer, self.bar = Answer(), KeyBar()

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.card
        yield self.answer
        yield self.bar

    def on_mount(self) -> None:
        self.show()

    # --- What is shown ---

    @property
    def pair(self) -> Pair | None:
        """The one to be answered; None before there are any, and after the last."""
        pairs = self.rendering.pairs
        if pairs is None or len(self.answers) >= len(pairs):
            return None
        return pairs[len(self.answers)]

    @property
    def over(self) -> bool:
        pairs = self.rendering.pairs
        return pairs is not None and len(self.answers) == len(pairs)

    def show(self) -> None:
        """Called ten times a second; what has not changed costs nothing."""
        pairs = self.rendering.pairs
        if pairs is None:
            done, total, at = self.rendering.progress
            self.head.show(at, done, total)
            self.card.show(None)
        else:
            if self._since is None:
                self._since = self.clock()
            self.head.show("pairs answered", len(self.answers), len(pairs))
            self.card.show(self.shown())
        keys = hints("blind")
        if pairs is None:
            keys = [key for key in keys if key.action in BEFORE]
        self.bar.show(keys)
        self.show_sound()

    def possible(self, key: Key) -> bool:
        """Whether the command palette should offer a key."""
        action = key.action.partition("(")[0]
        if action in ("hear", "again"):
            return self.pair is not None
        if action == "prefer":
            return self.pair is not None and self._heard == set(LABELS)
        if action == "serve":
            return self.pair is not None and self._last is not None
        if action == "take_back":
            return bool(self.answers) and not self.result
        if action == "finish":
            return self.over
        if action == "silence":
            return self.sound.playing() is not None
        return True

    def shown(self) -> Shown:
        pair = self.pair
        if pair is None:
            return Shown(over=True, result=self.result)
        sounds = self.sound.playing()
        sounding = next((label for label in LABELS if pair.clips[label] == sounds), None)
        return Shown(pair.text, sounding, frozenset(self._heard))

    def show_sound(self) -> None:
        if self._wished is not None and self.sound.playing() != self._wished:
            self._wished = None
            if excuse := self.sound.describe():
                self.say(excuse)

    def say(self, sentence: str) -> None:
        self.answer.say(sentence)

    # --- Hearing ---

    def action_hear(self, label: Label) -> None:
        pair = self.pair
        if pair is None:
            self.say("every pair is answered" if self.over else "the pairs are not spoken yet")
            return
        self._asked = False
        self.say("")
        self._heard.add(label)
        self._last, self._wished = label, pair.clips[label]
        self.sound.play(pair.clips[label])
        self.show()

    def action_again(self) -> None:
        self.action_hear(self._last or "X")

    def action_silence(self) -> None:
        self.sound.stop()
        self.show()

    def clip_file(self) -> Path | None:
        pair = self.pair
        if pair is None or self._last is None:
            self.say("hear a clip first")
            return None
        return pair.clips[self._last]

    # --- Answering ---

    def action_prefer(self, label: str) -> None:
        """Takes an answer, once both were heard."""
        if self.pair is None:
            self.action_hear("X")  # says why there is nothing to answer
            return
        if missing := [name for name in LABELS if name not in self._heard]:
            keys = " and ".join(f"{name} ({LABELS.index(name) + 1})" for name in missing)
            self.say(f"hear {keys} first")
            return
        trial = self.rendering.trials[len(self.answers)]
        choice: Choice = next((trial.voice(name) for name in LABELS if name == label), "")
        self.answers.append(choice)
        told = f"{label} is better" if label else "no difference"
        trouble = self.keep(choice)
        self.next(trouble or f"pair {len(self.answers)}: {told}; ⌫ takes it back")

    def action_take_back(self) -> None:
        if not self.answers or self.result:
            seen = "the result is seen: the answers stand"
            self.say(seen if self.result else "there is no answer to take back")
            return
        self.answers.pop()
        trouble = self.keep(None)
        self.next(trouble or f"pair {len(self.answers) + 1} once more")

    def keep(self, choice: Choice | None) -> str:
        """Has the last answer written down, or None: that it was taken back; why not, if not."""
        spoken, since = self.rendering.spoken, self._since
        if self.keeping is None or spoken is None or since is None:
            return ""
        number = len(self.answers)
        try:
            if choice is None:
                self.keeping.taken_back(number + 1)
            else:
                trial = self.rendering.trials[number - 1]
                self.keeping.answered(spoken, trial, number, choice, self.clock() - since)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else ""
            return f"it counts, but could not be written down: {why or sentence(error)}"
        return ""

    def next(self, sentence: str) -> None:
        self._since = None
        self._heard.clear()
        self._last, self._wished, self._asked = None, None, False
        self.sound.stop()
        self.say(sentence)
        self.show()

    # --- The end ---

    def action_finish(self) -> None:
        """First the tally, which would tell whose clips were heard; then the way out."""
        if not self.over:
            self.say("answer every pair first, or end the test with q")
        elif self.result:
            self.app.exit()
        else:
            from engine.preference import Preference

            heard = Preference(self.rendering.trials, tuple(self.answers), 0)
            self.result = heard.lines()
            self.say("")
            self.show()

    def action_help(self) -> None:
        self.app.push_screen(KeyPage(HEADINGS))

    def action_ask(self) -> None:
        """Leaves at once where nothing or everything is answered; else at the second time."""
        pairs = self.rendering.pairs
        if pairs is None or not self.answers or self.over or self._asked:
            self.app.exit()
        else:
            self._asked = True
            count = f"{len(self.answers)} of {len(pairs)} answers"
            self.say(f"q again ends the test; its {count} count")
