"""Linear interpolation in time, and a convolution of what it gives; pure functions.

Half-pixel centres and explicit lengths, as in maum-ai's network (spec section 6).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WORTHWHILE = 3
"""Factor from which on `convolve_upsampled` is faster: what it saves in multiplications grows
with it, and what it moves through memory does not. Measured on a CPU with AVX2."""


def upsample(x: Tensor, factor: int) -> Tensor:
    """Linear interpolation (B, C, T) -> (B, C, T x factor), half-pixel centres, edges held."""
    if factor == 1:
        return x
    if x.device.type == "cpu":
        return F.interpolate(x, size=x.shape[-1] * factor, mode="linear", align_corners=False)
    return upsample_by_lerp(x, factor)


def upsample_by_lerp(x: Tensor, factor: int) -> Tensor:
    """`upsample`, in x's dtype, out of operations that a GPU has fast kernels for.

    CUDA's linear interpolation gives a thread one moment of all rows and channels: two thirds of
    a training step on an H200 went there.
    """
    before = torch.cat((x[..., :1], x[..., :-1]), dim=-1)
    behind = torch.cat((x[..., 1:], x[..., -1:]), dim=-1)
    places = (torch.arange(factor, device=x.device) + 0.5) / factor - 0.5
    first = factor // 2  # outputs that lie before the middle of their input
    left = torch.lerp(x[..., None], before[..., None], -places[:first].to(x.dtype))
    right = torch.lerp(x[..., None], behind[..., None], places[first:].to(x.dtype))
    return torch.cat((left, right), dim=-1).flatten(-2)


def downsample(x: Tensor, factor: int) -> Tensor:
    """Linear interpolation (B, C, T) -> (B, C, T / factor) with half-pixel centres.

    Each output lies at the middle of its factor inputs: the middle one of an odd number, the
    mean of the middle two of an even number. T is a multiple of the factor.
    """
    if factor % 2:
        return x[..., factor // 2 :: factor]
    return (x[..., factor // 2 - 1 :: factor] + x[..., factor // 2 :: factor]) / 2


def hold_edge(x: Tensor, real: Tensor) -> Tensor:
    """Repeats each row's last real value once behind it, as interpolation does at a true edge.

    x (B, C, T), real (B, 1, T) bool: True, then False.
    """
    just_behind = F.pad(real[..., :-1], (1, 0), value=True) & ~real
    return torch.where(just_behind, F.pad(x[..., :-1], (1, 0)), x)


def convolve_upsampled(
    x: Tensor,
    factor: int,
    weight: Tensor,
    bias: Tensor | None,
    dilation: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Convolution (B, C_out, T x factor) of three taps of `upsample(x, factor)`, its length kept.

    conv(up(x)) = sum over taps k of shift_k(up(W_k x)): interpolation works along time alone and
    mixing channels works across them, so the channels are mixed at the low rate, with factor
    times fewer multiplications. The sum is taken in another order, so the last bits differ.

    Args:
        x: (B, C_in, T)
        factor: above 1
        weight: (C_out, C_in, 3)
        bias: (C_out,)
        dilation: between two taps.
        mask: (B, 1, T x factor) where the upsampled signal is real; elsewhere it counts as 0.
    """
    out, inside, taps = weight.shape
    mixed = F.conv1d(x, weight.permute(2, 0, 1).reshape(taps * out, inside, 1))
    spread = upsample(mixed, factor)
    if mask is not None:
        spread = spread * mask
    before, here, behind = spread.split(out, dim=1)
    y = here if bias is None else here + bias[:, None].to(here.dtype)
    y = y + F.pad(before, (dilation, 0))[..., : y.shape[-1]]
    summed: Tensor = y + F.pad(behind, (0, dilation))[..., dilation:]
    return summed
