"""Recorded speech at 16 kHz, the real models, each loaded once, and UTMOS made narrow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine import audio
from engine.rewards.distillmos import DistillMOS
from engine.rewards.dnsmos import DNSMOS
from engine.rewards.intelligibility import Intelligibility
from engine.rewards.utmos_weights import VARIABLE

DATA = Path(__file__).parents[2] / "data"
SPEECH = DATA / "speech"


@dataclass(frozen=True)
class Clip:
    wave: Tensor
    """(S,) at 22,050 Hz."""
    text: str

    @property
    def noisy(self) -> Tensor:
        """With white noise 10 dB under the speech."""
        noise = torch.randn(self.wave.shape, generator=torch.Generator().manual_seed(0))
        return self.wave + noise * self.wave.square().mean().div(10).sqrt()

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


@pytest.fixture(scope="session")
def dnsmos() -> DNSMOS:
    pytest.importorskip("speechmos")
    return DNSMOS()


@pytest.fixture
def noise() -> Tensor:
    """(32000,) white noise of RMS 0.1."""
    return torch.randn(32_000, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.fixture(scope="session")
def parity() -> dict[str, Tensor]:
    return load_file(DATA / "parity" / "utmos_small.safetensors")


@pytest.fixture(scope="session")
def state(parity: dict[str, Tensor]) -> dict[str, Tensor]:
    """The narrow UTMOS's tensors under the published names."""
    return {name[3:]: tensor for name, tensor in parity.items() if name.startswith("sd.")}


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Tensor]) -> Path:
    """A file of them as torch writes it."""
    path = tmp_path_factory.mktemp("weights") / "narrow.pt"
    torch.save(state, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that is not there yet, and no variable that names a file of UTMOS's."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / name)
    return tmp_path / "dlpo-tui"
