"""Every clip of the corpora on one device, and the stretches of it that a step needs.

Knows no model, no loss and no random number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.data import SAMPLE_RATE_HZ, CorpusError, PreparedCorpus
from engine.types import HOP


@dataclass(frozen=True, slots=True)
class Dataset:
    """N clips, L symbols (padded), F frames of all clips together."""

    audio: Tensor
    """(total,) int16, all audio of the corpora end to end."""
    start: Tensor
    """(N,) int64 first audio sample."""
    frames: Tensor
    """(N,) int64"""
    first_frame: Tensor
    """(N,) int64 frames of the clips before: its first row in conditioning laid end to end."""
    text: Tensor
    """(N, L) int64 symbol ids."""
    lengths: Tensor
    """(N,) int64 symbols."""
    durations: Tensor
    """(N, L) float frames of each symbol."""
    speaker: Tensor
    """(N,) int64"""
    frame_counts: tuple[int, ...]
    """`frames` where no device has to be asked for it."""
    symbol_counts: tuple[int, ...]
    """`lengths`, likewise."""

    @property
    def seconds(self) -> float:
        return sum(self.frame_counts) * HOP / SAMPLE_RATE_HZ

    @property
    def by_length(self) -> tuple[int, ...]:
        """Clips, shortest first: neighbours make a batch with little padding."""
        return tuple(sorted(range(len(self.frame_counts)), key=self.frame_counts.__getitem__))


def gather(
    corpus: PreparedCorpus, held_out: bool, device: torch.device, audio: Tensor | None = None
) -> Dataset:
    """Lays the training (or the held-out) clips on the device.

    Args:
        corpus: what to lay there.
        held_out: which clips.
        device: where.
        audio: `Dataset.audio` of the same corpora if it lies there already.

    Errors: CorpusError where there is no such clip.
    """
    clips = corpus.held_out if held_out else corpus.training
    if not clips:
        raise CorpusError(f"The corpora have no {'held-out' if held_out else 'training'} clip.")
    longest = max(len(clip.ids) for clip in clips)
    text = torch.zeros(len(clips), longest, dtype=torch.int64)
    durations = torch.zeros(len(clips), longest)
    for row, clip in enumerate(clips):
        text[row, : len(clip.ids)] = torch.tensor(clip.ids)
        durations[row, : len(clip.ids)] = torch.tensor(clip.frames, dtype=torch.float32)

    def each(values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), device=device)

    frames = tuple(clip.total_frames for clip in clips)
    symbols = tuple(len(clip.ids) for clip in clips)
    return Dataset(
        audio=corpus.all_audio().to(device) if audio is None else audio,
        start=each(clip.audio_start for clip in clips),
        frames=each(frames),
        first_frame=each(frames).cumsum(0) - each(frames),
        text=text.to(device),
        lengths=each(symbols),
        durations=durations.to(device),
        speaker=each(clip.speaker_id for clip in clips),
        frame_counts=frames,
        symbol_counts=symbols,
    )


def waves(data: Dataset, clips: Tensor, starts: Tensor, width: int) -> Tensor:
    """(B, 300 W) float32 audio of W frames from each start (B,), zero behind the clip's end."""
    offset = torch.arange(width * HOP, device=data.audio.device)
    left = (data.frames[clips] - starts)[:, None] * HOP
    at = (data.start[clips] + starts * HOP)[:, None] + offset
    return data.audio[at.clamp(max=len(data.audio) - 1)].float() / 32768 * (offset < left)


def stretches(cond: Tensor, data: Dataset, clips: Tensor, starts: Tensor, width: int) -> Tensor:
    """(B, C, W) of conditioning (F, C), laid end to end; zero behind the clip's end."""
    offset = torch.arange(width, device=cond.device)
    left = (data.frames[clips] - starts)[:, None]
    at = (data.first_frame[clips] + starts)[:, None] + offset
    return (cond[at.clamp(max=len(cond) - 1)] * (offset < left)[..., None]).transpose(1, 2)


def cut(hidden: Tensor, starts: Tensor, width: int) -> Tensor:
    """(B, C, W) of a batch's own conditioning (B, C, T), zero behind T."""
    seen = (starts[:, None] + torch.arange(width, device=hidden.device))[:, None]
    return F.pad(hidden, (0, width)).gather(2, seen.expand(-1, hidden.shape[1], -1))
