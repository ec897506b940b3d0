"""The losses of supervised training, as pure functions of tensors and modules.

The front end learns durations and the log-mel of whole clips; the decoder learns the noise and,
if asked, the spectrum of the clean speech that its noise implies. Knows no step and no optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from engine.data import SAMPLE_RATE_HZ
from engine.model.wavegrad2 import WaveGrad2
from engine.spectra import MELS, log_mel, spectral_distance
from engine.supervised.dataset import Dataset, waves
from engine.supervised.draws import snr_of
from engine.types import HOP, frame_mask

DURATION_WEIGHT = 10.0
"""Of whole clips' durations beside their log-mel: 1e-3 square seconds stand against 0.7."""


class MelHead(nn.Module):
    """Conditioning (B, C, M) -> log-mel frames (B, 80, M); only training has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(channels, 128, 3, padding=1), nn.ReLU(), nn.Conv1d(128, MELS, 3, padding=1)
        )

    def forward(self, cond: Tensor) -> Tensor:
        out: Tensor = self.net(cond)
        return out


def weigh(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of the losses by their weights, 1 where none is given; ()."""
    return torch.stack([weights.get(name, 1.0) * value for name, value in losses.items()]).sum()


def hear_text(model: WaveGrad2, data: Dataset, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Conditioning (B, C, T) of whole clips on their true durations, and `duration_error` ()."""
    lengths, frames = data.lengths[rows], data.frames[rows]
    longest = int(lengths.max())
    text, durations = data.text[rows, :longest], data.durations[rows, :longest]
    hidden, seconds = model.hidden(text, lengths, data.speaker[rows], durations, frames)
    spoken = frame_mask(lengths, longest).bool()
    error = ((seconds - durations * HOP / SAMPLE_RATE_HZ)[spoken] ** 2).mean()
    return hidden, error


def front_end_losses(
    model: WaveGrad2, head: MelHead, data: Dataset, rows: Tensor, filters: Tensor
) -> dict[str, Tensor]:
    """Of whole clips `rows` (B,): `mel`, L1 over their own frames; `duration`, in s^2; each ()."""
    hidden, duration = hear_text(model, data, rows)
    width = hidden.shape[-1]
    wanted = log_mel(waves(data, rows, torch.zeros_like(rows), width), filters)
    real = frame_mask(data.frames[rows], width)[:, None]
    mel = ((head(hidden) - wanted).abs() * real).sum() / (real.sum() * MELS)
    return {"mel": mel, "duration": duration}


def clean_estimate(noisy: Tensor, eps: Tensor, level: Tensor) -> Tensor:
    """x_0 = (x_t - sqrt(1 - alpha-bar) eps_theta) / sqrt(alpha-bar), clamped to [-1, 1]; (B, S)."""
    return ((noisy - (1 - level**2).sqrt() * eps) / level).clamp(-1, 1)


def decoder_losses(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    wave: Tensor,
    cond: Tensor,
    level: Tensor,
    eps: Tensor,
    filters: Tensor,
    dtype: torch.dtype | None = None,
    spectral: bool = True,
    mel: bool = True,
    balanced: bool = False,
    from_db: float = -100.0,
) -> dict[str, Tensor]:
    """`noise`: L1 on eps. `spectral`, `x0_mel`: of the clean estimate, where asked for; each ().

    Args:
        predict: the decoder, (x_t, cond, level) -> eps_theta.
        wave: (B, S) clean audio.
        cond: (B, C, M), S = 300 M.
        level: (B, 1) sqrt(alpha-bar).
        eps: (B, S) the noise.
        filters: of `mel_filters`.
        dtype: autocast inside the decoder alone; None: none.
        spectral: whether to take the spectral distance.
        mel: whether to take the L1 of the log-mel.
        balanced: whether each row of `noise` weighs sqrt(1 + noise-to-signal): its unit is then
            what `engine.model.decoder.as_noise` leaves to the network.
        from_db: rows of a lower signal-to-noise count as 0 in the two spectral losses.
    """
    noisy = level * wave + (1 - level**2).sqrt() * eps
    with torch.autocast(wave.device.type, dtype, enabled=dtype is not None):
        predicted = predict(noisy, cond, level)
    predicted = predicted.float()
    weight = (1 + 1 / snr_of(level)).sqrt() if balanced else 1.0
    losses = {"noise": (weight * (predicted - eps).abs()).mean()}
    if spectral or mel:
        x_0 = clean_estimate(noisy, predicted, level)
        heard = (snr_of(level).squeeze(1) >= 10 ** (from_db / 10)).to(wave.dtype)
        if spectral:
            losses["spectral"] = (heard * spectral_distance(x_0, wave)).mean()
        if mel:
            apart = (log_mel(x_0, filters) - log_mel(wave, filters)).abs().mean(dim=(-1, -2))
            losses["x0_mel"] = (heard * apart).mean()
    return losses
