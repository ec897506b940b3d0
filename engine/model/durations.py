"""How long each symbol lasts and how far it reaches, and from both one vector per frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.model.config import ModelConfig
from engine.model.encoder import packed_lstm
from engine.model.upsampling import MIN_SIGMA, gaussian_upsampling
from engine.types import frame_mask


class DurationPredictor(nn.Module):
    """Seconds of each symbol (spec section 4); unbounded, so a prediction may be negative."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        units = config.duration_lstm
        self.lstm = _predictor_lstm(config.cond_channels, units)
        self.fc = nn.Sequential(nn.Linear(2 * units, 1, bias=False))

    def forward(self, memory: Tensor, lengths: Tensor) -> Tensor:
        """Seconds (B, N) from memory (B, N, C) and lengths (B,); 0 in the padding."""
        seconds: Tensor = self.fc(packed_lstm(self.lstm, memory, lengths))
        return seconds.squeeze(-1)


class RangePredictor(nn.Module):
    """Standard deviation of each symbol's Gaussian, in frames (spec section 4)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        units = config.range_lstm
        self.lstm = _predictor_lstm(config.cond_channels + 1, units)
        self.fc = nn.Sequential(nn.Linear(2 * units, 1, bias=False), nn.Softplus())

    def forward(self, memory: Tensor, durations: Tensor, lengths: Tensor) -> Tensor:
        """Sigma (B, N) in frames from memory (B, N, C), durations (B, N) in frames, lengths (B,).

        1e-8 in the padding, and never less, where softplus would underflow to 0.
        """
        x = torch.cat((memory, durations.to(memory.dtype)[..., None]), dim=-1)
        sigma: Tensor = self.fc(packed_lstm(self.lstm, x, lengths)).squeeze(-1)
        real = frame_mask(lengths, sigma.shape[1]).bool()
        return sigma.clamp(min=MIN_SIGMA).masked_fill(~real, MIN_SIGMA)


class Resampling(nn.Module):
    """Symbols to frames: both predictors and the Gaussian upsampling between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.duration_predictor = DurationPredictor(config)
        self.range_parameter_predictor = RangePredictor(config)

    def forward(self, memory: Tensor, lengths: Tensor, durations: Tensor, longest: int) -> Tensor:
        """Frames (B, C, T) from memory (B, N, C), durations (B, N) in frames and T = longest."""
        sigma = self.range_parameter_predictor(memory, durations, lengths)
        upsampled, _ = gaussian_upsampling(memory, durations, sigma, lengths, longest)
        return upsampled.transpose(1, 2)


def whole_frames(seconds: Tensor, pace: float, frames_per_second: float) -> Tensor:
    """Frames (B, N) int64: round(seconds x pace x frames per second), never negative.

    maum's code does not clamp: a negative prediction there pulls the following symbols back.
    A row that rounds to nothing gets one frame, on its first symbol, so that audio exists.

    Raises:
        ValueError: pace is not above 0, or a prediction is not finite.
    """
    if not pace > 0:
        raise ValueError(f"pace must be above 0, not {pace}")
    rounded = (seconds * pace * frames_per_second).round().clamp(min=0)
    if not bool(rounded.isfinite().all()):
        raise ValueError("the duration predictor's output is not finite")
    frames = rounded.long()
    frames[:, 0] += (frames.sum(-1) == 0).long()
    return frames


def duration_loss(
    seconds: Tensor, durations: Tensor, lengths: Tensor, frames_per_second: float
) -> Tensor:
    """Mean over real symbols of (seconds - durations / frames per second)^2; ().

    seconds (B, N) predicted, durations (B, N) in frames, lengths (B,) (spec section 7).
    """
    real = frame_mask(lengths, seconds.shape[1]).bool()
    target = durations.to(seconds.dtype) / frames_per_second
    return F.mse_loss(seconds[real], target[real])


def _predictor_lstm(channels: int, units: int) -> nn.LSTM:
    return nn.LSTM(channels, units, num_layers=2, batch_first=True, bidirectional=True)
