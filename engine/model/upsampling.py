"""Gaussian upsampling: one vector per symbol to one vector per frame. Pure functions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.types import frame_mask

MIN_SIGMA = 1e-8
"""Frames; the standard deviation of padding, and the least of any symbol."""


def gaussian_upsampling(
    memory: Tensor, durations: Tensor, sigma: Tensor, lengths: Tensor, longest: int
) -> tuple[Tensor, Tensor]:
    """Spreads each symbol over the frames around its centre.

    c_i = d_1 + ... + d_i - d_i / 2;  w_it = N(t; c_i, sigma_i) for t = 0 ... T-1;
    a_it = w_it / (sum_i w_it + 1e-8);  out_t = sum_i a_it memory_i.
    Frames far from every symbol underflow to a zero vector.

    Args:
        memory: (B, N, C) a vector for each symbol.
        durations: (B, N) frames.
        sigma: (B, N) frames.
        lengths: (B,) real symbols of each row; the others weigh nothing.
        longest: T.

    Returns:
        upsampled (B, T, C), alignment (B, N, T).

    Source: Non-Attentive Tacotron, arXiv 2010.04301, section 3.1; the 1e-8 and whole t as in
    maum-ai/wavegrad2 (spec section 4).
    """
    durations = durations.to(sigma.dtype)
    centre = durations.cumsum(-1) - durations / 2
    t = torch.arange(longest, device=sigma.device, dtype=sigma.dtype)
    z = (t - centre[..., None]) / sigma[..., None]
    weight = torch.exp(-0.5 * z * z) / (sigma[..., None] * math.sqrt(2 * math.pi))
    weight = weight * frame_mask(lengths, memory.shape[1])[..., None].bool()
    alignment = weight / (weight.sum(1, keepdim=True) + 1e-8)
    return alignment.transpose(1, 2).to(memory.dtype) @ memory, alignment
