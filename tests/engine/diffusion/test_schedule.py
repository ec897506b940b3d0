from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.diffusion import schedule as s
from engine.diffusion.process import p_mean
from engine.profile import ProfileError, ScheduleSpec
from engine.types import HOP, Policy

PARITY = Path(__file__).parents[2] / "data" / "parity"
END = 0.006623
"""alpha-bar where maum's 1000 training timesteps end."""

counts = st.integers(1, 100)
etas = st.floats(0.0, 1.0)
every_kind = pytest.mark.parametrize(
    "spec",
    [
        ScheduleSpec(),
        ScheduleSpec(power=2.0),
        ScheduleSpec("linear", 10),
        ScheduleSpec("linear", 1000),
        ScheduleSpec("snr"),
        ScheduleSpec("snr", 1),
        ScheduleSpec("snr", 6, low_db=-44.0, high_db=38.0, sampler="ddim", eta=0.5),
        ScheduleSpec("manual8"),
        ScheduleSpec("betas", betas=(0.1, 0.5, 0.9)),
        ScheduleSpec(sampler="ddim", eta=0.5),
        ScheduleSpec(sampler="ddim", eta=0.0),
    ],
    ids=str,
)


class Constant(Policy):
    """A network whose output is itself the parameter."""

    def __init__(self, eps: Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(eps)

    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        return self.output


def test_the_training_schedule_has_maums_buffers() -> None:
    theirs = load_file(PARITY / "small_base_vectors.safetensors")
    ours = s.from_betas(s.linear(1000))

    def equal(name: str, found: Tensor) -> None:
        torch.testing.assert_close(found, theirs[f"schedule1000.{name}"], rtol=1e-5, atol=1e-7)

    equal("betas", ours.betas)
    equal("alphas_cumprod", ours.alphas_cumprod)
    equal("posterior_mean_coef1", ours.c_x0)
    equal("posterior_mean_coef2", ours.c_xt)
    equal("sqrt_alphas_cumprod_prev", torch.cat((torch.ones(1), ours.levels)))
    log_variance = theirs["schedule1000.posterior_log_variance_clipped"][1:]
    torch.testing.assert_close(ours.sigma[1:], (0.5 * log_variance).exp(), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("betas", "end"),
    [
        (s.linear(1000), END),
        (s.linear(10), 0.951),
        (torch.tensor(s.MANUAL_8), 0.089),
    ],
)
def test_where_maums_schedules_end(betas: Tensor, end: float) -> None:
    assert float(s.from_betas(betas).alphas_cumprod[-1]) == pytest.approx(end, rel=0.01)


@settings(deadline=None, max_examples=60)
@given(counts, st.floats(0.1, 4.0))
def test_a_respaced_chain_always_ends_in_noise(timesteps: int, power: float) -> None:
    betas = s.respaced(timesteps, power)
    assert len(betas) == timesteps
    assert bool(((betas > 0) & (betas < 1)).all())
    alphas_cumprod = s.from_betas(betas).alphas_cumprod
    assert bool((alphas_cumprod.diff() < 0).all())
    assert float(alphas_cumprod[-1]) == pytest.approx(END, rel=1e-3)


@pytest.mark.parametrize("timesteps", [500, 999, 1000])
@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 2.0])
def test_respacing_visits_no_noise_level_twice(timesteps: int, power: float) -> None:
    alphas_cumprod = s.from_betas(s.respaced(timesteps, power)).alphas_cumprod
    assert bool((alphas_cumprod.diff() < 0).all())
    assert float(alphas_cumprod[-1]) == pytest.approx(END, rel=1e-3)


def test_respacing_to_all_timesteps_is_the_training_schedule() -> None:
    torch.testing.assert_close(s.respaced(1000), s.linear(1000), rtol=1e-4, atol=1e-9)


def test_a_higher_power_crowds_the_low_noise() -> None:
    even, crowded = (s.from_betas(s.respaced(10, p)).alphas_cumprod for p in (1.0, 2.0))
    assert bool((crowded[:-1] > even[:-1]).all())


def decibels(schedule: s.NoiseSchedule) -> Tensor:
    """(T,) signal-to-noise of speech of RMS 0.08 at each timestep."""
    a = schedule.alphas_cumprod.double()
    return 10 * (a * 0.08**2 / (1 - a)).log10()


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 100), st.floats(-44.0, -10.0), st.floats(0.0, 30.0))
def test_an_snr_chain_falls_by_equal_decibels_from_high_to_low(
    timesteps: int, low: float, high: float
) -> None:
    chain = s.from_betas(s.snr_spaced(timesteps, low, high))
    found, each = decibels(chain), (high - low) / (timesteps - 1)
    assert float(found[0]) == pytest.approx(high, abs=0.02)
    assert float(found[-1]) == pytest.approx(low, abs=0.02)
    torch.testing.assert_close(-found.diff(), torch.full_like(found[1:], each), rtol=0, atol=0.02)
    assert bool((chain.alphas_cumprod.diff() < 0).all())


def test_the_noisiest_level_is_the_only_one_of_a_single_timestep() -> None:
    chain = s.from_betas(s.snr_spaced(1, -25.0, 20.0))
    assert decibels(chain).tolist() == pytest.approx([-25.0], abs=0.01)


def test_training_ends_and_begins_where_the_decibels_of_a_profile_end() -> None:
    found = decibels(s.from_betas(s.linear(1000).double()))
    assert float(found[0]) == pytest.approx(38, abs=0.1)
    assert float(found[-1]) == pytest.approx(-44, abs=0.5)


def test_an_snr_chain_can_be_trained() -> None:
    assert s.trainable(s.build(ScheduleSpec("snr")), 1e-3, 4) == (9, 8, 7, 6)
    assert s.trainable(s.build(ScheduleSpec("snr", sampler="ddim", eta=0.5)), 1e-3, 3) == (9, 8, 7)


@settings(deadline=None, max_examples=50)
@given(counts)
def test_ancestral_is_ddim_with_eta_1(timesteps: int) -> None:
    betas = s.respaced(timesteps)
    ancestral, ddim = s.from_betas(betas), s.from_betas(betas, 1.0)
    torch.testing.assert_close(ddim.sigma, ancestral.sigma, rtol=1e-6, atol=0)
    torch.testing.assert_close(ddim.c_xt, ancestral.c_xt, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ddim.c_x0, ancestral.c_x0, rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=50)
@given(counts, st.none() | etas)
def test_a_transition_carries_q_of_t_to_q_of_t_minus_1(timesteps: int, eta: float | None) -> None:
    """From x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps and the true x_0, for every eta."""
    chain = s.from_betas(s.respaced(timesteps).double(), eta)
    a = chain.alphas_cumprod
    previous = torch.cat((torch.ones(1, dtype=torch.float64), a[:-1]))
    signal = chain.c_x0 + chain.c_xt * a.sqrt()
    noise = chain.c_xt**2 * (1 - a) + chain.sigma**2
    torch.testing.assert_close(signal, previous.sqrt(), rtol=0, atol=1e-9)
    torch.testing.assert_close(noise, 1 - previous, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(counts, etas)
def test_eta_scales_the_noise(timesteps: int, eta: float) -> None:
    betas = s.respaced(timesteps)
    sigma = s.from_betas(betas, eta).sigma
    torch.testing.assert_close(sigma, eta * s.from_betas(betas).sigma)
    assert not bool(s.from_betas(betas, 0.0).sigma.any())


@every_kind
def test_the_last_transition_adds_no_noise(spec: ScheduleSpec) -> None:
    chain = s.build(spec)
    assert float(chain.sigma[0]) == 0.0
    # In fp32, as in maum's buffers, 1 - (1 - 1e-6) is off by 1.3 per cent.
    assert float(chain.c_x0[0]) == pytest.approx(1.0, abs=0.014)
    assert float(chain.c_xt[0]) == 0.0


@every_kind
def test_every_coefficient_is_a_finite_fp32_number(spec: ScheduleSpec) -> None:
    chain = s.build(spec)
    assert chain.timesteps == len(chain.betas)
    for name in ("betas", "alphas_cumprod", "c_x0", "c_xt", "sigma"):
        value = getattr(chain, name)
        assert value.shape == (chain.timesteps,)
        assert value.dtype == torch.float32
        assert bool(value.isfinite().all())
    assert torch.equal(chain.to(torch.device("cpu")).sigma, chain.sigma)


@every_kind
def test_leverage_is_the_derivative_of_the_mean(spec: ScheduleSpec) -> None:
    chain = s.build(spec)
    zeros, cond = torch.zeros(1, HOP), torch.zeros(1, 2, 1)
    for t in range(0, chain.timesteps, max(1, chain.timesteps // 10)):
        policy = Constant(zeros.clone())
        mean, _ = p_mean(policy, chain, zeros, cond, t)
        (gradient,) = torch.autograd.grad(mean.sum(), policy.output)
        expected = chain.leverage()[t].expand_as(gradient)
        torch.testing.assert_close(gradient.abs(), expected, rtol=1e-4, atol=1e-8)


def test_leverage_lies_at_the_noisy_timesteps() -> None:
    leverage = s.build(ScheduleSpec("manual8")).leverage()
    assert float(leverage[4:].min()) > 0.025
    assert float(leverage[:4].max()) < 0.011


@settings(deadline=None, max_examples=60)
@given(counts, st.floats(1e-6, 1.0), st.integers(0, 120), st.none() | etas)
def test_trained_timesteps_are_the_noisy_ones_of_the_window(
    timesteps: int, sigma_min: float, window: int, eta: float | None
) -> None:
    chain = s.from_betas(s.respaced(timesteps), eta)
    expected = [
        t
        for t in reversed(range(timesteps))
        if t > 0 and t >= timesteps - window and float(chain.sigma[t]) >= sigma_min
    ]
    if expected:
        assert s.trainable(chain, sigma_min, window) == tuple(expected)
    else:
        with pytest.raises(ProfileError):
            s.trainable(chain, sigma_min, window)


def test_the_last_transition_is_never_trained_however_low_sigma_min() -> None:
    chain = s.build(ScheduleSpec())
    assert s.trainable(chain, 0.0, 99) == (9, 8, 7, 6, 5, 4, 3, 2, 1)


@pytest.mark.parametrize(
    "spec",
    [ScheduleSpec(sampler="ddim", eta=0.0), ScheduleSpec(timesteps=1)],
    ids=["deterministic", "one timestep"],
)
def test_nothing_to_train_is_refused_in_one_sentence(spec: ScheduleSpec) -> None:
    with pytest.raises(ProfileError, match="so nothing can be trained; lower rollout") as e:
        s.trainable(s.build(spec), 1e-3, 4)
    assert "\n" not in str(e.value)


def test_a_profile_names_its_schedule() -> None:
    assert torch.equal(s.build(ScheduleSpec(timesteps=7, power=1.5)).betas, s.respaced(7, 1.5))
    assert torch.equal(s.build(ScheduleSpec("respaced", 7)).betas, s.respaced(7, 2.0))
    snr = ScheduleSpec("snr", 7, low_db=-30.0, high_db=15.0)
    assert torch.equal(s.build(snr).betas, s.snr_spaced(7, -30.0, 15.0))
    assert torch.equal(s.build(ScheduleSpec("linear", 12)).betas, s.linear(12))
    assert torch.equal(s.build(ScheduleSpec("manual8")).betas, torch.tensor(s.MANUAL_8))
    own = (0.1, 0.9)
    assert torch.equal(s.build(ScheduleSpec("betas", betas=own)).betas, torch.tensor(own))
    half = s.build(ScheduleSpec(sampler="ddim", eta=0.5))
    assert torch.equal(half.sigma, s.from_betas(s.respaced(10, ScheduleSpec().power), 0.5).sigma)
