"""Loudness and clipping: cheap judges of what a MOS predictor normalises away."""

from __future__ import annotations

import torch
from torch import Tensor

from engine import audio
from engine.messages import Column


class Loudness:
    """Integrated loudness and the share of clipped audio samples; nothing to load."""

    name = "loudness"
    columns = (
        Column("loudness", "LUFS", None, -40.0, -10.0),
        Column("clipping", "share", False, 0.0, 0.1),
    )
    sample_rate_hz = 22050
    """The voices' own rate: resampling rounds clipped peaks off, so that they would not count."""
    differentiable = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        del device  # Works wherever the waves are.

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        """(B, S) -> (B, 2): LUFS, -inf for silence; share of |x| >= 0.999 in [0, 1]."""
        del texts
        lufs = audio.loudness_lufs(waves, self.sample_rate_hz)
        return torch.stack((lufs, audio.clipping_share(waves)), dim=-1)
