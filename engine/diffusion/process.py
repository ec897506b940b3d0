"""The diffusion's algebra: one function gives mean and sigma to rollout and update alike."""

from __future__ import annotations

import math
from typing import Literal, Protocol, TypeAlias

from torch import Tensor

from engine.diffusion.schedule import NoiseSchedule

RatioForm: TypeAlias = Literal["standardised", "mean"]


class Predictor(Protocol):
    """What a transition asks of a network; every `Policy` is one."""

    def eps(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        """As `Policy.eps`."""


def q_sample(schedule: NoiseSchedule, x_0: Tensor, t: int, eps: Tensor) -> Tensor:
    """x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) eps (Ho et al. 2020, eq. 4); (B, S)."""
    a = schedule.alphas_cumprod[t]
    return a.sqrt() * x_0 + (1 - a).sqrt() * eps


def p_mean(
    policy: Predictor,
    schedule: NoiseSchedule,
    x_t: Tensor,
    cond: Tensor,
    t: int,
    frames: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean of p(x_{t-1} | x_t, cond), (B, S), and the clean estimate before its clamp, (B, S).

    x_0 = (x_t - sqrt(1 - alpha-bar) eps_theta) / sqrt(alpha-bar), clamped to [-1, 1];
    mean = c_x0 x_0 + c_xt x_t. The standard deviation is schedule.sigma[t].
    """
    a = schedule.alphas_cumprod[t]
    eps = policy.eps(x_t, cond, a.sqrt().expand(len(x_t), 1), frames)
    # Two factors, as maum-ai's buffers round: at small alpha-bar a fused form drifts from them.
    x_0 = (1 / a).sqrt() * x_t - (1 - a).sqrt() * (1 / a).sqrt() * eps
    return schedule.c_x0[t] * x_0.clamp(-1, 1) + schedule.c_xt[t] * x_t, x_0


def gaussian_log_prob(x: Tensor, mean: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """Log density of x (B, S) under N(mean, sigma^2); (B,), nats."""
    z = (x - mean) / sigma
    return ((-0.5 * z**2 - sigma.log() - 0.5 * math.log(2 * math.pi)) * mask).sum(-1)


def gaussian_kl(mean: Tensor, other: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
    """KL between two Gaussians of one sigma, sum (mean - other)^2 / (2 sigma^2); (B,), nats."""
    return ((mean - other) ** 2 * mask).sum(-1) / (2 * sigma**2)


def nats_in_unit(form: RatioForm, mask: Tensor) -> Tensor:
    """Nats in one unit of a ratio form, over the D real audio samples of each row; (B,).

    D for mean, sqrt D for standardised. Ratio, KL and log density are all divided by it.
    """
    count = mask.sum(-1).clamp(min=1.0)
    return count if form == "mean" else count.sqrt()


def log_ratio(
    form: RatioForm,
    action: Tensor,
    mean: Tensor,
    old_mean: Tensor,
    sigma: Tensor,
    mask: Tensor,
) -> Tensor:
    """log p_theta(action) - log p_old(action) of one transition; (B,).

    With eps = (action - old_mean) / sigma and delta = (mean - old_mean) / sigma, over the D
    real audio samples of a row:

    - mean: (1 / D) sum(eps delta - delta^2 / 2), nats per audio sample, exactly the difference
      of two `gaussian_log_prob` over D; its expectation is -mean(delta^2) / 2, so at waveform
      length the ratio falls below 1 whichever way the policy moves.
    - standardised: (1 / sqrt D) sum(eps delta): mean 0 and standard deviation rms(delta) for
      every timestep and every length, so one clip range fits all.

    At theta = theta_old both have the gradient of log p_theta, times 1 / D or 1 / sqrt D.
    """
    eps = (action - old_mean) / sigma
    delta = (mean - old_mean) / sigma
    each = eps * delta - 0.5 * delta**2 if form == "mean" else eps * delta
    return (each * mask).sum(-1) / nats_in_unit(form, mask)
