"""WaveGrad 2's sampler as one reads it in maum-ai's description: what speed is measured against.

One clip at a time, fp32, every layer a call of its own, no masks, no microbatches, nothing kept
from one timestep to the next (spec sections 6 and 7). Takes its weights from a `Decoder` by
name and shares no code with it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.diffusion.schedule import NoiseSchedule
from engine.model.config import ModelConfig

Weights = dict[str, Tensor]


def convolve(weights: Weights, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    """The named convolution of x (1, C, T), its length kept."""
    kernel = weights[f"{name}.conv1d.weight"]
    padding = dilation * (kernel.shape[-1] - 1) // 2
    return F.conv1d(x, kernel, weights[f"{name}.conv1d.bias"], padding=padding, dilation=dilation)


def resize(x: Tensor, length: int) -> Tensor:
    if x.shape[-1] == length:
        return x
    return F.interpolate(x, size=length, mode="linear", align_corners=False)


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def sinusoids(level: Tensor, channels: int, scale: float) -> Tensor:
    """(C,) of a noise level ()."""
    half = channels // 2
    angle = scale * level * torch.tensor([10 ** (-4 * k / half) for k in range(half)])
    return torch.cat((angle.sin(), angle.cos()))


def predict_noise(
    weights: Weights, config: ModelConfig, y: Tensor, hidden: Tensor, level: Tensor
) -> Tensor:
    """Noise (1, S) in y (1, S), given hidden (1, C, M) and a level (); Base's blocks only."""
    signals = downwards(weights, config, y)
    films = [modulation(weights, config, i, x, level) for i, x in enumerate(signals)]
    out = upwards(weights, config, hidden, films)
    if not config.speech_rms:
        return out
    noise = 1 - level**2  # this project's own voices: the best linear guess, and what it leaves
    v = (level * config.speech_rms) ** 2 + noise
    return noise.sqrt() / v * y + level * config.speech_rms / v.sqrt() * out


def downwards(weights: Weights, config: ModelConfig, y: Tensor) -> list[Tensor]:
    """What each FiLM reads, finest first."""
    x = convolve(weights, "dblock_preconv", y[:, None])
    seen = [x]
    for i, (factor, dilations) in enumerate(zip(config.d_factors, config.d_dilations, strict=True)):
        length, name = x.shape[-1] // factor, f"dblocks.{i}"
        residual = resize(convolve(weights, f"{name}.residual_branch.0", x), length)
        x = resize(x, length)
        for place, dilation in enumerate(dilations, start=0 if factor == 1 else 1):
            one = f"{name}.main_branch.{place}.convolution"
            x = convolve(weights, one, activate(x), dilation)
        x = x + residual
        seen.append(x)
    return seen


def modulation(
    weights: Weights, config: ModelConfig, i: int, x: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    """Scale and shift of FiLM i."""
    u = activate(convolve(weights, f"films.{i}.signal_conv.0", x))
    u = u + sinusoids(level, u.shape[1], config.position_scale)[None, :, None]
    scale = convolve(weights, f"films.{i}.scale_conv", u)
    return scale, convolve(weights, f"films.{i}.shift_conv", u)


def upwards(
    weights: Weights, config: ModelConfig, hidden: Tensor, films: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """(1, S) from hidden (1, C, M)."""
    x = convolve(weights, "ublock_preconv", hidden)
    levels = zip(config.u_factors, config.u_dilations, films[::-1], strict=True)
    for i, (factor, (a, b, c, d), (scale, shift)) in enumerate(levels):
        first, second = (f"ublocks.{i}.{part}_block_main_branch" for part in ("first", "second"))
        entry = "noupsampling.1" if factor == 1 else "upsampling.2"
        beside = convolve(weights, f"ublocks.{i}.first_block_residual_branch.0", x)
        length = x.shape[-1] * factor
        y = convolve(weights, f"{first}.{entry}", resize(activate(x), length), a)
        y = activate(scale * y + shift)
        y = convolve(weights, f"{first}.modulation.convolution", y, b) + resize(beside, length)
        z = activate(scale * y + shift)
        z = convolve(weights, f"{second}.modulation_0.convolution", z, c)
        z = activate(scale * z + shift)
        x = y + convolve(weights, f"{second}.modulation_1.convolution", z, d)
    return convolve(weights, "ublock_postconv", x)[:, 0]


@torch.no_grad()
def sample(
    weights: Weights,
    config: ModelConfig,
    schedule: NoiseSchedule,
    hidden: Tensor,
    noise: list[Tensor],
) -> Tensor:
    """A clip (1, S) of hidden (1, C, M): DDPM's chain from noise[T] (1, S) on, noise[t] added."""
    y = noise[schedule.timesteps]
    for t in reversed(range(schedule.timesteps)):
        alpha_bar = schedule.alphas_cumprod[t]
        eps = predict_noise(weights, config, y, hidden, alpha_bar.sqrt())
        x_0 = (1 / alpha_bar).sqrt() * y - (1 - alpha_bar).sqrt() * (1 / alpha_bar).sqrt() * eps
        y = schedule.c_x0[t] * x_0.clamp(-1, 1) + schedule.c_xt[t] * y
        if t > 0:
            y = y + schedule.sigma[t] * noise[t]
    return y.clamp(-1, 1 - 2**-10)
