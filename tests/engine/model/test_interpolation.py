"""Interpolation in time, and what may be done before it instead of after."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from engine.model.interpolation import (
    convolve_upsampled,
    downsample,
    hold_edge,
    upsample,
    upsample_by_lerp,
)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([2, 3, 5]), st.integers(1, 7), st.integers(0, 3))
def test_held_edge_upsamples_as_alone(factor: int, real: int, padding: int) -> None:
    generator = torch.Generator().manual_seed(real)
    x = torch.randn(1, 2, real + padding, generator=generator, dtype=torch.float64)
    mask = (torch.arange(real + padding) < real)[None, None]
    held = upsample(hold_edge(x, mask), factor)[..., : real * factor]
    torch.testing.assert_close(held, upsample(x[..., :real], factor))


@pytest.mark.parametrize("length", [1, 2, 9])
@pytest.mark.parametrize("factor", [2, 3, 4, 5, 7])
def test_a_gpus_upsampling_is_the_same_linear_interpolation(factor: int, length: int) -> None:
    x = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0), requires_grad=True)
    found, wanted = upsample_by_lerp(x, factor), upsample(x, factor)
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-6)
    weight = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    (one,) = torch.autograd.grad((found * weight).sum(), x)
    (other,) = torch.autograd.grad((wanted * weight).sum(), x)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert upsample_by_lerp(x.bfloat16(), factor).dtype == torch.bfloat16


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_downsample_is_linear_interpolation(factor: int) -> None:
    x = torch.randn(2, 3, 6 * factor, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, size=6, mode="linear", align_corners=False)
    torch.testing.assert_close(downsample(x, factor), expected)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([2, 3, 5]), st.integers(1, 9), st.integers(1, 4), st.booleans(), st.booleans()
)
def test_channels_mixed_before_the_upsampling_are_the_convolution_behind_it(
    factor: int, length: int, dilation: int, biased: bool, masked: bool
) -> None:
    drawn = torch.Generator().manual_seed(length + 10 * dilation)
    x = torch.randn(2, 3, length, generator=drawn, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, generator=drawn, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, generator=drawn, dtype=torch.float64) if biased else None
    real = torch.tensor([length, max(length - 2, 1)]) * factor
    mask = (torch.arange(length * factor) < real[:, None])[:, None] if masked else None

    seen = upsample(x, factor) if mask is None else upsample(x, factor) * mask
    wanted = F.conv1d(seen, weight, bias, padding=dilation, dilation=dilation)
    found = convolve_upsampled(x, factor, weight, bias, dilation, mask)
    torch.testing.assert_close(found, wanted)
    asked = torch.randn(wanted.shape, generator=drawn, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad((found * asked).sum(), (x, weight)),
        torch.autograd.grad((wanted * asked).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
