"""Noise schedules as data, and the coefficients of one denoising transition."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.model.config import SPEECH_RMS
from engine.profile import ProfileError, ScheduleSpec

TRAINING_TIMESTEPS = 1000
"""WaveGrad 2 as maum-ai trains it: beta = linspace(1e-6, 0.01, 1000)."""

MANUAL_8 = (1e-6, 2e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 9e-1)
"""maum-ai's schedule for 8 timesteps; ends at alpha-bar 0.089."""


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """A chain of T transitions p(x_{t-1} | x_t) = N(c_x0 x_0 + c_xt x_t, sigma^2).

    Ancestral sampling (Ho et al. 2020, arXiv:2006.11239, eq. 7) and DDIM (Song et al. 2021,
    arXiv:2010.02502, eq. 12) differ in these three numbers alone. All are (T,) fp32.
    """

    betas: Tensor
    alphas_cumprod: Tensor
    """alpha-bar_t; the network is told sqrt(alpha-bar_t)."""
    c_x0: Tensor
    """Weight of the clean estimate in the mean."""
    c_xt: Tensor
    """Weight of the state in the mean."""
    sigma: Tensor
    """Standard deviation; 0 at t = 0."""

    @property
    def timesteps(self) -> int:
        return len(self.betas)

    @property
    def levels(self) -> Tensor:
        """(T,) sqrt(alpha-bar_t), the noise level the network is conditioned on."""
        return self.alphas_cumprod.sqrt()

    def leverage(self) -> Tensor:
        """(T,) |d mean / d eps|: how far a transition's mean moves with the network's output."""
        return self.c_x0 * ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    def to(self, device: torch.device) -> NoiseSchedule:
        return NoiseSchedule(
            *(getattr(self, name).to(device) for name in self.__dataclass_fields__)
        )


def from_betas(betas: Tensor, eta: float | None = None) -> NoiseSchedule:
    """Builds the transitions of betas (T,); eta None: ancestral, else DDIM with that eta.

    Arithmetic is fp32 as in maum-ai's buffers: 1 - alpha-bar_0 of a beta of 1e-6 is off by a
    per cent there, and weights trained against it expect the same.
    """
    alphas_cumprod = (1 - betas).cumprod(0)
    previous = torch.cat([torch.ones_like(betas[:1]), alphas_cumprod[:-1]])
    variance = betas * (1 - previous) / (1 - alphas_cumprod)
    if eta is None:
        c_x0 = betas * previous.sqrt() / (1 - alphas_cumprod)
        c_xt = (1 - previous) * (1 - betas).sqrt() / (1 - alphas_cumprod)
        return NoiseSchedule(betas, alphas_cumprod, c_x0, c_xt, variance.sqrt())
    sigma = eta * variance.sqrt()
    c_xt = ((1 - previous - sigma**2).clamp(min=0) / (1 - alphas_cumprod)).sqrt()
    return NoiseSchedule(
        betas, alphas_cumprod, previous.sqrt() - c_xt * alphas_cumprod.sqrt(), c_xt, sigma
    )


def linear(timesteps: int, start: float = 1e-6, end: float = 0.01) -> Tensor:
    """(T,) betas of maum-ai's linspace; below 1000 timesteps it does not reach noise."""
    return torch.linspace(start, end, timesteps)


def respaced(timesteps: int, power: float = 1.0) -> Tensor:
    """(T,) betas that visit `timesteps` of the 1000 noise levels, the last one always.

    t_i = round(1000 (i / T)^power), i = 1..T; beta_i = 1 - alpha-bar(t_i) / alpha-bar(t_{i-1}),
    so the chain ends at alpha-bar 0.0066, where the noise really is noise.
    """
    alphas_cumprod = (1 - linear(TRAINING_TIMESTEPS).double()).cumprod(0)
    i = torch.arange(1, timesteps + 1, dtype=torch.float64)
    visited = (TRAINING_TIMESTEPS * (i / timesteps) ** power).round().long().clamp(min=1) - 1
    for j in range(1, timesteps):  # rounding must not visit one level twice
        visited[j] = max(int(visited[j]), int(visited[j - 1]) + 1)
    last = torch.arange(TRAINING_TIMESTEPS - timesteps, TRAINING_TIMESTEPS)
    kept = alphas_cumprod[torch.minimum(visited, last)]
    previous = torch.cat([torch.ones(1, dtype=torch.float64), kept[:-1]])
    return (1 - kept / previous).float()


def snr_spaced(timesteps: int, low_db: float, high_db: float) -> Tensor:
    """(T,) betas whose levels lie equally far apart in dB of signal-to-noise; the last is low_db.

    snr = alpha-bar RMS^2 / (1 - alpha-bar), so alpha-bar = snr / (snr + RMS^2): each timestep
    lets through the same number of dB of quieter speech. Exact to 0.01 dB up to a high_db of 30;
    above, fp32 does not tell 1 - alpha-bar from the next number as finely.
    """
    db = torch.linspace(low_db, high_db, timesteps, dtype=torch.float64).flip(0)
    if timesteps == 1:
        db = torch.tensor([low_db], dtype=torch.float64)
    snr = 10 ** (db / 10)
    alphas_cumprod = snr / (snr + SPEECH_RMS**2)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    return (1 - alphas_cumprod / previous).float()


def build(spec: ScheduleSpec) -> NoiseSchedule:
    """The schedule a profile names; of kind "voice", of which no voice is known here, respaced."""
    if spec.kind == "manual8":
        betas = torch.tensor(MANUAL_8)
    elif spec.kind == "betas":
        betas = torch.tensor(spec.betas)
    elif spec.kind == "linear":
        betas = linear(spec.timesteps)
    elif spec.kind == "snr":
        betas = snr_spaced(spec.timesteps, spec.low_db, spec.high_db)
    else:
        betas = respaced(spec.timesteps, spec.power)
    return from_betas(betas, None if spec.sampler == "ancestral" else spec.eta)


def trainable(schedule: NoiseSchedule, sigma_min: float, window: int) -> tuple[int, ...]:
    """Timesteps t among the noisiest `window` with sigma_t >= sigma_min, descending.

    Errors: ProfileError where none is left, as with eta = 0.
    """
    steps = range(schedule.timesteps - 1, max(schedule.timesteps - 1 - window, 0), -1)
    kept = tuple(t for t in steps if float(schedule.sigma[t]) >= sigma_min)
    if not kept:
        raise ProfileError(
            f"no timestep of this schedule has sigma >= {sigma_min:g}, so nothing can be trained; "
            "lower rollout.sigma_min, or raise schedule.eta above 0 or rollout.window"
        )
    return kept
