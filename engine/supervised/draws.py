"""What a step of supervised training is drawn from: clips, windows, noise and its levels.

Everything is drawn where the generator lives, and nothing waits for an accelerator.
Knows no model and no loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.device import generator
from engine.diffusion.schedule import TRAINING_TIMESTEPS, linear
from engine.model.config import SPEECH_RMS
from engine.profile import PretrainProfile
from engine.supervised.dataset import Dataset
from engine.types import HOP

LOWEST_SIGMA = 5e-3
"""Below it speech of RMS 0.08 drowns the noise and nothing is left to learn."""


@dataclass(frozen=True, slots=True)
class Batch:
    clips: Tensor
    """(B,) int64 rows of the dataset."""
    starts: Tensor
    """(B,) int64 first frame of each window."""
    level: Tensor
    """(B, 1) sqrt(alpha-bar)."""
    eps: Tensor
    """(B, S)"""


def numbers(device: torch.device, *identity: int | str) -> torch.Generator:
    """A generator on the device by identity; only on a CPU do all machines draw alike."""
    named = generator(*identity)
    if device.type == "cpu":
        return named
    return torch.Generator(device).manual_seed(named.initial_seed())


def draw(data: Dataset, spec: PretrainProfile, rng: torch.Generator) -> Batch:
    """A batch of the profile's windows and noise levels; `rng` lives on the dataset's device."""
    clips, starts = draw_windows(data, spec.batch, spec.window_frames, rng)
    eps = torch.randn(spec.batch, spec.window_frames * HOP, generator=rng, device=rng.device)
    if spec.levels == "snr":
        level = snr_levels(spec.batch, spec.snr_low_db, spec.snr_high_db, rng)
    else:
        level = mixed_levels(spec.batch, spec.low_noise, rng)
    return Batch(clips, starts, level, eps)


def draw_windows(
    data: Dataset, count: int, width: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Clips and first frames, both (count,) int64: every place of a window is as likely."""
    room = (data.frames - width).clamp(min=1)
    ends = room.cumsum(0)
    u = torch.rand(count, generator=rng, dtype=torch.float64, device=rng.device)
    place = (u * ends[-1]).long()
    clips = torch.searchsorted(ends, place, right=True)
    return clips, place - (ends - room)[clips]


def draw_clips(order: tuple[int, ...], count: int, rng: torch.Generator) -> tuple[int, ...]:
    """Whole clips that are neighbours in `order`, or all where there are fewer; CPU generator."""
    first = int(torch.randint(0, max(len(order) - count, 0) + 1, (1,), generator=rng))
    return order[first : first + count]


def snr_levels(count: int, low_db: float, high_db: float, rng: torch.Generator) -> Tensor:
    """(count, 1) noise levels whose signal-to-noise ratio is uniform in dB."""
    db = low_db + (high_db - low_db) * torch.rand(count, generator=rng, device=rng.device)
    return level_of(db)[:, None]


def level_of(snr_db: Tensor) -> Tensor:
    """sqrt(alpha-bar) at which speech of SPEECH_RMS has this ratio to the noise.

    snr = 10 log10(alpha-bar rms^2 / (1 - alpha-bar)).
    """
    ratio = 10 ** (snr_db / 10) / SPEECH_RMS**2
    return (ratio / (1 + ratio)).sqrt()


def snr_of(level: Tensor) -> Tensor:
    """The ratio itself, not in dB, of a noise level sqrt(alpha-bar); undoes `level_of`."""
    return level**2 * SPEECH_RMS**2 / (1 - level**2)


def mixed_levels(count: int, low_noise: float, rng: torch.Generator) -> Tensor:
    """(count, 1) continuous noise levels sqrt(alpha-bar).

    maum-ai draws t uniformly and mixes the two levels around it; that spends 3 % of the draws
    where speech is louder than the noise. A share `low_noise` is log-uniform in sigma instead.
    """
    device = rng.device
    levels = torch.cat([torch.ones(1), (1 - linear(TRAINING_TIMESTEPS)).cumprod(0).sqrt()])
    low, high = math.log(LOWEST_SIGMA), math.log(math.sqrt(1 - float(levels[-1]) ** 2))
    levels = levels.to(device)
    t = torch.randint(1, TRAINING_TIMESTEPS + 1, (count,), generator=rng, device=device)
    u = torch.rand(count, generator=rng, device=device)
    uniform = levels[t - 1] * u + levels[t] * (1 - u)
    sigma = (low + (high - low) * torch.rand(count, generator=rng, device=device)).exp()
    chosen = torch.rand(count, generator=rng, device=device) < low_noise
    return torch.where(chosen, (1 - sigma**2).sqrt(), uniform)[:, None]
