from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.data import SAMPLE_RATE_HZ
from engine.diffusion.process import p_mean
from engine.diffusion.schedule import NoiseSchedule, build
from engine.profile import ScheduleSpec
from engine.spectra import envelope_distance, mel_filters
from engine.supervised.own_chain import Casting, chain_loss, finish
from engine.types import HOP
from tests.voices import tiny_model

FRAMES = 6
CHAIN = build(ScheduleSpec("snr", timesteps=4, sampler="ddim", eta=0.5))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cond(channels: int, rows: int = 2) -> Tensor:
    return torch.randn(rows, channels, FRAMES, generator=rng(1))


class Scaled:
    """Says that a share of the audio is noise: a chain of one weight, which can be written out."""

    def __init__(self, share: float) -> None:
        self.share = torch.tensor(share, requires_grad=True)

    def __call__(self, x_t: Tensor, cond: Tensor, level: Tensor) -> Tensor:
        return self.share * x_t


def written_out(share: Tensor, chain: NoiseSchedule, trained: int) -> Tensor:
    numbers, shape = rng(), (2, FRAMES * HOP)
    x = torch.randn(shape, generator=numbers)
    for t in reversed(range(chain.timesteps)):
        a, own = chain.alphas_cumprod[t], share if t < trained else share.detach()
        x_0 = ((x - (1 - a).sqrt() * own * x) / a.sqrt()).clamp(-1, 1)
        x = chain.c_x0[t] * x_0 + chain.c_xt[t] * x
        if t == trained:
            x = x.detach()
        if t > 0:
            x = x + chain.sigma[t] * torch.randn(shape, generator=numbers)
    return x.clamp(-1, 1)


@pytest.mark.parametrize("trained", [1, 2, 4, 9])
def test_a_finished_clip_and_its_gradient_are_those_of_the_chain_written_out(trained: int) -> None:
    predict = Scaled(0.97)
    found = finish(Casting(predict), CHAIN, cond(3), trained, rng())
    expected = written_out(predict.share, CHAIN, trained)
    assert torch.allclose(found, expected, atol=1e-6)
    (own,) = torch.autograd.grad(found.square().sum(), predict.share)
    (other,) = torch.autograd.grad(expected.square().sum(), predict.share)
    assert float(own) != 0
    assert float(own) == pytest.approx(float(other), rel=1e-4)


def test_timesteps_that_are_only_run_have_no_gradient() -> None:
    predict = Scaled(0.97)
    assert not finish(Casting(predict), CHAIN, cond(3), 0, rng()).requires_grad
    sizes = []
    for trained in (1, 4):
        clips = finish(Casting(predict), CHAIN, cond(3), trained, rng())
        sizes.append(float(torch.autograd.grad(clips.square().sum(), predict.share)[0]))
    assert sizes[0] != sizes[1]


def test_the_decoder_itself_goes_through_the_transitions_of_a_session() -> None:
    model = tiny_model()
    told = cond(model.config.cond_channels)
    found = finish(Casting(model.decoder.predict_noise), CHAIN, told, 2, rng())
    numbers = rng()
    x = torch.randn(found.shape, generator=numbers)
    for t in reversed(range(CHAIN.timesteps)):
        x, _ = p_mean(model.decoder, CHAIN, x, told, t)
        if t > 0:
            x = x + CHAIN.sigma[t] * torch.randn(found.shape, generator=numbers)
    assert torch.allclose(found, x.clamp(-1, 1), atol=1e-6)


def test_the_loss_is_the_envelope_distance_of_the_clips_and_reaches_every_weight() -> None:
    model, filters = tiny_model(), mel_filters(torch.device("cpu"), SAMPLE_RATE_HZ)
    policy, told = Casting(model.decoder.predict_noise), cond(model.config.cond_channels)
    wave = 0.08 * torch.randn(2, FRAMES * HOP, generator=rng(2))
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    loss = chain_loss(policy, CHAIN, wave, told, filters, 3, rng())
    clips = finish(policy, CHAIN, told, 3, rng())
    expected = float(envelope_distance(clips, wave, filters).mean().detach())
    assert float(loss.detach()) == pytest.approx(expected)
    loss.backward()
    for name, parameter in model.decoder.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_under_autocast_the_chain_stays_in_fp32() -> None:
    model = tiny_model()
    told = cond(model.config.cond_channels)
    plain = finish(Casting(model.decoder.predict_noise), CHAIN, told, 0, rng())
    cast = finish(Casting(model.decoder.predict_noise, torch.bfloat16), CHAIN, told, 0, rng())
    assert cast.dtype == torch.float32
    assert 0 < float((cast - plain).abs().mean()) < 0.05
