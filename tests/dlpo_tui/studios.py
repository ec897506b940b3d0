"""A studio without a voice: says and scores what a test wants, when the test lets it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy
import soundfile

from dlpo_tui.speaking import Between
from dlpo_tui.speech_settings import Settings, VoiceFacts
from dlpo_tui.takes import SIDES, Side, Take
from engine.messages import Column

RATE = 8000
TIMESTEPS = 3
COLUMNS = {
    "loudness": (Column("loudness", "LUFS", None), Column("clipping", "share", False)),
    "distillmos": (Column("distillmos", "MOS 1-5", True),),
}


class Desk:
    """A studio whose takes are tones; it waits at `gate` before every timestep and score."""

    def __init__(
        self, folder: Path, voices: int = 1, speakers: tuple[str, ...] = ("anna",)
    ) -> None:
        self.folder = folder
        self.voices = tuple(
            VoiceFacts(f"{name}.safetensors", speakers, TIMESTEPS, RATE) for name in "ab"[:voices]
        )
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        self.done: list[str] = []
        """What was worked on, in order."""
        self.missing: list[str] = []
        self.failure = ""
        self.broken: Callable[[str], Exception | None] = lambda text: None

    def wait(self) -> None:
        self.at_gate.set()
        assert self.gate.wait(30)

    def speak(
        self, number: int, text: str, settings: Settings, between: Between
    ) -> dict[Side, Take]:
        if error := self.broken(text):
            raise error
        takes = {}
        for side, _ in zip(SIDES, self.voices, strict=False):
            for step in range(TIMESTEPS):
                between(side, step, TIMESTEPS)
                self.wait()
                between(side, step + 1, TIMESTEPS)
            path = self.folder / f"{number:03d}-{side.lower()}.wav"
            t = numpy.arange(RATE) / RATE
            height = 330 if side == "A" else 660
            tone = 0.5 * numpy.sin(2 * math.pi * height * t) * numpy.hanning(RATE)
            soundfile.write(path, tone, RATE, subtype="PCM_16")
            takes[side] = Take(path, path, 1.0)
        self.done.append(f"said {text}")
        return takes

    def models(self) -> tuple[list[str], list[str]]:
        return list(COLUMNS), self.missing

    def loaded(self, model: str) -> bool:
        return any(told.endswith(model) for told in self.done)

    def score(
        self, model: str, text: str, take: Take
    ) -> tuple[tuple[Column, ...], dict[str, float | None], str]:
        self.wait()
        if error := self.broken(model):
            raise error
        self.done.append(f"scored {text} by {model}")
        scores = {column.name: None if self.failure else 2.5 for column in COLUMNS[model]}
        return COLUMNS[model], dict(scores), self.failure
