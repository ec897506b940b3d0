from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.messages import Knobs
from engine.rl.algorithms import ALGORITHMS, Algorithm, Penalty, surrogate
from engine.types import StepTerms

MODES: tuple[Penalty, ...] = get_args(Penalty)
B = 6

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))
every_mode = pytest.mark.parametrize("mode", MODES)
penalised = pytest.mark.parametrize(
    "algorithm",
    [a for a in ALGORITHMS.values() if "penalty" in a.needs],
    ids=[a.name for a in ALGORITHMS.values() if "penalty" in a.needs],
)
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
    draw = [torch.randn(B, generator=g, dtype=torch.float64) for _ in range(4)]
    return StepTerms(
        advantage=draw[0],
        log_ratio=(spread * draw[1]).requires_grad_(),
        penalty=draw[2].abs().requires_grad_(),
        kl=draw[3].square().requires_grad_(),
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


def test_the_table_goes_by_name() -> None:
    assert {"ddpo", "dlpo"} <= set(ALGORITHMS)
    assert all(name == algorithm.name for name, algorithm in ALGORITHMS.items())


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
    unused = {name: None for name in ("penalty", "kl") if name not in algorithm.needs}
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
    for of in ("log_ratio", "penalty", "kl"):
        wide = gradient(algorithm, terms, replace(knobs, clip_range=0.9), mode, of)
        torch.testing.assert_close(gradient(algorithm, terms, knobs, mode, of), wide)


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


@every_mode
@settings(deadline=None, max_examples=12)
@given(seed=seeds, knobs=knobs_)
def test_without_beta_dlpo_is_ddpo(mode: Penalty, seed: int, knobs: Knobs) -> None:
    terms, knobs = made(seed), replace(knobs, beta=0.0)
    ddpo, dlpo = ALGORITHMS["ddpo"], ALGORITHMS["dlpo"]
    assert torch.equal(dlpo.loss(terms, knobs, mode), ddpo.loss(terms, knobs, mode))
    for of in ("log_ratio", "penalty"):
        found = gradient(dlpo, terms, knobs, mode, of)
        torch.testing.assert_close(found, gradient(ddpo, terms, knobs, mode, of))


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
    terms = StepTerms(torch.zeros(1), torch.tensor([ratio]).log())
    found = surrogate(terms, torch.tensor([weight]), Knobs(clip_range=0.1))
    assert float(found) == pytest.approx(expected, abs=1e-6)
