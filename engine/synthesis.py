"""A voice speaks: sentences -> phones -> conditioning -> clips. One path for every command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import Voice
from engine.diffusion.sampler import RolloutNoise, rollout
from engine.diffusion.schedule import NoiseSchedule
from engine.model.wavegrad2 import WaveGrad2
from engine.text import phonemise, to_ids
from engine.types import HOP, Conditioning

AT_ONCE = 64
"""Sentences that go through the front end together; keeps the padding small."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence as the frozen front end conditions the decoder on it."""

    text: str
    speaker: int
    cond: Tensor
    """(C, M)"""

    @property
    def frames(self) -> int:
        return self.cond.shape[-1]

    def seconds(self, sample_rate: int) -> float:
        return self.frames * HOP / sample_rate


def utter(model: WaveGrad2, texts: Sequence[str], speaker: int, pace: float) -> list[Utterance]:
    """Runs the front end on each sentence; TextError where a sentence has no word."""
    parts = [texts[i : i + AT_ONCE] for i in range(0, len(texts), AT_ONCE)]
    return [utterance for part in parts for utterance in utter_batch(model, part, speaker, pace)]


def utter_batch(
    model: WaveGrad2, texts: Sequence[str], speaker: int, pace: float
) -> list[Utterance]:
    """`utter` in one batch: a row comes out of it as it would alone."""
    ids = [to_ids(phonemise(text)) for text in texts]
    device = next(model.parameters()).device
    lengths = torch.tensor([len(row) for row in ids])
    padded = torch.zeros(len(ids), int(lengths.max()), dtype=torch.int64)
    for row, symbols in enumerate(ids):
        padded[row, : len(symbols)] = torch.tensor(symbols)
    speakers = torch.full((len(ids),), speaker)
    conditioning, _ = model.condition(
        padded.to(device), lengths.to(device), speakers.to(device), pace
    )
    counts = conditioning.frames.tolist()
    return [
        Utterance(text, speaker, conditioning.cond[row, :, :count].clone())
        for row, (text, count) in enumerate(zip(texts, counts, strict=True))
    ]


def stack(utterances: Sequence[Utterance]) -> tuple[Conditioning, tuple[int, ...]]:
    """Pads utterances to one batch; also their frames as plain numbers."""
    frames = tuple(u.frames for u in utterances)
    first = utterances[0].cond
    cond = first.new_zeros(len(frames), len(first), max(frames))
    for row, utterance in enumerate(utterances):
        cond[row, :, : utterance.frames] = utterance.cond
    return Conditioning(cond, torch.tensor(frames, device=first.device)), frames


def speak(
    voice: Voice,
    schedule: NoiseSchedule,
    utterances: Sequence[Utterance],
    seed: int,
    *,
    microbatch: int = 4,
    first: int = 0,
    between: Callable[[int, int], None] = lambda done, total: None,
) -> list[Tensor]:
    """Samples each utterance with noise named by (seed, its place); clips (S,) on the CPU.

    `first` is the place of the first of them.
    """
    conditioning, frames = stack(utterances)
    drawn = RolloutNoise(seed, 0, frames, first=first)
    done = rollout(
        voice.model.decoder, schedule, conditioning, drawn, microbatch=microbatch, between=between
    )
    waves = done.waveform.cpu()
    return [waves[row, : count * HOP] for row, count in enumerate(frames)]
