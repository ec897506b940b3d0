"""Word and character error rates: what a speech recogniser hears against what was to be said.

Moonshine tiny-en (MIT, inside the `moonshine-voice` 0.1.0 wheel), on the CPU. Nothing is
downloaded.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor
from torch.nn import functional as F

from engine import audio
from engine.messages import Column
from engine.normalise import ABBREVIATIONS, normalise
from engine.rewards.base import ScoreError

BLOCK = 512
"""Audio samples the recogniser reads at a time; it forgets an incomplete block at the end."""

SHORTEST = 4 * BLOCK
"""Audio samples, 128 ms. With less, the recogniser writes an error to the terminal."""

LONGEST_SECONDS = 60
"""Past this the recogniser cuts a clip in two, between words or not."""


class Intelligibility:
    """One transcript a clip, two columns."""

    name = "intelligibility"
    columns = (
        Column("wer", "share of words", False, 0.0, 1.0),
        Column("cer", "share of characters", False, 0.0, 1.0),
    )
    sample_rate_hz = 16_000
    differentiable = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        del device  # The recogniser knows only CPUs.
        # Its package imports an HTTP client, for the downloads that are not used here.
        from moonshine_voice.moonshine_api import ModelArch
        from moonshine_voice.transcriber import Transcriber
        from moonshine_voice.utils import get_model_path

        # With its voice activity detector the same clip gets other words after other clips,
        # for the detector remembers what it heard; a threshold of 0 switches it off.
        self._recogniser = Transcriber(
            get_model_path("tiny-en"),
            ModelArch.TINY,
            options={
                "vad_threshold": 0,
                "vad_max_segment_duration": LONGEST_SECONDS,
                "return_audio_data": "false",
            },
        )

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        """Returns (B, 2) float32: word and character error rate, 0 is best, above 1 happens.

        Raises:
            ScoreError: shorter than 128 ms, or a text without words.
        """
        return torch.tensor(
            [error_rates(text, self.transcribe(w)) for w, text in zip(waves, texts, strict=True)]
        )

    def transcribe(self, wave: Tensor, hz: int = 16_000) -> str:
        """Returns what the recogniser hears in wave (S,); the same for the same clip, always.

        Noise and silence may be heard as a word or two.

        Raises:
            ScoreError: shorter than 128 ms.
        """
        wave = audio.resample(wave.detach().to("cpu", torch.float32), hz, self.sample_rate_hz)
        if wave.shape[-1] < SHORTEST:
            raise ScoreError(
                f"it is {wave.shape[-1]} audio samples long at {self.sample_rate_hz} Hz, "
                f"and the recogniser needs {SHORTEST} ({1000 * SHORTEST // 16_000} ms)"
            )
        whole_blocks = F.pad(wave, (0, -wave.shape[-1] % BLOCK))
        transcript = self._recogniser.transcribe_without_streaming(
            whole_blocks.tolist(), self.sample_rate_hz
        )
        return " ".join(line.text.strip() for line in transcript.lines).strip()


def error_rates(text: str, heard: str) -> tuple[float, float]:
    """(S + D + I) / N of what was heard against the text: over words, over characters.

    Both are first made alike by `plain_words`.

    Raises:
        ScoreError: the text has no words.
    """
    import jiwer

    reference, hypothesis = plain_words(text), plain_words(heard)
    if not reference:
        raise ScoreError(f"its text {text!r} has no words to compare with")
    return float(jiwer.wer(reference, hypothesis)), float(jiwer.cer(reference, hypothesis))


def plain_words(text: str) -> str:
    """Lower-case words and nothing else: numbers and abbreviations spelled out, no punctuation.

    "Mr Philip - it's $8!" -> "mister philip it's eight dollars"
    """
    words = re.findall(r"[a-z]+(?:'[a-z]+)*", normalise(text).lower())
    return " ".join(ABBREVIATIONS.get(word, word) for word in words)
