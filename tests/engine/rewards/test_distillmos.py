"""The real network on recorded speech: plausible, as its package says, and differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from engine import audio
from engine.rewards.base import ScoreError
from engine.rewards.distillmos import SEGMENT, DistillMOS, _segments

if TYPE_CHECKING:
    from .conftest import Clip


def test_speech_scores_high_and_noise_pulls_it_down(
    distillmos: DistillMOS, clips: tuple[Clip, ...]
) -> None:
    wave = clips[2].at_16_khz
    hiss = torch.randn(wave.shape, generator=torch.Generator().manual_seed(0))
    at_0_db = wave + hiss * wave.square().mean().sqrt()
    with torch.no_grad():
        clean, noisy = distillmos(torch.stack([wave, at_0_db])).flatten().tolist()
    assert 3.5 < clean < 5.0
    assert 1.0 < noisy < clean - 0.5


@pytest.fixture(scope="module")
def package() -> nn.Module:
    """The `distillmos` package's own model, whose forward ours has to equal."""
    audio.import_torchaudio()
    from distillmos import ConvTransformerSQAModel

    model: nn.Module = ConvTransformerSQAModel().eval()
    return model


def test_agrees_with_the_package(
    distillmos: DistillMOS, package: nn.Module, clips: tuple[Clip, ...]
) -> None:
    wave = clips[0].at_16_khz[None]
    with torch.no_grad():
        torch.testing.assert_close(distillmos(wave), package(wave), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(
    "length", [320, SEGMENT, SEGMENT + 1, SEGMENT + 16_000, SEGMENT + 50_001, 3 * SEGMENT]
)
def test_segments_are_the_packages(
    package: nn.Module, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Two rows cut as the package cuts them, seen where its network would see them."""

    class Seen(Exception):
        pass

    class Spy(nn.Module):
        def forward(self, segments: torch.Tensor) -> None:
            raise Seen(segments)

    monkeypatch.setitem(package._modules, "cnn", Spy())
    waves = torch.randn(2, length)
    with pytest.raises(Seen) as seen:
        package(waves)
    assert torch.equal(_segments(waves).flatten(0, 1), seen.value.args[0])


def test_a_batch_equals_its_rows(
    distillmos: DistillMOS, clips: tuple[Clip, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = [clip.at_16_khz for clip in clips[:2]]
    batch = torch.stack([wave[: min(map(len, waves))] for wave in waves])
    with torch.no_grad():
        rows = torch.cat([distillmos(row[None]) for row in batch])
        together = distillmos(batch)
        monkeypatch.setattr(distillmos, "_segments_at_once", 2)
        in_one_pass = distillmos(batch)
    assert rows.shape == (2, 1)
    assert torch.equal(together, rows)
    torch.testing.assert_close(in_one_pass, rows, atol=1e-4, rtol=0.0)


def test_the_gradient_points_uphill(distillmos: DistillMOS, clips: tuple[Clip, ...]) -> None:
    """Also through digital silence, where the package's own spectrum has a gradient of NaN."""
    wave = clips[1].at_16_khz.clone()
    wave[8_000:12_000] = 0.0
    wave.requires_grad_()
    score = distillmos(wave[None])
    score.sum().backward()
    assert wave.grad is not None
    assert bool(torch.isfinite(wave.grad).all())
    voiced = wave.grad.clone()
    voiced[8_000:12_000] = 0.0
    assert float(voiced.norm()) > 0.0
    uphill = wave.detach() + 1e-4 * voiced / voiced.norm()
    with torch.no_grad():
        assert float(distillmos(uphill[None])) > float(score.detach())
    assert not any(p.requires_grad for p in distillmos._network.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.randn(2, 319), "319 audio samples long at 16000 Hz.* needs 320 .20 ms"),
        (lambda: torch.zeros(1, 16_000), "silent throughout"),
        (lambda: torch.cat([torch.randn(1, 400), torch.zeros(1, 400)]), "silent throughout"),
    ],
)
def test_what_it_cannot_score(
    distillmos: DistillMOS, make: Callable[[], Tensor], message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        distillmos(make())


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    DistillMOS()
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
def test_a_gpu_gives_the_same_scores(distillmos: DistillMOS, clips: tuple[Clip, ...]) -> None:
    batch = clips[0].at_16_khz[None].repeat(40, 1)
    scores = DistillMOS("cuda")(batch)
    assert scores.is_cuda
    torch.testing.assert_close(
        scores.cpu(), distillmos(batch[:1]).expand(40, 1), atol=1e-2, rtol=0.0
    )
