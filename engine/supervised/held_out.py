"""How well weights do on speech that is never trained on: fixed windows, noise and levels."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.device import generator
from engine.diffusion.schedule import NoiseSchedule
from engine.model.decoder import Decoder
from engine.model.wavegrad2 import WaveGrad2
from engine.supervised.dataset import Dataset, stretches, waves
from engine.supervised.draws import draw_windows, level_of, numbers
from engine.supervised.objective import MelHead, decoder_losses, front_end_losses
from engine.supervised.own_chain import Casting, chain_loss
from engine.types import HOP

BANDS_DB = (-22, -14, -6, 2, 10, 18, 25)
"""Signal-to-noise ratios at which the decoder is looked at."""
WINDOWS = 16
"""At each of them."""
CLIPS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class HeldOut:
    loss: float
    """Of the front end: L1 of the log-mel. Of the decoder: L1 on the noise, mean of `bands`."""
    bands: dict[str, float] = field(default_factory=dict)
    """L1 on the noise by signal-to-noise ratio, such as "-22 dB"."""
    spectral: float | None = None
    """Spectral distance of the clean estimate, mean over BANDS_DB."""
    envelope: float | None = None
    """Distance of the envelope of what the chain makes of noise, in nats; see `judge_chain`."""


@torch.no_grad()
def judge_front_end(model: WaveGrad2, head: MelHead, data: Dataset, filters: Tensor) -> HeldOut:
    """The model in eval mode, on every held-out clip; each frame weighs alike."""
    total = 0.0
    for i in range(0, len(data.by_length), CLIPS_AT_ONCE):
        clips = data.by_length[i : i + CLIPS_AT_ONCE]
        rows = torch.tensor(clips, device=data.frames.device)
        mel = float(front_end_losses(model, head, data, rows, filters)["mel"])
        total += mel * sum(data.frame_counts[clip] for clip in clips)
    return HeldOut(total / sum(data.frame_counts))


@torch.no_grad()
def judge_decoder(
    decoder: Decoder,
    cond: Tensor,
    data: Dataset,
    filters: Tensor,
    width: int,
    dtype: torch.dtype | None = None,
) -> HeldOut:
    """The decoder on WINDOWS windows of `width` frames at each of BANDS_DB.

    cond (F, C) is the conditioning of all clips end to end; dtype as in `decoder_losses`.
    """
    device = cond.device
    bands, distances = {}, []
    for db in BANDS_DB:
        rng = numbers(device, 0, "held out", db)
        clips, starts = draw_windows(data, WINDOWS, width, rng)
        eps = torch.randn(WINDOWS, width * HOP, generator=rng, device=device)
        level = level_of(torch.full((WINDOWS, 1), float(db), device=device))
        wave = waves(data, clips, starts, width)
        told = stretches(cond, data, clips, starts, width)
        found = decoder_losses(
            decoder.predict_noise, wave, told, level, eps, filters, dtype, mel=False
        )
        bands[f"{db} dB"] = float(found["noise"])
        distances.append(float(found["spectral"]))
    loss = sum(bands.values()) / len(bands)
    return HeldOut(loss, bands, sum(distances) / len(distances))


@torch.no_grad()
def judge_chain(
    decoder: Decoder,
    cond: Tensor,
    data: Dataset,
    filters: Tensor,
    width: int,
    schedule: NoiseSchedule,
    dtype: torch.dtype | None = None,
) -> float:
    """`chain_loss` of WINDOWS windows of `width` frames, the rest as in `judge_decoder`."""
    rng = numbers(cond.device, 0, "held out", "chain")
    clips, starts = draw_windows(data, WINDOWS, width, rng)
    wave = waves(data, clips, starts, width)
    told = stretches(cond, data, clips, starts, width)
    policy = Casting(decoder.predict_noise, dtype)
    return float(chain_loss(policy, schedule, wave, told, filters, 0, rng))


@torch.no_grad()
def judge_each(decoder: Decoder, cond: Tensor, data: Dataset, width: int) -> tuple[float, ...]:
    """L1 on the noise of each of N clips: the mean over BANDS_DB of one window of `width` frames.

    Window and noise are drawn on the CPU by the clip's place, so every device hears the same.
    cond (F, C) as in `judge_decoder`.
    """
    device, levels = cond.device, len(BANDS_DB)
    level = level_of(torch.tensor(BANDS_DB, dtype=torch.float32, device=device))[:, None]
    no_filters = torch.empty(0, device=device)
    found = []
    for clip, frames in enumerate(data.frame_counts):
        rng = generator(0, "held out", clip)
        start = int(torch.randint(0, max(frames - width, 0) + 1, (), generator=rng))
        heard = min(width, frames)
        eps = torch.randn(levels, heard * HOP, generator=rng).to(device)
        rows, starts = (torch.full((levels,), at, device=device) for at in (clip, start))
        wave = waves(data, rows, starts, heard)
        told = stretches(cond, data, rows, starts, heard)
        losses = decoder_losses(
            decoder.predict_noise, wave, told, level, eps, no_filters, spectral=False, mel=False
        )
        found.append(float(losses["noise"]))
    return tuple(found)
