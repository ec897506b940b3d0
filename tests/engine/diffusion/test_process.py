from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.diffusion.process import (
    gaussian_kl,
    gaussian_log_prob,
    log_ratio,
    nats_in_unit,
    p_mean,
    q_sample,
)
from engine.diffusion.schedule import from_betas, linear, respaced
from engine.types import HOP, Policy

FORMS = ("mean", "standardised")
seeds = st.integers(0, 2**32 - 1)
sigmas = st.floats(1e-3, 2.0)


class Known(Policy):
    """A network that answers what it was told to."""

    def __init__(self, eps: Tensor) -> None:
        super().__init__()
        self.output = eps
        self.levels: list[Tensor] = []

    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        self.levels.append(noise_level)
        return self.output


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def transition(seed: int, sigma: float, rows: int = 3, samples: int = 40) -> tuple[Tensor, ...]:
    """action, mean, old_mean, sigma, mask of a transition drawn from the old policy."""
    z, old, step = normal(seed, 3, rows, samples)
    lengths = torch.arange(rows) * 7 + samples - 7 * (rows - 1)
    mask = (torch.arange(samples) < lengths[:, None]).double()
    spread = torch.tensor(sigma, dtype=torch.float64)
    return old + spread * z, old + 0.3 * spread * step, old, spread, mask


# --- the process


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(0, 9))
def test_the_true_noise_gives_the_clean_speech_back(seed: int, t: int) -> None:
    chain = from_betas(respaced(10))
    x_0 = normal(seed, 2, HOP, dtype=torch.float32).clamp(-3, 3) / 4
    eps = normal(seed + 1, 2, HOP, dtype=torch.float32)
    x_t = q_sample(chain, x_0, t, eps)
    a = chain.alphas_cumprod[t]
    torch.testing.assert_close(x_t, a.sqrt() * x_0 + (1 - a).sqrt() * eps)
    _, estimate = p_mean(Known(eps), chain, x_t, torch.zeros(2, 1, 1), t)
    torch.testing.assert_close(estimate, x_0, rtol=0, atol=5e-5)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 40), st.data())
def test_the_mean_is_maums_posterior_mean(seed: int, timesteps: int, data: st.DataObject) -> None:
    """beta sqrt(a') / (1 - a) clamp(x_0) + (1 - a') sqrt(1 - beta) / (1 - a) x_t, in fp64."""
    t = data.draw(st.integers(0, timesteps - 1))
    beta = respaced(timesteps).double()
    chain = from_betas(beta)
    a = (1 - beta).cumprod(0)
    before = a[t - 1] if t else torch.ones(())
    x_t, eps = normal(seed, 2, 2, HOP)
    policy = Known(eps)
    mean, estimate = p_mean(policy, chain, x_t, torch.zeros(2, 1, 1), t)
    x_0 = (x_t - (1 - a[t]).sqrt() * eps) / a[t].sqrt()
    torch.testing.assert_close(estimate, x_0)
    expected = beta[t] * before.sqrt() / (1 - a[t]) * x_0.clamp(-1, 1)
    expected += (1 - before) * (1 - beta[t]).sqrt() / (1 - a[t]) * x_t
    torch.testing.assert_close(mean, expected)
    (level,) = policy.levels
    torch.testing.assert_close(level, a[t].sqrt().expand(2, 1))


def test_the_clean_estimate_is_clamped_in_the_mean_alone() -> None:
    chain = from_betas(linear(10))
    eps = torch.full((1, HOP), 50.0, requires_grad=True)
    x_t = torch.zeros(1, HOP)
    mean, estimate = p_mean(Known(eps), chain, x_t, torch.zeros(1, 1, 1), 9)
    assert bool((estimate < -1).all())
    torch.testing.assert_close(mean, (-chain.c_x0[9]).expand(1, HOP))
    (gradient,) = torch.autograd.grad(mean.sum(), eps)
    assert not bool(gradient.any())


# --- the Gaussian's numbers


@settings(deadline=None, max_examples=50)
@given(seeds, sigmas)
def test_log_prob_is_torchs(seed: int, sigma: float) -> None:
    x, mean, _, spread, mask = transition(seed, sigma)
    each = torch.distributions.Normal(mean, spread).log_prob(x) * mask
    torch.testing.assert_close(gaussian_log_prob(x, mean, spread, mask), each.sum(-1))


@settings(deadline=None, max_examples=50)
@given(seeds, sigmas)
def test_kl_is_torchs_and_never_negative(seed: int, sigma: float) -> None:
    _, mean, other, spread, mask = transition(seed, sigma)
    found = gaussian_kl(mean, other, spread, mask)
    normal_ = torch.distributions.Normal
    each = torch.distributions.kl_divergence(normal_(mean, spread), normal_(other, spread))
    torch.testing.assert_close(found, (each * mask).sum(-1))
    assert bool((found > 0).all())
    assert not bool(gaussian_kl(mean, mean, spread, mask).any())


def test_kl_equals_its_monte_carlo_estimate() -> None:
    dimensions, draws = 20, 20_000
    mean, other = 0.1 * normal(3, 2, 1, dimensions)
    sigma, mask = torch.tensor(0.4, dtype=torch.float64), torch.ones(draws, dimensions)
    x = mean + sigma * normal(4, draws, dimensions)
    old, new = (gaussian_log_prob(x, m, sigma, mask) for m in (mean, other))
    sampled = old - new
    error = float(sampled.std()) / math.sqrt(draws)
    exact = float(gaussian_kl(mean, other, sigma, mask[:1]))
    assert error < 0.1 * exact
    assert abs(float(sampled.mean()) - exact) < 4 * error


# --- the ratio


@settings(deadline=None, max_examples=50)
@given(seeds, sigmas)
def test_the_mean_form_is_a_difference_of_log_probs(seed: int, sigma: float) -> None:
    action, mean, old, spread, mask = transition(seed, sigma)
    expected = gaussian_log_prob(action, mean, spread, mask)
    expected -= gaussian_log_prob(action, old, spread, mask)
    found = log_ratio("mean", action, mean, old, spread, mask)
    torch.testing.assert_close(found, expected / mask.sum(-1), rtol=1e-6, atol=1e-9)


def test_a_unit_of_the_ratio_counts_the_real_audio_samples_alone() -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert nats_in_unit("mean", mask).tolist() == [4.0, 1.0, 1.0]
    assert nats_in_unit("standardised", mask).tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, sigma=sigmas)
def test_the_ratio_is_1_where_the_policy_did_not_move(form: str, seed: int, sigma: float) -> None:
    action, _, old, spread, mask = transition(seed, sigma)
    assert not bool(log_ratio(form, action, old, old, spread, mask).any())


def moved(samples: int, sigma: float, delta: float, draws: int) -> tuple[Tensor, ...]:
    """Actions of the old policy, and a new mean that lies `delta` sigma away in rms."""
    spread = torch.tensor(sigma)
    old = normal(11, 1, samples, dtype=torch.float32)
    step = normal(12, 1, samples, dtype=torch.float32)
    step = delta * step / step.square().mean().sqrt()
    action = old + spread * normal(13, draws, samples, dtype=torch.float32)
    return action, old + spread * step, old, spread, torch.ones(draws, samples)


@pytest.mark.parametrize(("samples", "draws"), [(300, 4000), (3000, 1000)])
@pytest.mark.parametrize("sigma", [1e-2, 0.9])
def test_the_standardised_form_has_mean_0_and_std_delta_at_any_length_and_noise(
    samples: int, draws: int, sigma: float
) -> None:
    found = log_ratio("standardised", *moved(samples, sigma, 0.05, draws))
    assert abs(float(found.mean())) < 4 * 0.05 / math.sqrt(draws)
    assert abs(float(found.std()) / 0.05 - 1) < 4 / math.sqrt(2 * draws)


def test_the_mean_form_leans_below_1_whichever_way_the_policy_moves() -> None:
    for delta in (0.1, -0.1):
        found = log_ratio("mean", *moved(3000, 0.5, delta, 500))
        error = abs(delta) / math.sqrt(3000 * 500)
        assert abs(float(found.mean()) + delta**2 / 2) < 4 * error
        assert 4 * error < delta**2 / 2


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, sigma=st.floats(0.05, 2.0))
def test_at_theta_old_the_gradient_is_that_of_log_p(form: str, seed: int, sigma: float) -> None:
    action, _, old, spread, mask = transition(seed, sigma)
    mean = old.clone().requires_grad_()
    unit = nats_in_unit(form, mask)
    total = gaussian_log_prob(action, mean, spread, mask)
    (score,) = torch.autograd.grad(total.sum(), mean)
    ratio = log_ratio(form, action, mean, old, spread, mask)
    (found,) = torch.autograd.grad(ratio.sum(), mean)
    torch.testing.assert_close(found, score / unit[:, None])


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=25)
@given(seed=seeds, sigma=st.floats(0.05, 2.0), beta=st.floats(0.01, 4.0))
def test_ratio_and_kl_in_one_unit_trade_off_as_in_nats(
    form: str, seed: int, sigma: float, beta: float
) -> None:
    """grad(log rho - beta KL / unit) = grad(log p - beta KL) / unit, at any noise and length."""
    action, reference, old, spread, mask = transition(seed, sigma)
    mean, unit = old.clone().requires_grad_(), nats_in_unit(form, mask)
    nats = gaussian_log_prob(action, mean, spread, mask)
    nats -= beta * gaussian_kl(mean, reference, spread, mask)
    ours = log_ratio(form, action, mean, old, spread, mask)
    ours -= beta * gaussian_kl(mean, reference, spread, mask) / unit
    (expected,) = torch.autograd.grad(nats.sum(), mean)
    (found,) = torch.autograd.grad(ours.sum(), mean)
    torch.testing.assert_close(found, expected / unit[:, None])


@settings(deadline=None, max_examples=25)
@given(seeds, sigmas, st.integers(1, 50))
def test_padding_changes_nothing(seed: int, sigma: float, padding: int) -> None:
    action, mean, old, spread, mask = transition(seed, sigma)
    junk = normal(seed + 1, 3, padding)
    wide = [torch.cat((x, (i + 1) * junk), dim=-1) for i, x in enumerate((action, mean, old))]
    wider = torch.cat((mask, torch.zeros(3, padding)), dim=-1)
    for form in FORMS:
        torch.testing.assert_close(
            log_ratio(form, *wide, spread, wider),
            log_ratio(form, action, mean, old, spread, mask),
        )
    torch.testing.assert_close(
        gaussian_kl(wide[1], wide[2], spread, wider), gaussian_kl(mean, old, spread, mask)
    )
    torch.testing.assert_close(
        gaussian_log_prob(wide[0], wide[1], spread, wider),
        gaussian_log_prob(action, mean, spread, mask),
    )
