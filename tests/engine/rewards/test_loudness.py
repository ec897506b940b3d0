from __future__ import annotations

import math

import torch

from engine.rewards.loudness import Loudness


def test_loudness_and_clipping_of_each_row() -> None:
    n = torch.arange(22_050)
    tone = torch.sin(2.0 * math.pi * 997.0 / 22_050 * n)
    waves = torch.stack([0.1 * tone, (2.0 * tone).clamp(-1.0, 1.0)])
    (lufs, clipping), (lufs_clipped, clipping_clipped) = Loudness()(waves, ("", "")).tolist()
    assert math.isclose(lufs, -23.0, abs_tol=0.05)
    assert clipping == 0.0
    # |2 sin| >= 1 over two thirds of a period.
    assert math.isclose(clipping_clipped, 2.0 / 3.0, abs_tol=0.01)
    assert lufs_clipped > lufs + 20.0


def test_silence_is_not_a_number_to_be_charted() -> None:
    assert Loudness()(torch.zeros(1, 22_050), ("",)).tolist() == [[-math.inf, 0.0]]
