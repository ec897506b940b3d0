from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.messages import Knobs
from engine.profile import PENALISED, AlgorithmName
from engine.rl.advantages import softmax_weights
from engine.rl.algorithms import ALGORITHMS, Algorithm, Need, Penalty, surrogate
from engine.types import StepTerms

MODES: tuple[Penalty, ...] = get_args(Penalty)
NEEDS: tuple[Need, ...] = get_args(Need)
SOURCES = ("log_ratio", *NEEDS)
"""The terms that a gradient may come through."""
B = 6

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))
every_mode = pytest.mark.parametrize("mode", MODES)
BY_VALUE = [a for a in ALGORITHMS.values() if "reward" not in a.needs]
"""Those that know a reward by its value alone."""
by_value = pytest.mark.parametrize("algorithm", BY_VALUE, ids=[a.name for a in BY_VALUE])
WITH_MODES = [a for a in ALGORITHMS.values() if "penalty" in a.needs and a.name != "draft"]
"""draft's penalty is a term of its loss, whatever the mode."""
penalised = pytest.mark.parametrize("algorithm", WITH_MODES, ids=[a.name for a in WITH_MODES])
seeds = st.integers(0, 2**32 - 1)
knobs_ = st.builds(
    Knobs,
    alpha=st.floats(0.0, 4.0),
    beta=st.floats(0.0, 4.0),
    clip_range=st.floats(0.01, 0.5),
)


def made(seed: int, spread: float = 0.3) -> StepTerms:
    """Every term an algorithm may ask for, each a leaf of its own."""
    g = torch.Generator().manual_seed(seed)
    draw = [torch.randn(B, generator=g, dtype=torch.float64) for _ in range(6)]
    return StepTerms(
        advantage=draw[0],
        log_ratio=(spread * draw[1]).requires_grad_(),
        unit=torch.full((B,), 20.0, dtype=torch.float64),
        penalty=draw[2].abs().requires_grad_(),
        kl=draw[3].square().requires_grad_(),
        log_prob=(10 * draw[4]).requires_grad_(),
        reward=(3 + draw[5]).requires_grad_(),
    )


def gradient(
    algorithm: Algorithm, terms: StepTerms, knobs: Knobs, mode: Penalty, of: str
) -> Tensor:
    loss = algorithm.loss(terms, knobs, mode).sum()
    if not loss.requires_grad:
        return torch.zeros(B, dtype=torch.float64)
    (found,) = torch.autograd.grad(
        loss, getattr(terms, of), allow_unused=True, materialize_grads=True
    )
    return found


def at_theta_old(terms: StepTerms) -> StepTerms:
    return replace(terms, log_ratio=torch.zeros_like(terms.log_ratio).requires_grad_())


# --- every algorithm


def test_the_table_goes_by_name_and_a_profile_knows_every_row() -> None:
    assert all(name == algorithm.name for name, algorithm in ALGORITHMS.items())
    assert set(get_args(AlgorithmName)) == set(ALGORITHMS)
    assert {a.name for a in ALGORITHMS.values() if "penalty" in a.needs} == PENALISED


@every_algorithm
@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_, size=st.integers(1, B))
def test_each_rollout_is_judged_alone(
    algorithm: Algorithm, mode: Penalty, seed: int, knobs: Knobs, size: int
) -> None:
    terms = made(seed)
    whole = algorithm.loss(terms, knobs, mode)
    assert whole.shape == (B,)
    parts = []
    for start in range(0, B, size):
        cut = {f.name: getattr(terms, f.name)[start : start + size] for f in fields(terms)}
        parts.append(algorithm.loss(StepTerms(**cut), knobs, mode))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0)


@every_algorithm
@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_what_it_needs_is_all_it_uses(
    algorithm: Algorithm, mode: Penalty, seed: int, knobs: Knobs
) -> None:
    terms = made(seed)
    unused = {name: None for name in NEEDS if name not in algorithm.needs}
    least = replace(terms, **unused)
    assert torch.equal(algorithm.loss(least, knobs, mode), algorithm.loss(terms, knobs, mode))
    for name in algorithm.needs:
        with pytest.raises(ValueError, match="missing from its `needs`"):
            algorithm.loss(replace(terms, **{name: None}), knobs, mode)


@every_algorithm
@every_mode
@settings(deadline=None, max_examples=30)
@given(seed=seeds, knobs=knobs_)
def test_the_gradient_is_0_iff_clipped_on_the_side_of_the_weights_sign(
    algorithm: Algorithm, mode: Penalty, seed: int, knobs: Knobs
) -> None:
    """With w the weight at theta_old, read off the gradient there: d loss / d log rho = -w rho."""
    terms = made(seed)
    weight = -gradient(algorithm, at_theta_old(terms), knobs, mode, "log_ratio")
    ratio = terms.log_ratio.detach().exp()
    clipped = (weight > 0) & (ratio > 1 + knobs.clip_range)
    clipped |= (weight < 0) & (ratio < 1 - knobs.clip_range)
    found = gradient(algorithm, terms, knobs, mode, "log_ratio")
    torch.testing.assert_close(found, torch.where(clipped, 0.0, -weight * ratio))


@every_algorithm
@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_at_theta_old_the_clip_range_does_not_matter(
    algorithm: Algorithm, mode: Penalty, seed: int, knobs: Knobs
) -> None:
    terms = at_theta_old(made(seed))
    for of in SOURCES:
        wide = gradient(algorithm, terms, replace(knobs, clip_range=0.9), mode, of)
        torch.testing.assert_close(gradient(algorithm, terms, knobs, mode, of), wide)


# --- by hand, with alpha A = 3, rho = 1.05, beta l = 0.2 and beta KL = 0.1


@dataclass(frozen=True)
class Expected:
    loss: float
    log_ratio: float = 0.0
    """d loss / d log rho, and so on."""
    penalty: float = 0.0
    kl: float = 0.0
    log_prob: float = 0.0
    reward: float = 0.0


HAND: dict[tuple[str, Penalty], Expected] = {
    ("ddpo", "both"): Expected(-3 * 1.05, log_ratio=-3 * 1.05),
    ("dlpo", "both"): Expected(-2.8 * 1.05, log_ratio=-2.8 * 1.05, penalty=0.4 * 1.05),
    ("dlpo", "reward"): Expected(-2.8 * 1.05, log_ratio=-2.8 * 1.05),
    ("dlpo", "loss"): Expected(-3 * 1.05 + 0.2, log_ratio=-3 * 1.05, penalty=0.4),
    ("onlydl", "both"): Expected(0.2 * 1.05, log_ratio=0.2 * 1.05, penalty=0.4 * 1.05),
    ("onlydl", "reward"): Expected(0.2 * 1.05, log_ratio=0.2 * 1.05),
    ("onlydl", "loss"): Expected(0.2, penalty=0.4),
    ("dpok", "both"): Expected(-3 * 1.05 + 0.1, log_ratio=-3 * 1.05, kl=0.4),
    ("klinr", "both"): Expected(-2.9 * 1.05, log_ratio=-2.9 * 1.05),
    ("rwr", "both"): Expected(2 * 7, log_prob=-2.0),
    ("rwr_raw", "both"): Expected(2 * 7, log_prob=-2.0),
    **{("draft", mode): Expected(0.2 - 1.5 * 4, penalty=0.4, reward=-1.5) for mode in MODES},
}


@every_algorithm
@every_mode
def test_the_loss_and_its_gradients_by_hand(algorithm: Algorithm, mode: Penalty) -> None:
    expected = HAND[algorithm.name, mode if "penalty" in algorithm.needs else "both"]
    given_ = {"advantage": 2.0, "unit": 9.0, "penalty": 0.5, "kl": 0.25, "log_prob": -7.0}
    given_["reward"] = 4.0
    columns = {name: torch.tensor([v]).double() for name, v in given_.items()}
    columns["log_ratio"] = torch.tensor([1.05]).double().log()
    terms = StepTerms(**{name: column.requires_grad_() for name, column in columns.items()})
    knobs = Knobs(alpha=1.5, beta=0.4, clip_range=0.1)
    found = algorithm.loss(terms, knobs, mode)
    assert float(found.detach()) == pytest.approx(expected.loss)
    for of in SOURCES:
        (slope,) = torch.autograd.grad(
            found.sum(), getattr(terms, of), retain_graph=True, allow_unused=True,
            materialize_grads=True,
        )  # fmt: skip
        assert float(slope) == pytest.approx(getattr(expected, of)), of


# --- DDPO and DLPO


@settings(deadline=None, max_examples=12)
@given(seeds, knobs_)
def test_at_theta_old_ddpo_is_reinforce(seed: int, knobs: Knobs) -> None:
    """grad = -alpha A grad log p, through a policy whose log p depends on shared weights."""
    base = made(seed)
    theta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(
        B, 3, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64
    )
    terms = replace(base, log_ratio=scores @ theta)
    (found,) = torch.autograd.grad(ALGORITHMS["ddpo"].loss(terms, knobs, "both").sum(), theta)
    torch.testing.assert_close(found, -(knobs.alpha * base.advantage) @ scores)


def same(one: str, other: str, terms: StepTerms, knobs: tuple[Knobs, Knobs], mode: Penalty) -> None:
    """Two rows, each under its own knobs, agree in the loss and in every gradient."""
    a, b = ALGORITHMS[one], ALGORITHMS[other]
    assert torch.equal(a.loss(terms, knobs[0], mode), b.loss(terms, knobs[1], mode))
    for of in SOURCES:
        found, expected = (
            gradient(algorithm, terms, k, mode, of)
            for algorithm, k in zip((a, b), knobs, strict=True)
        )
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["dlpo", "dpok", "klinr"])
@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_without_beta_it_is_ddpo(name: str, mode: Penalty, seed: int, knobs: Knobs) -> None:
    knobs = replace(knobs, beta=0.0)
    same(name, "ddpo", made(seed), (knobs, knobs), mode)


@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_onlydl_is_dlpo_without_alpha(mode: Penalty, seed: int, knobs: Knobs) -> None:
    same("onlydl", "dlpo", made(seed), (knobs, replace(knobs, alpha=0.0)), mode)


@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_without_alpha_dlpo_is_the_penalty_alone(mode: Penalty, seed: int, knobs: Knobs) -> None:
    terms, knobs = made(seed), replace(knobs, alpha=0.0)
    dlpo = ALGORITHMS["dlpo"]
    other = replace(terms, advantage=terms.advantage + 5)
    assert torch.equal(dlpo.loss(terms, knobs, mode), dlpo.loss(other, knobs, mode))
    start = at_theta_old(terms)
    log_ratio = gradient(dlpo, start, knobs, mode, "log_ratio")
    penalty = gradient(dlpo, start, knobs, mode, "penalty")
    acts = knobs.beta * start.penalty.detach()
    torch.testing.assert_close(log_ratio, torch.zeros(B).double() if mode == "loss" else acts)
    flows = torch.full((B,), 0.0 if mode == "reward" else knobs.beta, dtype=torch.float64)
    torch.testing.assert_close(penalty, flows)


# --- the penalty's three modes


@penalised
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_as_a_reward_the_penalty_has_no_gradient(
    algorithm: Algorithm, seed: int, knobs: Knobs
) -> None:
    assert not bool(gradient(algorithm, made(seed), knobs, "reward", "penalty").any())


@penalised
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_as_a_loss_the_penalty_pulls_with_beta_and_leaves_the_weight_alone(
    algorithm: Algorithm, seed: int, knobs: Knobs
) -> None:
    terms = made(seed)
    found = gradient(algorithm, terms, knobs, "loss", "penalty")
    torch.testing.assert_close(found, torch.full((B,), knobs.beta, dtype=torch.float64))
    heavier = replace(terms, penalty=terms.penalty.detach() + 3)
    torch.testing.assert_close(
        gradient(algorithm, heavier, knobs, "loss", "log_ratio"),
        gradient(algorithm, terms, knobs, "loss", "log_ratio"),
    )


@penalised
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_at_theta_old_both_is_the_reward_and_the_regulariser(
    algorithm: Algorithm, seed: int, knobs: Knobs
) -> None:
    """Through weights that log rho and l share, as a network's are."""
    base, theta = made(seed), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    g = torch.Generator().manual_seed(seed + 1)
    score, slope = (torch.randn(B, 3, generator=g, dtype=torch.float64) for _ in range(2))

    def found(mode: Penalty) -> Tensor:
        penalty = base.penalty.detach() + slope @ theta
        terms = replace(base, log_ratio=score @ theta, penalty=penalty)
        (grad,) = torch.autograd.grad(algorithm.loss(terms, knobs, mode).sum(), theta)
        return grad

    regulariser = knobs.beta * slope.sum(0)
    torch.testing.assert_close(found("both"), found("reward") + regulariser)


@penalised
def test_the_three_modes_differ(algorithm: Algorithm) -> None:
    terms = at_theta_old(made(1))
    found = {
        mode: torch.cat(
            [gradient(algorithm, terms, Knobs(), mode, of) for of in ("log_ratio", "penalty")]
        )
        for mode in MODES
    }
    for a, b in (("reward", "loss"), ("reward", "both"), ("loss", "both")):
        assert float((found[a] - found[b]).abs().max()) > 0.1


# --- DPOK, KLinR and RWR


@settings(deadline=None, max_examples=12)
@given(seeds, knobs_)
def test_klinrs_kl_turns_the_weight_but_has_no_gradient(seed: int, knobs: Knobs) -> None:
    terms = at_theta_old(made(seed))
    klinr = ALGORITHMS["klinr"]
    assert not bool(gradient(klinr, terms, knobs, "both", "kl").any())
    found = gradient(klinr, terms, knobs, "both", "log_ratio")
    torch.testing.assert_close(found, knobs.beta * terms.kl - knobs.alpha * terms.advantage)


@settings(deadline=None, max_examples=12)
@given(seeds, knobs_)
def test_dpoks_kl_pulls_alike_wherever_the_ratio_is(seed: int, knobs: Knobs) -> None:
    """Past the clip the surrogate falls silent, the KL does not."""
    terms, dpok = made(seed, spread=2.0), ALGORITHMS["dpok"]
    pull = gradient(dpok, terms, knobs, "both", "kl")
    torch.testing.assert_close(pull, torch.full((B,), knobs.beta, dtype=torch.float64))


@pytest.mark.parametrize("name", ["rwr", "rwr_raw"])
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_rwr_knows_no_ratio_and_leaves_alpha_to_its_weights(
    name: str, seed: int, knobs: Knobs
) -> None:
    terms, algorithm = made(seed), ALGORITHMS[name]
    expected = algorithm.loss(terms, Knobs(), "both")
    far = replace(terms, log_ratio=terms.log_ratio.detach() + 5)
    assert torch.equal(algorithm.loss(far, knobs, "both"), expected)
    valid = torch.ones(B, dtype=torch.bool)
    assert algorithm.weigh is not None
    one, other = (algorithm.weigh(terms.advantage, valid, alpha) for alpha in (0.5, 2.0))
    assert float((one - other).abs().max()) > 0.1


# --- a Gaussian in one dimension, whose gradients are known


@dataclass(frozen=True)
class Gaussian:
    """x ~ N(theta, sigma^2) at theta_old, r = -(x - m)^2, and KL to N(home, sigma^2)."""

    theta: float = 0.3
    sigma: float = 0.5
    target: float = 1.1
    """m"""
    home: float = -0.2
    speech: float = -0.6
    """What l draws toward."""
    rows: int = 40_000

    def slopes(self, algorithm: Algorithm, knobs: Knobs, mode: Penalty) -> Tensor:
        """d loss / d theta of each rollout; (rows,)."""
        g = torch.Generator().manual_seed(5)
        draw = torch.randn(self.rows, generator=g, dtype=torch.float64)
        x = self.theta + self.sigma * draw
        theta = torch.full_like(x, self.theta).requires_grad_()
        log_prob = torch.distributions.Normal(theta, self.sigma).log_prob(x)
        reward = -((x - self.target) ** 2)
        advantage = reward + (self.theta - self.target) ** 2 + self.sigma**2  # r - E[r]
        if algorithm.weigh:
            advantage = algorithm.weigh(advantage, advantage.isfinite(), knobs.alpha)
        terms = StepTerms(
            advantage,
            log_prob - log_prob.detach(),
            torch.ones_like(x),
            (x - self.speech) ** 2 + (theta - self.speech) ** 2,
            (theta - self.home) ** 2 / (2 * self.sigma**2),
            log_prob,
        )
        (found,) = torch.autograd.grad(algorithm.loss(terms, knobs, mode).sum(), theta)
        return found

    def reward_slope(self, algorithm: Algorithm, alpha: float) -> float:
        """-alpha d E[r] / d theta; of softmax weights -d log E[exp(alpha r)] / d theta."""
        slope = 2 * alpha * (self.theta - self.target)
        if algorithm.weigh is softmax_weights:
            return slope / (1 + 2 * alpha * self.sigma**2)
        return slope


def agrees(slopes: Tensor, exactly: float) -> None:
    """The mean lies within 4 standard errors, and those are too small to excuse anything."""
    error = float(slopes.std()) / len(slopes) ** 0.5
    assert error < 0.05
    assert abs(float(slopes.mean()) - exactly) < max(4 * error, 1e-9)


@pytest.mark.parametrize("target", [1.1, -0.7])
@pytest.mark.parametrize("alpha", [0.7, 2.0])
@by_value
def test_the_gradient_of_the_reward_is_the_exact_one_and_leads_toward_it(
    algorithm: Algorithm, alpha: float, target: float
) -> None:
    """OnlyDL has no reward: its gradient without beta is 0."""
    toy, knobs = Gaussian(target=target), Knobs(alpha=alpha, beta=0.0)
    found = toy.slopes(algorithm, knobs, "both")
    if algorithm.name == "onlydl":
        assert not bool(found.any())
        return
    agrees(found, toy.reward_slope(algorithm, alpha))
    assert (-float(found.mean()) > 0) == (target > toy.theta)


@penalised
@every_mode
@pytest.mark.parametrize("target", [1.1, -0.7])
def test_the_penalty_leads_toward_lower_l_whatever_the_reward(
    algorithm: Algorithm, mode: Penalty, target: float
) -> None:
    """l = (x - s)^2 + (theta - s)^2: as a reward it acts through x, as a loss through theta."""
    toy, knobs = Gaussian(target=target), Knobs(alpha=0.0, beta=0.8)
    pull = 2 * knobs.beta * (toy.theta - toy.speech)
    agrees(toy.slopes(algorithm, knobs, mode), {"reward": 1, "loss": 1, "both": 2}[mode] * pull)


def test_dpok_is_drawn_home_by_the_exact_kl() -> None:
    toy, knobs = Gaussian(), Knobs(alpha=1.3, beta=0.6)
    pull = knobs.beta * (toy.theta - toy.home) / toy.sigma**2
    dpok = ALGORITHMS["dpok"]
    agrees(toy.slopes(dpok, knobs, "both"), toy.reward_slope(dpok, knobs.alpha) + pull)


def test_klinr_is_not_drawn_home_within_one_timestep() -> None:
    """The KL of a state is the same for each of its actions: a constant baseline, on average 0."""
    toy, klinr = Gaussian(), ALGORITHMS["klinr"]
    knobs = Knobs(alpha=1.3, beta=0.6)
    found = toy.slopes(klinr, knobs, "both")
    agrees(found, toy.reward_slope(klinr, knobs.alpha))
    assert not torch.equal(found, toy.slopes(klinr, replace(knobs, beta=0.0), "both"))


# --- the surrogate, by hand


@pytest.mark.parametrize(
    ("weight", "ratio", "expected"),
    [
        (2.0, 1.0, -2.0),
        (2.0, 1.5, -2.2),  # clipped at 1.1
        (2.0, 0.5, -1.0),  # not clipped: the policy moved against a good action
        (-2.0, 1.5, 3.0),
        (-2.0, 0.5, 1.8),  # clipped at 0.9
        (0.0, 1.5, 0.0),
    ],
)
def test_the_surrogate_by_hand(weight: float, ratio: float, expected: float) -> None:
    terms = StepTerms(torch.zeros(1), torch.tensor([ratio]).log(), torch.ones(1))
    found = surrogate(terms, torch.tensor([weight]), Knobs(clip_range=0.1))
    assert float(found) == pytest.approx(expected, abs=1e-6)


# --- DRaFT


@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_draft_is_the_objective_itself_whatever_advantage_and_ratio(
    mode: Penalty, seed: int, knobs: Knobs
) -> None:
    draft, terms = ALGORITHMS["draft"], made(seed)
    other = replace(terms, advantage=terms.advantage + 1, log_ratio=terms.log_ratio + 1)
    assert torch.equal(draft.loss(terms, knobs, mode), draft.loss(other, knobs, mode))
    assert not bool(gradient(draft, terms, knobs, mode, "log_ratio").any())
    reward, penalty = (gradient(draft, terms, knobs, mode, of) for of in ("reward", "penalty"))
    torch.testing.assert_close(reward, torch.full_like(reward, -knobs.alpha))
    torch.testing.assert_close(penalty, torch.full_like(penalty, knobs.beta))
