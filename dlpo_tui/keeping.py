"""The answers of a blind test, on the disk as soon as they are given.

Imports the engine's machinery only when an answer is there to be kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.comparison import Comparison, Side
    from engine.human_pairs import Sitting, Voice
    from engine.preference import Choice, Trial


class Keeping:
    """Appends answers, and that one was taken back; writes nothing before the first."""

    def __init__(
        self,
        path: Path,
        sources: tuple[str, str],
        order_seed: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`path`: of the answers' file; `sources`: what A and B are loaded from."""
        self.path = path
        self._sources, self._order_seed, self._now = sources, order_seed, now
        self._name = f"{now():%Y%m%d-%H%M%S}-{random.SystemRandom().randrange(16**4):04x}"
        self._digests: tuple[str, ...] = ()

    def look(self) -> None:
        """Reads both voices' SHA-256; to be called where they are about to be loaded.

        Errors: OSError.
        """
        self._digests = tuple(digest(source) for source in self._sources)

    def answered(
        self, spoken: Comparison, trial: Trial, number: int, choice: Choice, seconds: float
    ) -> None:
        """Writes both clips, then the answer to trial `number`, counted from 1.

        Errors: OSError, or AudioError for a clip that is not finite.
        """
        from engine import human_pairs

        answer = human_pairs.Answer(
            sitting=self._sitting(spoken),
            trial=number,
            at=self._at(),
            prompt=spoken.texts[trial.prompt],
            place=trial.prompt,
            x=trial.x,
            choice=choice or "neither",
            seconds=round(seconds, 3),
            clip_a=self._clip(spoken, "a", trial.prompt),
            clip_b=self._clip(spoken, "b", trial.prompt),
        )
        human_pairs.append(self.path, answer.plain())

    def taken_back(self, number: int) -> None:
        """Writes that the answer to trial `number` no longer stands; OSError."""
        from engine import human_pairs

        human_pairs.append(self.path, human_pairs.taken_back(self._name, number, self._at()))

    def _at(self) -> str:
        return self._now().isoformat(timespec="milliseconds")

    def _sitting(self, spoken: Comparison) -> Sitting:
        from engine.human_pairs import Sitting

        return Sitting(
            sitting=self._name,
            speaker=spoken.speaker,
            pace=spoken.pace,
            sample_rate=spoken.sample_rate,
            noise_seed=spoken.seed,
            order_seed=self._order_seed,
            a=self._voice(0, spoken.a),
            b=self._voice(1, spoken.b),
        )

    def _voice(self, at: int, side: Side) -> Voice:
        from engine.human_pairs import Voice

        path, folder = self._sources[at], self.path.absolute().parent
        if path != "bundled":
            whole = Path(path).absolute()
            inside = whole.is_relative_to(folder)
            path = str(whole.relative_to(folder) if inside else whole)
        return Voice(path, self._digests[at], side.timesteps, asdict(side.schedule))

    def _clip(self, spoken: Comparison, name: str, prompt: int) -> str:
        """Writes a prompt's clip as the voice spoke it; its path from the file's folder."""
        from engine import audio
        from engine.human_pairs import clips_folder

        side = spoken.a if name == "a" else spoken.b
        path = clips_folder(self.path) / f"{self._name}-{prompt:02d}-{name}.flac"
        audio.write(path, side.done.waves[prompt], spoken.sample_rate)
        return path.relative_to(self.path.parent).as_posix()


def digest(source: str) -> str:
    """SHA-256 of a voice's file, in hexadecimal."""
    from engine import files
    from engine.checkpoint import BUNDLED

    return files.sha256_of(BUNDLED if source == "bundled" else Path(source))
