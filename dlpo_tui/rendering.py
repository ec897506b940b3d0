"""The thread behind a blind test: both voices speak every prompt, then the clips are scored.

Posts what it has; a listener may begin as soon as the pairs are there. Nothing here imports the
engine's machinery before the thread runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from dlpo_tui.bridge import sentence
from dlpo_tui.collecting import spare_what_is_loaded

if TYPE_CHECKING:
    from engine.comparison import Comparison
    from engine.messages import Progressing
    from engine.preference import Trial

log = logging.getLogger(__name__)

Speak: TypeAlias = "Callable[[Progressing], Comparison]"
"""Loads both voices and has them say every prompt; ValueError, one sentence."""
Judge: TypeAlias = "Callable[[Comparison, Progressing], Comparison]"
"""Loads the score models and scores the clips."""
Label: TypeAlias = Literal["X", "Y"]
LABELS: tuple[Label, ...] = ("X", "Y")


class Unwanted(Exception):
    """The listener has left."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt's two clips, equally loud; neither path tells whose it is."""

    text: str
    clips: dict[Label, Path]


class Rendering:
    """Speaks and scores in a daemon thread; its fields are read from the screen's."""

    def __init__(
        self, speak: Speak, judge: Judge, order: Callable[[int], tuple[Trial, ...]], folder: Path
    ) -> None:
        """`order(prompts)` gives the trials; `folder`: where the pairs' files go."""
        self.progress: tuple[int, int, str] = (0, 0, "loading the voices")
        self.pairs: tuple[Pair, ...] | None = None
        """In the order of the trials; None until all are spoken."""
        self.trials: tuple[Trial, ...] = ()
        self.spoken: Comparison | None = None
        """Without scores."""
        self.scored: Comparison | None = None
        self.error = ""
        """Why there is nothing to hear, or no score; one sentence."""
        self.refused = False
        """The error is one of the input."""
        self._speak, self._judge, self._order, self._folder = speak, judge, order, folder
        self._left = False
        self._thread = threading.Thread(target=self._work, name="rendering", daemon=True)
        self._begun = False

    def start(self) -> None:
        """Begins; once."""
        if not self._begun:
            self._begun = True
            self._thread.start()

    def close(self) -> None:
        """What is at work ends at its next word of progress."""
        self._left = True

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the thread; True where it has ended."""
        if self._begun:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _advance(self, done: int, total: int, at: str) -> None:
        if self._left:
            raise Unwanted
        self.progress = (done, total, at)

    def _work(self) -> None:
        try:
            spoken = self._speak(self._advance)
            spare_what_is_loaded()
            self.trials = self._order(len(spoken.texts))
            pairs = write_pairs(self._folder, spoken, self.trials)
            self.spoken, self.pairs = spoken, pairs
            self.progress = (0, 0, "loading the scores")
            self.scored = self._judge(spoken, self._advance)
        except Unwanted:
            pass
        # BaseException: a library that calls sys.exit must be told of, too.
        except BaseException as error:
            log.exception("the voices could not be rendered")
            self.refused = self.spoken is None and isinstance(error, ValueError)
            self.error = sentence(error)


def write_pairs(folder: Path, done: Comparison, trials: tuple[Trial, ...]) -> tuple[Pair, ...]:
    """Both clips of each trial as files named by trial and label, equally loud."""
    from engine import audio, levels

    pairs = []
    for number, trial in enumerate(trials, 1):
        sides = {"A": done.a, "B": done.b}
        waves = [sides[trial.voice(label)].done.waves[trial.prompt] for label in LABELS]
        clips = {}
        level = levels.matched(waves, done.sample_rate)
        for label, wave in zip(LABELS, level, strict=True):
            clips[label] = folder / f"{number:02d}-{label.lower()}.wav"
            audio.write(clips[label], wave, done.sample_rate)
        pairs.append(Pair(done.texts[trial.prompt], clips))
    return tuple(pairs)
