"""A narrow Base model with known weights, and everything maum-ai/wavegrad2 computed with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2

PARITY = Path(__file__).parents[2] / "data" / "parity"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small lose more to waiting for a second thread than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def parity() -> Path:
    return PARITY


@pytest.fixture(scope="session")
def small_config() -> ModelConfig:
    return ModelConfig(
        symbols=151,
        encoder_channels=32,
        encoder_kernel=5,
        encoder_layers=3,
        speaker_channels=8,
        duration_lstm=24,
        range_lstm=20,
        hop=300,
        sample_rate=22050,
        u_pre=48,
        u_out=(32, 32, 24, 16, 16),
        u_factors=(5, 5, 3, 2, 2),
        u_dilations=((1, 2, 4, 8),) * 3 + ((1, 2, 1, 2),) * 2,
        d_pre=8,
        d_out=(16, 16, 24, 32),
        d_dilations=((1, 2, 4),) * 4,
        window_frames=16,
    )


@pytest.fixture(scope="session")
def state() -> dict[str, Tensor]:
    return load_file(PARITY / "small_base_state_dict.safetensors")


@pytest.fixture(scope="session")
def vectors() -> dict[str, Tensor]:
    return load_file(PARITY / "small_base_vectors.safetensors")


@pytest.fixture(scope="session")
def gradients() -> dict[str, Tensor]:
    return load_file(PARITY / "small_base_grads.safetensors")


@pytest.fixture
def model(small_config: ModelConfig, state: dict[str, Tensor]) -> WaveGrad2:
    # Without storage there is no initial weight to compute, only the given one to take.
    with torch.device("meta"):
        model = WaveGrad2(small_config)
    model.load_state_dict({k: v.clone() for k, v in state.items()}, strict=True, assign=True)
    return model.eval()


@pytest.fixture
def model64(model: WaveGrad2) -> WaveGrad2:
    return model.double()


@pytest.fixture
def inputs(vectors: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """text, lengths, speakers, durations, frames: what `hidden` takes."""
    names = ("text", "input_lengths", "speakers", "duration_target", "output_lengths")
    return tuple(vectors[f"in.{name}"] for name in names)


@pytest.fixture
def sentences() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four rows of odd lengths, one of a single symbol: text, lengths, speakers, durations."""
    generator = torch.Generator().manual_seed(7)
    lengths = torch.tensor([7, 12, 1, 5])
    real = torch.arange(12) < lengths[:, None]
    text = torch.randint(1, 151, (4, 12), generator=generator) * real
    durations = torch.randint(0, 4, (4, 12), generator=generator) * real
    durations[:, 0] += 1
    return text, lengths, torch.zeros(4, dtype=torch.long), durations
