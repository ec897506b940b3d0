"""The thread between voices and the screen of `listen`: sentences in, takes out.

One daemon thread loads and works; the screen's side (`say`, `cancel`, `drain`) never waits.
Speaking comes before scoring, so a sentence never waits for more than one score. Nothing here
imports the engine's machinery: what speaks is the caller's.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from dlpo_tui.bridge import sentence
from dlpo_tui.collecting import spare_what_is_loaded
from dlpo_tui.speech_settings import Settings, VoiceFacts
from dlpo_tui.takes import (
    Asked,
    Cancelled,
    Ended,
    Failed,
    Listening,
    Loading,
    Scored,
    Side,
    Spoken,
    Take,
    TakeEvent,
    TimestepDone,
    Told,
    VoicesOpened,
    advance,
)
from engine.messages import Column

log = logging.getLogger(__name__)

Between: TypeAlias = Callable[[Side, int, int], None]
"""Called after every timestep with (voice, done, total); what it raises ends the speaking."""


class Studio(Protocol):
    """What can speak and score."""

    @property
    def voices(self) -> tuple[VoiceFacts, ...]: ...

    def speak(
        self, number: int, text: str, settings: Settings, between: Between
    ) -> dict[Side, Take]:
        """Says a sentence with every voice; ValueError, one sentence, where it cannot."""

    def models(self) -> tuple[list[str], list[str]]:
        """The score models that there are, and a sentence for each that is missing."""

    def loaded(self, model: str) -> bool:
        """Whether a score model is in memory."""

    def score(
        self, model: str, text: str, take: Take
    ) -> tuple[tuple[Column, ...], dict[str, float | None], str]:
        """Columns, scores by column, and a sentence where the model failed on the clip."""


class Unwanted(Exception):
    """What is being spoken is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Score:
    number: int
    side: Side
    model: str
    text: str
    take: Take


class Speaking:
    """Runs a studio in a daemon thread; folds what it says into `now`."""

    def __init__(self, open_studio: Callable[[Callable[[str], None]], Studio]) -> None:
        """`open_studio(tell)` may be slow, says what it loads, and may raise."""
        self.now = Listening()
        self._open_studio = open_studio
        self._events: deque[TakeEvent] = deque()
        self._wanted: deque[Asked] = deque()
        self._scores: deque[Score] = deque()
        self._changed = threading.Condition()
        self._at_work: int | None = None
        self._unwanted: set[int] = set()
        self._closing = False
        self._count = 0
        self._models: Sequence[str] | None = None
        self._thread: threading.Thread | None = None

    # --- The screen's side ---

    def start(self) -> None:
        """Begins to load; once."""
        if self._thread is None:
            # A daemon: a library that hangs while it loads must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name="speaking", daemon=True)
            self._thread.start()

    def say(self, text: str, settings: Settings) -> int:
        """Queues a sentence; its number."""
        with self._changed:
            self._count += 1
            asked = Asked(self._count, text, settings)
            self._events.append(asked)
            self._wanted.append(asked)
            self._changed.notify()
        return asked.number

    def cancel(self) -> bool:
        """Gives up the sentence that is being spoken, or the first that waits; False: none."""
        with self._changed:
            if self._at_work is not None and self._at_work not in self._unwanted:
                self._unwanted.add(self._at_work)
                return True
            if self._wanted:
                self._events.append(Cancelled(self._wanted.popleft().number))
                return True
        return False

    def forget_scores(self) -> None:
        """Drops the scores that are still to come."""
        with self._changed:
            self._scores.clear()

    def drain(self) -> bool:
        """Folds what has arrived into `now`; True where anything had."""
        now = self.now
        while self._events:
            now = advance(now, self._events.popleft())
        changed = now is not self.now
        self.now = now
        return changed

    def close(self, timeout: float | None = None) -> bool:
        """Gives everything up and waits for the thread; True where it has ended."""
        with self._changed:
            self._closing = True
            self._wanted.clear()
            self._scores.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    # --- The worker's side ---

    def _work(self) -> None:
        try:
            studio = self._open_studio(lambda what: self._emit(Loading(what)))
            spare_what_is_loaded()
            self._emit(VoicesOpened(studio.voices))
            while (job := self._next()) is not None:
                if isinstance(job, Asked):
                    self._speak(studio, job)
                else:
                    self._score(studio, job)
        # BaseException: a library that calls sys.exit must be told of, too.
        except BaseException as error:
            log.exception("speaking failed")
            self._emit(Ended(sentence(error), isinstance(error, ValueError)))

    def _emit(self, event: TakeEvent) -> None:
        if self._closing:
            return
        self._events.append(event)

    def _next(self) -> Asked | Score | None:
        """Waits for work; a sentence before a score; None: it is time to leave."""
        with self._changed:
            self._at_work = None
            self._changed.wait_for(lambda: self._closing or self._wanted or self._scores)
            if self._closing:
                return None
            if self._wanted:
                asked = self._wanted.popleft()
                self._at_work = asked.number
                return asked
            return self._scores.popleft()

    def _speak(self, studio: Studio, asked: Asked) -> None:
        number = asked.number

        def between(side: Side, done: int, total: int) -> None:
            if self._closing or number in self._unwanted:
                raise Unwanted
            self._emit(TimestepDone(number, side, done, total))

        try:
            takes = studio.speak(number, asked.text, asked.settings, between)
            self._at_work = None  # from here on it cannot be given up
        except Unwanted:
            self._emit(Cancelled(number))
        except (ValueError, OSError, RuntimeError) as error:
            log.exception("a sentence could not be spoken")
            self._emit(Failed(number, sentence(error)))
        else:
            self._emit(Spoken(number, takes))
            if asked.settings.scores:
                self._want_scores(studio, asked, takes)

    def _want_scores(self, studio: Studio, asked: Asked, takes: dict[Side, Take]) -> None:
        if self._models is None:
            self._models, missing = studio.models()
            for why in missing:
                self._emit(Told(f"left out: {why}"))
        with self._changed:
            for model in self._models:
                for side, take in takes.items():
                    self._scores.append(Score(asked.number, side, model, asked.text, take))

    def _score(self, studio: Studio, job: Score) -> None:
        if first := not studio.loaded(job.model):
            self._emit(Loading(f"{job.model}, a score"))
        try:
            columns, scores, failure = studio.score(job.model, job.text, job.take)
        except Exception as error:
            # Whatever a score model raises, the clips remain to be heard.
            log.exception("a score model failed")
            self._models = [name for name in self._models or () if name != job.model]
            with self._changed:
                kept = [score for score in self._scores if score.model != job.model]
                self._scores = deque(kept)
            self._emit(Told(f"{job.model} is left out from here on: {sentence(error)}"))
        else:
            if first:
                spare_what_is_loaded()
            self._emit(Scored(job.number, job.side, columns, scores))
            if failure:
                self._emit(Told(failure))
        self._emit(Loading(""))
