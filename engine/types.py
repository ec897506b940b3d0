"""The tensors that pass between modules.

Shapes: B rollouts, K kept timesteps, T timesteps of the chain, S audio samples
(padded), M conditioning frames (S = 300 M), C channels, R score columns.
Nothing here computes more than a masked mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

HOP = 300
"""Audio samples per conditioning frame."""


class Policy(nn.Module, ABC):
    """The network being trained: WaveGrad 2's decoder, or a test's stand-in."""

    compute_dtype: torch.dtype | None = None
    """Autocast inside `eps`, and there alone; None: the weights' own precision."""
    recompute: bool = False
    """Whether a backward pass computes activations again instead of keeping them."""
    reach: int = 0
    """Frames to each side that an audio sample of the prediction may depend on."""

    def eps(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        """`predict_noise` under `compute_dtype`, returned in x_t's precision: the chain is fp32."""
        if self.compute_dtype is None:
            return self.predict_noise(x_t, cond, noise_level, frames)
        with torch.autocast(x_t.device.type, self.compute_dtype):
            return self.predict_noise(x_t, cond, noise_level, frames).to(x_t.dtype)

    @abstractmethod
    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        """Returns eps_theta (B, S) from x_t (B, S), cond (B, C, M), noise_level (B, 1).

        Args:
            x_t: (B, S) noisy audio.
            cond: (B, C, M) conditioning, S = 300 M.
            noise_level: (B, 1) sqrt(alpha-bar).
            frames: (B,) int64 real frames of each row; what lies behind them never
                changes what lies before. None: every row is M long.
        """


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the frozen front end makes of B sentences; computed once, in eval mode."""

    cond: Tensor
    """(B, C, M) hidden_rep, zero behind each row's frames."""
    frames: Tensor
    """(B,) int64 real frames of each row."""

    @property
    def mask(self) -> Tensor:
        """(B, S) 1.0 where the audio is real, 0.0 in the padding."""
        return frame_mask(self.frames, self.cond.shape[-1]).repeat_interleave(HOP, dim=-1)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One batch of rollouts, in the DDPO notation state x_t, action x_{t-1}."""

    conditioning: Conditioning
    timesteps: Tensor
    """(K,) int64, kept timesteps t, descending; t with sigma_t < sigma_min is never kept."""
    x_t: Tensor
    """(K, B, S) fp32 state before each kept timestep."""
    x_prev: Tensor
    """(K, B, S) fp32 the action taken, x_{t-1}."""
    mean: Tensor
    """(K, B, S) fp32 mean of p_old(x_{t-1} | x_t, c); the ratio and KL start from it."""
    waveform: Tensor
    """(B, S) x_0 in [-1, 1], zero in the padding."""
    runs: tuple[int, ...]
    """(K,) at kept timestep k, each run of so many rows shares one state x_t and conditioning,
    so that the network need only see the first of them."""
    clamped: Tensor
    """() share of real audio samples whose x_0 estimate met the clamp, over the chain."""

    @property
    def mask(self) -> Tensor:
        """(B, S)"""
        return self.conditioning.mask

    @property
    def lengths(self) -> Tensor:
        """(B,) int64 real audio samples of each row."""
        return self.conditioning.frames * HOP


@dataclass(frozen=True, slots=True)
class RewardBatch:
    names: tuple[str, ...]
    """R score columns, such as distillmos."""
    scores: Tensor
    """(B, R) raw scores, each in its own unit; NaN where the model failed."""
    total: Tensor
    """(B,) sum or ensemble, what the policy is trained on; NaN where `valid` is False."""
    valid: Tensor
    """(B,) bool; False rows carry no gradient."""
    failures: tuple[str, ...]
    """One sentence for each failed row or model."""


@dataclass(frozen=True, slots=True)
class StepTerms:
    """What an algorithm may use at one timestep; None where not in its `needs`."""

    advantage: Tensor
    """(B,) of the reward; for an algorithm that has `weigh`, the weight made of it."""
    log_ratio: Tensor
    """(B,) log(p_theta / p_old) at the stored transition, in its ratio form's unit."""
    unit: Tensor
    """(B,) nats in one of the ratio form's unit: D audio samples for mean, sqrt D for
    standardised. `log_ratio`, `kl` and `log_prob` share it, so what an algorithm trades
    between them does not depend on a clip's length."""
    penalty: Tensor | None = None
    """(B,) the model's own training loss at this timestep, with gradient."""
    kl: Tensor | None = None
    """(B,) KL(policy || reference) of this timestep, in the ratio form's unit, with gradient."""
    log_prob: Tensor | None = None
    """(B,) log p_theta of the stored action, in the ratio form's unit, with gradient."""
    reward: Tensor | None = None
    """(B,) of the clip that this timestep leads to, with gradient through all that follow it."""


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x (B, S) over the real audio samples; (B,)."""
    return (x * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)


def frame_mask(frames: Tensor, longest: int) -> Tensor:
    """(B,) counts -> (B, longest) float mask, 1.0 before each row's count."""
    return (torch.arange(longest, device=frames.device)[None] < frames[:, None]).float()
