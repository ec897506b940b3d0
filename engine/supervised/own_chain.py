"""What the decoder learns from clips that it makes of noise itself, timestep after timestep.

Recordings with noise on them, as WaveGrad 2 learns from, never look like what a chain of few
timesteps has really left over; here the next ones see that, and the finished clip is compared
with the recording. No phase can be compared, and no pitch should be: only the envelope is.
Knows no step and no optimiser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.diffusion.process import p_mean
from engine.diffusion.schedule import NoiseSchedule
from engine.spectra import envelope_distance
from engine.types import HOP

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t, cond, level) -> eps_theta, such as `Decoder.predict_noise`."""


@dataclass(frozen=True, slots=True)
class Casting:
    """A predictor under autocast; the chain itself stays in fp32."""

    predict: Predict
    dtype: torch.dtype | None = None
    """None: no autocast."""

    def eps(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        """As `Policy.eps`, for rows that are all full."""
        assert frames is None
        with torch.autocast(x_t.device.type, self.dtype, enabled=self.dtype is not None):
            return self.predict(x_t, cond, noise_level).to(x_t.dtype)


def finish(
    policy: Casting, schedule: NoiseSchedule, cond: Tensor, trained: int, rng: torch.Generator
) -> Tensor:
    """The clips (B, S) that the chain makes of noise, in [-1, 1].

    Args:
        policy: predicts the noise.
        schedule: the chain.
        cond: (B, C, M), S = 300 M.
        trained: the clips carry a gradient through so many of the last timesteps; the ones before
            are only run. The noisiest decide the pitch, of which this gradient knows nothing.
        rng: of x_T and the noise of every transition; lives where cond does.
    """
    shape = (len(cond), cond.shape[-1] * HOP)

    def noise() -> Tensor:
        return torch.randn(shape, generator=rng, device=cond.device)

    x = noise()
    for t in reversed(range(schedule.timesteps)):
        with torch.set_grad_enabled(torch.is_grad_enabled() and t < trained):
            x, _ = p_mean(policy, schedule, x, cond, t)
        if t > 0:
            x = x + schedule.sigma[t] * noise()
    return x.clamp(-1, 1)


def chain_loss(
    policy: Casting,
    schedule: NoiseSchedule,
    wave: Tensor,
    cond: Tensor,
    filters: Tensor,
    trained: int,
    rng: torch.Generator,
) -> Tensor:
    """Envelope distance between speech (B, S) and what the chain makes of its conditioning; ()."""
    clips = finish(policy, schedule, cond, trained, rng)
    return envelope_distance(clips, wave, filters).mean()
