from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.model.upsampling import gaussian_upsampling


def test_alignment_matches_maum(vectors: dict[str, Tensor]) -> None:
    upsampled, alignment = gaussian_upsampling(
        vectors["memory"],
        vectors["in.duration_target"],
        vectors["range_predictor.sigma"],
        vectors["in.input_lengths"],
        int(vectors["in.output_lengths"].max()),
    )
    expected = vectors["gaussian_upsampling.alignment_BNT"]
    torch.testing.assert_close(alignment, expected, rtol=0, atol=1e-5)
    expected = vectors["gaussian_upsampling.upsampled_BTC"]
    torch.testing.assert_close(upsampled, expected, rtol=0, atol=1e-5)


def test_inference_alignment_matches_maum(vectors: dict[str, Tensor]) -> None:
    durations = vectors["resampling.inference.duration_frames"]
    sigma = vectors["resampling.inference.sigma"]
    _, alignment = gaussian_upsampling(
        vectors["memory"][:1], durations, sigma, torch.tensor([17]), int(durations.sum())
    )
    expected = vectors["resampling.inference.alignment"]
    torch.testing.assert_close(alignment, expected, rtol=0, atol=1e-5)


def test_two_symbols_by_hand() -> None:
    # Centres 1 and 3, sigma 1: at t = 2 both weigh the same; at t = 1 they differ by exp(-2).
    memory = torch.eye(2, dtype=torch.float64)[None]
    two = torch.full((1, 2), 2.0, dtype=torch.float64)
    upsampled, _ = gaussian_upsampling(memory, two, two / 2, torch.tensor([2]), 4)
    share = 1 / (1 + math.exp(-2))
    expected = torch.tensor([[share, 1 - share], [0.5, 0.5], [1 - share, share]])
    torch.testing.assert_close(upsampled[0, 1:], expected.double(), rtol=0, atol=1e-6)


def test_far_frames_underflow_to_zero() -> None:
    one = torch.ones(1, 1)
    upsampled, _ = gaussian_upsampling(torch.ones(1, 1, 3), one, one, torch.tensor([1]), 200)
    assert upsampled[0, 199].eq(0).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 4), st.integers(0, 5))
def test_padding_changes_nothing(durations: list[int], symbols: int, frames: int) -> None:
    generator = torch.Generator().manual_seed(len(durations))
    count, longest = len(durations), sum(durations) + 1
    memory = torch.randn(1, count, 2, generator=generator, dtype=torch.float64)
    sigma = torch.rand(1, count, generator=generator, dtype=torch.float64) + 0.1
    lengths = torch.tensor([count])
    alone, _ = gaussian_upsampling(memory, torch.tensor([durations]), sigma, lengths, longest)
    padded, _ = gaussian_upsampling(
        torch.cat((memory, torch.ones(1, symbols, 2).double()), 1),
        torch.tensor([durations + [3] * symbols]),
        torch.cat((sigma, torch.ones(1, symbols).double()), 1),
        lengths,
        longest + frames,
    )
    torch.testing.assert_close(padded[:, :longest], alone, rtol=0, atol=1e-12)
