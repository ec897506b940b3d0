"""A tiny WaveGrad 2 decoder, a policy of three weights, and conditioning to feed them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.types import HOP, Conditioning, Policy, frame_mask

settings.register_profile("fuzz", max_examples=5000)
"""For minutes of `make fuzz`; without it a property has a hundred examples."""


class ThreeWeights(Policy):
    """eps = gain x_t + shift + voice mean(cond), zero behind each row's frames."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.7))
        self.shift = nn.Parameter(torch.tensor(0.05))
        self.voice = nn.Parameter(torch.tensor(0.2))

    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        spread = cond.mean(1).repeat_interleave(HOP, dim=-1)
        eps = self.gain * noise_level * x_t + self.shift + self.voice * spread
        if frames is None:
            return eps
        return eps * frame_mask(frames, cond.shape[-1]).repeat_interleave(HOP, dim=-1)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small lose more to waiting for a second thread than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def restored_threads() -> Iterator[None]:
    """A session sets the process's threads; they are put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        symbols=151,
        encoder_channels=6,
        encoder_kernel=3,
        encoder_layers=1,
        speaker_channels=2,
        duration_lstm=4,
        range_lstm=4,
        hop=HOP,
        sample_rate=22050,
        u_pre=8,
        u_out=(8, 8, 6, 4, 4),
        u_factors=(5, 5, 3, 2, 2),
        u_dilations=((1, 2, 4, 8),) * 3 + ((1, 2, 1, 2),) * 2,
        d_pre=4,
        d_out=(4, 4, 6, 8),
        d_dilations=((1, 2, 4),) * 4,
        window_frames=4,
    )


@pytest.fixture
def tiny_decoder(tiny_config: ModelConfig) -> Decoder:
    """The real network, with weights that are random and always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Decoder(tiny_config).eval()


@pytest.fixture
def three_weights() -> Policy:
    return ThreeWeights()


@pytest.fixture(scope="session")
def conditioning(tiny_config: ModelConfig) -> Callable[[tuple[int, ...]], Conditioning]:
    """Frames of each row -> conditioning as the front end returns it, random by row and length."""

    def make(frames: tuple[int, ...]) -> Conditioning:
        cond = torch.zeros(len(frames), tiny_config.cond_channels, max(frames))
        for row, count in enumerate(frames):
            own = torch.Generator().manual_seed(row)
            cond[row, :, :count] = torch.randn(cond.shape[1], count, generator=own)
        return Conditioning(cond, torch.tensor(frames))

    return make
