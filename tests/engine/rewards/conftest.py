"""Recorded speech at 16 kHz, and the real models, each loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import audio
from engine.rewards.distillmos import DistillMOS
from engine.rewards.intelligibility import Intelligibility

SPEECH = Path(__file__).parents[2] / "data" / "speech"


@dataclass(frozen=True)
class Clip:
    wave: Tensor
    """(S,) at 22,050 Hz."""
    text: str

    @property
    def at_16_khz(self) -> Tensor:
        return audio.resample(self.wave, 22_050, 16_000)


@pytest.fixture(scope="session")
def clips() -> tuple[Clip, ...]:
    """Three recorded clips of different lengths."""
    return tuple(
        Clip(audio.read(SPEECH / f"{name}.flac")[0], text)
        for name, text in {
            "arctic_a0102_1592746203": "He will follow us soon.",
            "arctic_a0242_1592711518": "I saw it when she rolled.",
            "arctic_a0351_1592708910": "It was more like sugar.",
        }.items()
    )


@pytest.fixture(scope="session")
def distillmos() -> DistillMOS:
    return DistillMOS()


@pytest.fixture(scope="session")
def intelligibility() -> Intelligibility:
    return Intelligibility()


@pytest.fixture
def noise() -> Tensor:
    """(32000,) white noise of RMS 0.1."""
    return torch.randn(32_000, generator=torch.Generator().manual_seed(0)) * 0.1
