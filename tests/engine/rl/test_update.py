from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from engine.diffusion.process import (
    gaussian_kl,
    gaussian_log_prob,
    nats_in_unit,
    p_mean,
    q_sample,
)
from engine.diffusion.sampler import RolloutNoise, rollout
from engine.diffusion.schedule import NoiseSchedule, from_betas, respaced
from engine.messages import Knobs
from engine.model.decoder import Decoder
from engine.rl.advantages import PromptStatistics, advantages, softmax_weights
from engine.rl.algorithms import ALGORITHMS, Algorithm, Penalty, surrogate
from engine.rl.onward import Onward
from engine.rl.update import (
    Optimised,
    Policies,
    Problem,
    Settings,
    Speech,
    diffusion_loss,
    optimise,
    own_clips,
    penalty_noise,
    penalty_timestep,
    ratio_error,
    step_terms,
    summary,
)
from engine.types import HOP, Conditioning, Policy, StepTerms

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[[tuple[int, ...]], Conditioning]
RAGGED = (1, 3, 1, 2)
KEPT = (3, 2)
CHAIN = from_betas(respaced(4))
EXACT = from_betas(respaced(4).double())
ADVANTAGE = (1.0, -0.5, 0.25, -1.0)
WIDE = Knobs(max_grad_norm=1e6)
"""Clips no gradient, so that sums can be compared."""
MODES: tuple[Penalty, ...] = get_args(Penalty)

every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)
BY_VALUE = [name for name, algorithm in ALGORITHMS.items() if "reward" not in algorithm.needs]
"""Those that know a reward by its value alone, through the advantage."""
by_value = pytest.mark.parametrize("name", BY_VALUE)
every_mode = pytest.mark.parametrize("mode", MODES)
CASES = [
    (name, mode)
    for name, algorithm in ALGORITHMS.items()
    for mode in (MODES if "penalty" in algorithm.needs else MODES[:1])
]
"""The penalty's modes are told apart only where there is a penalty."""
every_case = pytest.mark.parametrize(("name", "mode"), CASES)
every_ratio = pytest.mark.parametrize("ratio", ["standardised", "mean"])


class Fine(RolloutNoise):
    """The same numbers in fp64, where rounding cannot hide a difference."""

    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        return super().__call__(t, rows).double()


def posed(
    policy: Policy,
    conditioning: Conditioning,
    advantage: tuple[float, ...] = ADVANTAGE,
    chain: NoiseSchedule = CHAIN,
    kept: tuple[int, ...] = KEPT,
    seed: int = 0,
) -> Problem:
    """What one update is computed from: a rollout of the policy, and given advantages."""
    frames = tuple(conditioning.frames.tolist())
    kind = Fine if chain.betas.dtype == torch.float64 else RolloutNoise
    draw = kind(seed, 0, frames, kept)
    traj = rollout(policy, chain, conditioning, draw)
    return Problem(
        chain,
        traj,
        frames,
        torch.tensor(advantage[: len(frames)], dtype=chain.betas.dtype),
        torch.ones(len(frames), dtype=torch.bool),
        own_clips(traj, frames),
        (seed, 0),
        onward=Onward(draw, steadiness),
    )


def steadiness(clips: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """A made-up reward with a gradient: how little a clip changes from sample to sample."""
    return torch.stack([1 - (clip[1:] - clip[:-1]).square().mean() for clip in clips])


def exact(policy: Policy, conditioning: Conditioning, **changes: object) -> Problem:
    """`posed` in fp64; turns the policy's weights into fp64 too."""
    fine = Conditioning(conditioning.cond.double(), conditioning.frames)
    return posed(policy.double(), fine, chain=EXACT, **changes)


def stepped(
    policy: Policy,
    problem: Problem,
    knobs: Knobs = WIDE,
    rate: float = 1e-3,
    reference: Policy | None = None,
    **settings: object,
) -> tuple[Tensor, Optimised]:
    """The change of a copy's weights by `optimise` under plain gradient descent, over -rate."""
    current = copy.deepcopy(policy)
    optimizer = torch.optim.SGD(current.parameters(), lr=rate)
    policies = Policies(current, reference or policy)
    chosen = {"algorithm": ALGORITHMS["dlpo"], **settings}
    done = optimise(policies, optimizer, problem, Settings(**chosen), knobs)
    return (flat(policy) - flat(current)) / rate, done


def weighed(problem: Problem, algorithm: Algorithm, knobs: Knobs = WIDE) -> Problem:
    """With the weights that `optimise` hands the loss in the advantage's place."""
    if algorithm.weigh is None:
        return problem
    weight = algorithm.weigh(problem.advantage, problem.valid, knobs.alpha)
    return replace(problem, advantage=weight)


def moved(policy: Policy, by: float = 0.05) -> Policy:
    away = copy.deepcopy(policy)
    with torch.no_grad():
        away.ublock_postconv.conv1d.bias += by
    return away


def flat(policy: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def bits(policy: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in policy.named_parameters()}


def unchanged(policy: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(p, before[name]) for name, p in policy.named_parameters())


@pytest.fixture
def problem(tiny_decoder: Decoder, conditioning: Make) -> Problem:
    return posed(tiny_decoder, conditioning(RAGGED))


# --- replay


@pytest.mark.parametrize(
    ("microbatch", "ratio"),
    [(1, "standardised"), (2, "standardised"), (3, "mean"), (4, "standardised")],
)
def test_replay_with_unchanged_weights_gives_ratio_1(
    tiny_decoder: Decoder, conditioning: Make, microbatch: int, ratio: str
) -> None:
    problem = posed(tiny_decoder, conditioning(RAGGED), kept=(3, 2, 1))
    settings = Settings(ALGORITHMS["dlpo"], ratio=ratio, microbatch=microbatch)
    policies = Policies(tiny_decoder, tiny_decoder)
    assert ratio_error(policies, problem, settings) <= 1e-5
    away = moved(tiny_decoder, 0.01)
    assert ratio_error(Policies(away, tiny_decoder), problem, settings) > 1e-4


def test_a_network_that_says_nan_fails_the_replay(tiny_decoder: Decoder, problem: Problem) -> None:
    settings = Settings(ALGORITHMS["ddpo"], microbatch=1)
    with torch.no_grad():
        tiny_decoder.ublock_postconv.conv1d.bias.fill_(torch.nan)
    found = ratio_error(Policies(tiny_decoder, tiny_decoder), problem, settings)
    assert math.isnan(found)


@every_algorithm
def test_the_ratio_is_1_before_the_first_optimizer_step(
    tiny_decoder: Decoder, problem: Problem, name: str
) -> None:
    _, done = stepped(tiny_decoder, problem, algorithm=ALGORITHMS[name])
    assert done.ratio == pytest.approx(1.0, abs=1e-5)
    assert (done.clip_high, done.clip_low, done.skipped) == (0.0, 0.0, 0)


# --- the gradient of one batch


@every_case
def test_accumulation_over_timesteps_and_microbatches_is_one_batch(
    tiny_decoder: Decoder, conditioning: Make, name: str, mode: Penalty
) -> None:
    problem = exact(tiny_decoder, conditioning(RAGGED))
    settings = Settings(ALGORITHMS[name], penalty=mode)
    losses = []
    for k in range(len(KEPT)):  # all of K x B in one graph
        eps = penalty_noise(problem, k, 0)
        terms = step_terms(
            Policies(tiny_decoder, tiny_decoder), weighed(problem, settings.algorithm), settings,
            k, [0, 1, 2, 3], eps, KEPT[k],
        )  # fmt: skip
        losses.append(settings.algorithm.loss(terms, WIDE, mode))
    loss = torch.cat(losses).mean()
    weights = list(tiny_decoder.parameters())
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    expected = torch.cat([g.flatten() for g in gradients])
    assert float(expected.abs().max()) > 0
    for size in (1, 3):
        found, done = stepped(
            tiny_decoder, problem, algorithm=ALGORITHMS[name], penalty=mode, microbatch=size
        )
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
        assert done.loss == pytest.approx(float(loss.detach()), abs=1e-6)
        assert done.grad_norm == pytest.approx(float(expected.norm()), rel=1e-5)


def in_nats(policy: Policy, home: Policy, problem: Problem, beta: float, ratio: str) -> Tensor:
    """The gradient of -mean over K x B of (weight log p - beta KL) nats over the ratio's unit."""
    traj, losses = problem.trajectory, []
    cond, frames = traj.conditioning.cond, traj.conditioning.frames
    for k, t in enumerate(KEPT):
        mean, _ = p_mean(policy, EXACT, traj.x_t[k], cond, t, frames)
        other, _ = p_mean(home, EXACT, traj.x_t[k], cond, t, frames)
        log_prob = gaussian_log_prob(traj.x_prev[k], mean, EXACT.sigma[t], traj.mask)
        kl = gaussian_kl(mean, other.detach(), EXACT.sigma[t], traj.mask)
        unit = traj.lengths.double() if ratio == "mean" else traj.lengths.double().sqrt()
        losses.append((beta * kl - problem.advantage * log_prob) / unit)
    gradients = torch.autograd.grad(torch.cat(losses).mean(), list(policy.parameters()))
    return torch.cat([g.flatten() for g in gradients])


@every_ratio
def test_ddpos_gradient_is_reinforces(
    tiny_decoder: Decoder, conditioning: Make, ratio: str
) -> None:
    """grad = -mean over K x B of alpha A grad log p(action), per sample or per its root."""
    problem, knobs = exact(tiny_decoder, conditioning(RAGGED)), replace(WIDE, alpha=1.7)
    found, _ = stepped(tiny_decoder, problem, knobs, algorithm=ALGORITHMS["ddpo"], ratio=ratio)
    louder = replace(problem, advantage=1.7 * problem.advantage)
    expected = in_nats(tiny_decoder, tiny_decoder, louder, 0.0, ratio)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@every_ratio
def test_dpoks_gradient_is_reinforces_and_that_of_the_kl_in_nats(
    tiny_decoder: Decoder, conditioning: Make, ratio: str
) -> None:
    """alpha A log p - beta KL, both in nats, up to one factor: so the trade-off is the paper's."""
    problem, knobs = exact(tiny_decoder, conditioning(RAGGED)), replace(WIDE, beta=0.7)
    home, dpok = moved(tiny_decoder), ALGORITHMS["dpok"]
    found, _ = stepped(tiny_decoder, problem, knobs, 1e-3, home, algorithm=dpok, ratio=ratio)
    expected = in_nats(tiny_decoder, home, problem, 0.7, ratio)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    alone, _ = stepped(tiny_decoder, problem, replace(knobs, beta=0.0), algorithm=dpok, ratio=ratio)
    assert float((found - alone).norm()) > 0.1 * float(alone.norm())


@every_ratio
@pytest.mark.parametrize("name", ["rwr", "rwr_raw"])
def test_rwrs_gradient_is_that_of_the_weighted_log_density(
    tiny_decoder: Decoder, conditioning: Make, name: str, ratio: str
) -> None:
    problem, knobs = exact(tiny_decoder, conditioning(RAGGED)), replace(WIDE, alpha=1.7)
    algorithm = ALGORITHMS[name]
    found, _ = stepped(tiny_decoder, problem, knobs, algorithm=algorithm, ratio=ratio)
    shares = (1.7 * problem.advantage).exp()
    weight = 4 * shares / shares.sum() if name == "rwr" else 1.7 * problem.advantage
    expected = in_nats(
        tiny_decoder, tiny_decoder, replace(problem, advantage=weight), 0.0, ratio
    )  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_klinrs_gradient_is_reinforces_under_a_lower_weight(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    """One timestep kept, so that one weight a row says it all."""
    problem = exact(tiny_decoder, conditioning((1, 1, 1)), kept=(3,))
    home, beta = moved(tiny_decoder, 0.5), 0.7
    found, done = stepped(
        tiny_decoder, problem, replace(WIDE, beta=beta), 1e-3, home, algorithm=ALGORITHMS["klinr"]
    )
    traj = problem.trajectory
    with torch.no_grad():
        mean, other = (
            p_mean(policy, EXACT, traj.x_t[0], traj.conditioning.cond, 3)[0]
            for policy in (tiny_decoder, home)
        )
    nats = gaussian_kl(mean, other, EXACT.sigma[3], traj.mask)
    assert done.kl == pytest.approx(float(nats.mean()), rel=1e-6)
    lower = problem.advantage - beta * nats / HOP**0.5
    assert float((lower - problem.advantage).abs().min()) > 0.01
    expected, _ = stepped(
        tiny_decoder, replace(problem, advantage=lower), algorithm=ALGORITHMS["ddpo"]
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@by_value
def test_the_reward_moves_the_weights_of_all_but_onlydl(
    tiny_decoder: Decoder, conditioning: Make, name: str
) -> None:
    problem = exact(tiny_decoder, conditioning(RAGGED))
    other = replace(problem, advantage=problem.advantage.flip(0))
    one, two = (stepped(tiny_decoder, p, algorithm=ALGORITHMS[name])[0] for p in (problem, other))
    assert (float((one - two).norm()) > 0.1 * float(one.norm())) == (name != "onlydl")


def test_the_opposite_reward_moves_the_weights_the_opposite_way(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    problem = exact(tiny_decoder, conditioning(RAGGED))
    opposite = replace(problem, advantage=-problem.advantage)
    there, back = (
        stepped(tiny_decoder, p, algorithm=ALGORITHMS["ddpo"])[0] for p in (problem, opposite)
    )
    assert float(there.norm()) > 0
    torch.testing.assert_close(back, -there, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "name", [n for n in BY_VALUE if ALGORITHMS[n].weigh is not softmax_weights]
)
def test_without_advantage_and_beta_there_is_no_gradient(
    tiny_decoder: Decoder, problem: Problem, name: str
) -> None:
    flat_ = replace(problem, advantage=torch.zeros(4))
    found, done = stepped(tiny_decoder, flat_, replace(WIDE, beta=0.0), algorithm=ALGORITHMS[name])
    assert not bool(found.any())
    assert done.grad_norm == 0.0


def test_under_ties_rwr_imitates_every_clip_alike(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    """Softmax shares are never 0: without a reward they still follow the policy's own samples."""
    problem = exact(tiny_decoder, conditioning(RAGGED))
    ties, ones = (replace(problem, advantage=torch.full((4,), v).double()) for v in (0.0, 1.0))
    found, _ = stepped(tiny_decoder, ties, algorithm=ALGORITHMS["rwr"])
    expected, _ = stepped(tiny_decoder, ones, algorithm=ALGORITHMS["rwr_raw"])
    assert float(found.norm()) > 0
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["dlpo", "dpok", "klinr"])
def test_without_beta_it_takes_ddpos_step(
    tiny_decoder: Decoder, conditioning: Make, name: str
) -> None:
    problem, knobs = exact(tiny_decoder, conditioning(RAGGED)), replace(WIDE, beta=0.0)
    one, two = (
        stepped(tiny_decoder, problem, knobs, 1e-3, moved(tiny_decoder), algorithm=ALGORITHMS[n])[0]
        for n in (name, "ddpo")
    )
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)


@every_mode
def test_without_alpha_dlpo_takes_onlydls_step(
    tiny_decoder: Decoder, conditioning: Make, mode: Penalty
) -> None:
    problem, knobs = exact(tiny_decoder, conditioning(RAGGED)), replace(WIDE, alpha=0.0)
    one, two = (
        stepped(tiny_decoder, problem, k, algorithm=ALGORITHMS[name], penalty=mode)[0]
        for name, k in (("dlpo", knobs), ("onlydl", WIDE))
    )
    assert float(one.norm()) > 0
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_the_gradient_is_scaled_down_to_its_largest_norm(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    free, done = stepped(tiny_decoder, problem)
    limit = done.grad_norm / 3
    held, same = stepped(tiny_decoder, problem, replace(WIDE, max_grad_norm=limit))
    assert same.grad_norm == pytest.approx(done.grad_norm)
    torch.testing.assert_close(held, free / 3, rtol=1e-2, atol=2e-3)


@every_case
def test_padding_changes_nothing(
    tiny_decoder: Decoder, conditioning: Make, name: str, mode: Penalty
) -> None:
    """A row alone, and the same row beside a longer one that is not valid."""
    both = exact(tiny_decoder, conditioning((1, 3)))
    both = replace(both, valid=torch.tensor([True, False]))
    alone = exact(tiny_decoder, conditioning((1,)))
    algorithm, home = ALGORITHMS[name], moved(tiny_decoder)
    together, single = (
        stepped(tiny_decoder, p, WIDE, 1e-3, home, algorithm=algorithm, penalty=mode)[0]
        for p in (both, alone)
    )
    assert float(single.norm()) > 0
    torch.testing.assert_close(together, single, rtol=1e-6, atol=1e-9)


# --- failed rewards, broken numbers


@pytest.mark.parametrize("microbatch", [1, 3])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_rows_that_share_a_state_are_computed_once_to_the_same_gradient(
    tiny_decoder: Decoder, conditioning: Make, name: str, microbatch: int
) -> None:
    policy = tiny_decoder.double()
    given = conditioning((2, 2, 3, 3))
    given = Conditioning(given.cond[[0, 0, 2, 2]].double(), given.frames)
    frames = (2, 2, 3, 3)
    noise = Fine(0, 0, frames, KEPT, 2, "prefix", True)
    traj = rollout(policy, EXACT, given, noise)
    assert traj.runs == (2, 1)
    assert torch.equal(traj.x_t[0, 0], traj.x_t[0, 1])
    assert not torch.equal(traj.x_t[1, 0], traj.x_t[1, 1])
    shared = Problem(
        EXACT,
        traj,
        frames,
        torch.tensor(ADVANTAGE, dtype=torch.float64),
        torch.tensor([True, True, False, True]),
        own_clips(traj, frames),
        (0, 0),
        onward=Onward(noise, steadiness),
    )
    alone = replace(shared, trajectory=replace(traj, runs=(1, 1)))
    settings = {"algorithm": ALGORITHMS[name], "microbatch": microbatch}
    once, _ = stepped(policy, shared, **settings)
    each, _ = stepped(policy, alone, **settings)
    torch.testing.assert_close(once, each, rtol=1e-9, atol=1e-9)


@every_algorithm
@pytest.mark.parametrize("advantage", [7.0, math.nan])
def test_a_failed_row_equals_a_row_left_out(
    tiny_decoder: Decoder, conditioning: Make, name: str, advantage: float
) -> None:
    failed = exact(tiny_decoder, conditioning(RAGGED), advantage=(*ADVANTAGE[:3], advantage))
    failed = replace(failed, valid=torch.tensor([True, True, True, False]))
    without = exact(tiny_decoder, conditioning(RAGGED[:3]))
    one, done = stepped(tiny_decoder, failed, algorithm=ALGORITHMS[name], microbatch=2)
    two, same = stepped(tiny_decoder, without, algorithm=ALGORITHMS[name], microbatch=2)
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-9)
    assert done.loss == pytest.approx(same.loss)
    assert done.skipped == 0


def test_an_update_whose_every_reward_failed_is_no_update(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    before = bits(tiny_decoder)
    optimizer = torch.optim.AdamW(tiny_decoder.parameters(), weight_decay=0.1)
    nothing = replace(problem, valid=torch.zeros(4, dtype=torch.bool))
    done = optimise(
        Policies(tiny_decoder, tiny_decoder), optimizer, nothing,
        Settings(ALGORITHMS["dlpo"]), Knobs(),
    )  # fmt: skip
    assert unchanged(tiny_decoder, before)
    assert (done.loss, done.penalty, done.ratio, done.skipped) == (0.0, None, 1.0, 0)


def broken(problem: Problem, what: str) -> Problem:
    row, nan = 1, torch.nan
    if what == "advantage":
        advantage = problem.advantage.clone()
        advantage[row] = nan
        return replace(problem, advantage=advantage)
    if what == "speech":
        wave = problem.speech.waveform.clone()
        wave[row, 5] = nan
        return replace(problem, speech=replace(problem.speech, waveform=wave))
    traj = problem.trajectory
    values = {name: getattr(traj, name).clone() for name in ("x_t", "x_prev", "mean")}
    values[what][0, row, 5] = torch.inf if what == "x_prev" else nan
    return replace(problem, trajectory=replace(traj, **values))


@pytest.mark.parametrize(
    ("what", "epochs"),
    [("advantage", 2), ("speech", 1), ("x_t", 1), ("x_prev", 1), ("mean", 1)],
)
def test_a_number_that_is_not_finite_leaves_the_weights_bit_for_bit(
    tiny_decoder: Decoder, problem: Problem, what: str, epochs: int
) -> None:
    before = bits(tiny_decoder)
    optimizer = torch.optim.AdamW(tiny_decoder.parameters(), lr=0.1, weight_decay=0.1)
    settings = Settings(ALGORITHMS["dlpo"], inner_epochs=epochs, microbatch=2)
    policies = Policies(tiny_decoder, tiny_decoder)
    done = optimise(policies, optimizer, broken(problem, what), settings, Knobs())
    assert unchanged(tiny_decoder, before)
    assert done.skipped == epochs
    assert not optimizer.state
    assert all(p.grad is None for p in tiny_decoder.parameters())
    json.dumps(asdict(done), allow_nan=False)  # a missing number is None, never NaN


@pytest.mark.parametrize(
    ("name", "what"),
    [(n, w) for n in ALGORITHMS for w in ("advantage", "x_t") if n in BY_VALUE or w == "x_t"],
)
def test_a_number_that_is_not_finite_leaves_every_algorithms_weights(
    tiny_decoder: Decoder, problem: Problem, name: str, what: str
) -> None:
    found, done = stepped(tiny_decoder, broken(problem, what), algorithm=ALGORITHMS[name])
    assert not bool(found.any())
    assert done.skipped == 1


def test_after_a_skipped_step_the_next_update_is_as_if_nothing_had_been(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    clean, _ = stepped(tiny_decoder, problem)
    current = copy.deepcopy(tiny_decoder)
    optimizer = torch.optim.SGD(current.parameters(), lr=1e-3)
    policies, settings = Policies(current, tiny_decoder), Settings(ALGORITHMS["dlpo"])
    optimise(policies, optimizer, broken(problem, "advantage"), settings, WIDE)
    optimise(policies, optimizer, problem, settings, WIDE)
    assert torch.equal((flat(tiny_decoder) - flat(current)) / 1e-3, clean)


# --- the penalty


def test_the_penalty_noises_the_speech_it_is_given(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    """Recorded speech has other lengths than the rollouts, and another conditioning."""
    problem = posed(tiny_decoder, conditioning(RAGGED))
    frames = (2, 1, 4, 2)
    cond = conditioning(frames)
    wave = 0.3 * torch.randn(4, 4 * HOP, generator=torch.Generator().manual_seed(1)) * cond.mask
    recorded = replace(problem, speech=Speech(wave, cond, frames))
    expected = []
    with torch.no_grad():
        for k, t in enumerate(KEPT):
            eps = penalty_noise(recorded, k, 0)
            for row, count in enumerate(frames):
                mine, length = slice(row, row + 1), count * HOP
                z = eps[mine, :length]
                level = CHAIN.levels[t].expand(1, 1)
                x_t = q_sample(CHAIN, wave[mine, :length], t, z)
                error = z - tiny_decoder.eps(x_t, cond.cond[mine, :, :count], level)
                expected.append([float(error.abs().mean()), float(error.square().mean())])
    l1, l2 = torch.tensor(expected).mean(0).tolist()
    for size in (1, 4):
        _, done = stepped(tiny_decoder, recorded, microbatch=size)
        assert done.penalty == pytest.approx(l1, rel=1e-4)
        _, done = stepped(tiny_decoder, recorded, microbatch=size, penalty_norm="l2")
        assert done.penalty == pytest.approx(l2, rel=1e-4)
    _, own = stepped(tiny_decoder, problem)
    assert own.penalty != pytest.approx(l1, rel=1e-3)


def test_the_penalty_may_be_taken_at_any_level_of_the_chain(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    anywhere = Settings(ALGORITHMS["dlpo"], penalty_levels="any")

    def level(update: int, k: int, epoch: int) -> int:
        return penalty_timestep(replace(problem, identity=(0, update)), anywhere, k, epoch)

    drawn = [level(n, 0, 0) for n in range(40 * CHAIN.timesteps)]
    counts = [drawn.count(t) for t in range(CHAIN.timesteps)]
    assert min(counts) > 15, "every timestep, about 40 times"
    assert drawn == [level(n, 0, 0) for n in range(40 * CHAIN.timesteps)], "by identity"
    assert drawn != [level(n, 0, 1) for n in range(40 * CHAIN.timesteps)], "anew each epoch"
    assert drawn != [level(n, 1, 0) for n in range(40 * CHAIN.timesteps)]
    kept = Settings(ALGORITHMS["dlpo"])
    assert [penalty_timestep(problem, kept, k, 0) for k in range(len(KEPT))] == list(KEPT)
    expected = []
    with torch.no_grad():
        for k in range(len(KEPT)):
            t = penalty_timestep(problem, anywhere, k, 0)
            losses = diffusion_loss(
                tiny_decoder, CHAIN, problem.speech, t, penalty_noise(problem, k, 0),
                [0, 1, 2, 3], "l1",
            )  # fmt: skip
            expected.append(float(losses.mean()))
    _, done = stepped(tiny_decoder, problem, penalty_levels="any")
    assert done.penalty == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    _, plain = stepped(tiny_decoder, problem)
    assert plain.penalty != pytest.approx(done.penalty, rel=1e-3)


def test_the_penalty_draws_by_row_timestep_and_epoch(problem: Problem) -> None:
    drawn = [penalty_noise(problem, 0, 0), penalty_noise(problem, 1, 0)]
    drawn += [penalty_noise(problem, 0, 1)]
    drawn += [penalty_noise(replace(problem, identity=(0, 1)), 0, 0)]
    rows = torch.stack([d[1] for d in drawn] + [drawn[0][3]])[:, : 2 * HOP]
    assert float((torch.corrcoef(rows) - torch.eye(5)).abs().max()) < 4.5 / (2 * HOP) ** 0.5
    assert torch.equal(penalty_noise(problem, 0, 0), drawn[0])
    assert not bool((drawn[0] * (1 - problem.trajectory.mask)).any())


def test_the_penalty_as_a_loss_teaches_the_network_its_speech(
    three_weights: Policy, conditioning: Make
) -> None:
    problem = posed(three_weights, conditioning(RAGGED), advantage=(0.0,) * 4)
    optimizer = torch.optim.SGD(three_weights.parameters(), lr=0.1)
    policies, found = Policies(three_weights, three_weights), []
    settings = Settings(ALGORITHMS["dlpo"], penalty="loss", penalty_norm="l2")
    for _ in range(15):
        found.append(optimise(policies, optimizer, problem, settings, WIDE).penalty)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.95 * found[0]


# --- the reference


def penalised_by_kl(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    assert terms.kl is not None
    return surrogate(terms, 0.0 * terms.advantage, knobs) + terms.kl


def test_the_kl_leads_back_to_the_reference_which_has_no_gradient(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    algorithm = Algorithm("kl", penalised_by_kl, frozenset({"kl"}))
    _, at_home = stepped(tiny_decoder, problem, algorithm=algorithm)
    assert at_home.kl == pytest.approx(0.0, abs=1e-6)
    away, reference = moved(tiny_decoder), copy.deepcopy(tiny_decoder)
    optimizer = torch.optim.SGD([away.ublock_postconv.conv1d.bias], lr=2e-5)
    settings, found = Settings(algorithm), []
    for _ in range(3):
        done = optimise(Policies(away, reference), optimizer, problem, settings, WIDE)
        found.append(done.kl)
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0
    assert all(p.grad is None for p in reference.parameters())
    assert unchanged(reference, bits(tiny_decoder))


@every_ratio
@pytest.mark.parametrize("name", [n for n, a in ALGORITHMS.items() if "kl" in a.needs])
def test_the_kl_that_is_shown_is_in_nats_in_every_ratios_unit(
    tiny_decoder: Decoder, conditioning: Make, name: str, ratio: str
) -> None:
    problem, home = exact(tiny_decoder, conditioning(RAGGED)), moved(tiny_decoder)
    traj, nats = problem.trajectory, []
    for k, t in enumerate(KEPT):
        with torch.no_grad():
            mean, other = (
                p_mean(p, EXACT, traj.x_t[k], traj.conditioning.cond, t, traj.conditioning.frames)
                for p in (tiny_decoder, home)
            )
        nats.append(gaussian_kl(mean[0], other[0], EXACT.sigma[t], traj.mask))
    _, done = stepped(
        tiny_decoder, problem, WIDE, 1e-3, home, algorithm=ALGORITHMS[name], ratio=ratio
    )
    assert done.kl == pytest.approx(float(torch.cat(nats).mean()), rel=1e-9)


@every_ratio
def test_every_term_stands_in_the_ratios_unit(
    tiny_decoder: Decoder, conditioning: Make, ratio: str
) -> None:
    problem = exact(tiny_decoder, conditioning(RAGGED))
    every = Algorithm("every", ALGORITHMS["ddpo"].loss, frozenset({"kl", "log_prob"}))
    terms = step_terms(
        Policies(tiny_decoder, moved(tiny_decoder)), problem, Settings(every, ratio), 0,
        [2, 1], penalty_noise(problem, 0, 0), KEPT[0],
    )  # fmt: skip
    traj, mask = problem.trajectory, problem.trajectory.mask[[2, 1]]
    assert torch.equal(terms.unit, nats_in_unit(ratio, mask))
    action, mean = (getattr(traj, name)[0, [2, 1]] for name in ("x_prev", "mean"))
    each = torch.distributions.Normal(mean, EXACT.sigma[KEPT[0]]).log_prob(action) * mask
    torch.testing.assert_close(terms.log_prob.detach(), each.sum(-1) / terms.unit)


# --- inner epochs, and the only window


@every_algorithm
def test_a_second_inner_epoch_starts_off_ratio_1(
    tiny_decoder: Decoder, problem: Problem, name: str
) -> None:
    knobs, algorithm = replace(WIDE, clip_range=1e-4), ALGORITHMS[name]
    _, once = stepped(tiny_decoder, problem, knobs, rate=0.01, algorithm=algorithm)
    assert once.clip_high + once.clip_low == 0
    assert once.ratio_spread == pytest.approx(0.0, abs=1e-5)
    _, twice = stepped(tiny_decoder, problem, knobs, rate=0.01, algorithm=algorithm, inner_epochs=2)
    assert abs(twice.ratio - 1) > 1e-4
    assert twice.ratio_spread > 1e-4
    assert twice.clip_high + twice.clip_low > 0.25


def test_the_shares_clipped_high_and_low_are_told_apart() -> None:
    ratio = torch.tensor([1.2, 1.3, 1.05, 1.0, 0.5, 0.95, 1.11, 1.0])
    terms = [StepTerms(torch.zeros(4), part.log(), torch.ones(4)) for part in ratio.split(4)]
    found = summary(terms, [torch.zeros(4)] * 2, [1.0, 3.0], 0, Knobs(clip_range=0.1))
    assert (found.clip_high, found.clip_low) == (3 / 8, 1 / 8)
    assert found.ratio == pytest.approx(float(ratio.mean()))
    assert found.grad_norm == 2.0


@pytest.mark.parametrize(
    ("log_ratios", "spread"),
    [
        ([0.1, -0.1, 0.1, -0.1], 0.1),
        ([0.3], 0.0),
        ([0.1, torch.nan, -0.1, torch.inf], 0.1),
        ([torch.nan], None),
        ([1e30, -1e30], 1e30),
    ],
)
def test_the_spread_of_the_ratio_is_that_of_its_logarithm(
    log_ratios: list[float], spread: float | None
) -> None:
    terms = [StepTerms(torch.zeros(1), torch.tensor([v]), torch.ones(1)) for v in log_ratios]
    found = summary(terms, [torch.zeros(1)], [1.0], 0, WIDE).ratio_spread
    assert found == pytest.approx(spread)


def test_two_inner_epochs_are_two_optimizer_steps(tiny_decoder: Decoder, problem: Problem) -> None:
    """DDPO draws nothing of its own, so the second epoch is the first on moved weights."""
    settings = Settings(ALGORITHMS["ddpo"])
    ends = []
    for epochs in ((2,), (1, 1)):
        current = copy.deepcopy(tiny_decoder)
        optimizer = torch.optim.SGD(current.parameters(), lr=1e-3)
        for count in epochs:
            optimise(
                Policies(current, tiny_decoder), optimizer, problem,
                replace(settings, inner_epochs=count), WIDE,
            )  # fmt: skip
        ends.append(flat(current))
    assert torch.equal(*ends)


def test_between_runs_after_every_timestep(three_weights: Policy, conditioning: Make) -> None:
    problem, seen = posed(three_weights, conditioning(RAGGED)), []
    optimizer = torch.optim.SGD(three_weights.parameters(), lr=1e-3)
    settings = Settings(ALGORITHMS["dlpo"], inner_epochs=2, microbatch=2)
    optimise(
        Policies(three_weights, three_weights), optimizer, problem, settings, WIDE,
        between=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("at", [1, 2])
def test_what_between_raises_ends_the_update_before_its_step(
    tiny_decoder: Decoder, problem: Problem, at: int
) -> None:
    class Stopped(Exception): ...

    def between(done: int, total: int) -> None:
        if done == at:
            raise Stopped

    clean, _ = stepped(tiny_decoder, problem)
    current = copy.deepcopy(tiny_decoder)
    policies = Policies(current, tiny_decoder)
    optimizer = torch.optim.SGD(current.parameters(), lr=1e-3)
    settings = Settings(ALGORITHMS["dlpo"])
    with pytest.raises(Stopped):
        optimise(policies, optimizer, problem, settings, WIDE, between)
    assert unchanged(current, bits(tiny_decoder))
    optimise(policies, optimizer, problem, settings, WIDE)  # nothing of the broken one is left
    assert torch.equal((flat(tiny_decoder) - flat(current)) / 1e-3, clean)


# --- a policy whose gradient is known


class Located(Policy):
    """p(x_{t-1} | x_t) = N(c_x0 theta + c_xt x_t, sigma^2), and the last timestep returns x_1."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))

    def predict_noise(
        self, x_t: Tensor, cond: Tensor, noise_level: Tensor, frames: Tensor | None = None
    ) -> Tensor:
        clean = torch.where(noise_level > 0.9, x_t, self.theta)
        return (x_t - noise_level * clean) / (1 - noise_level**2).sqrt()


@dataclass(frozen=True)
class Toy:
    """T = 3; r = -(x - m)^2 of a clip's mean x ~ N(slope theta, .), both noisy timesteps kept."""

    target: float = 0.4
    chain: NoiseSchedule = field(
        default_factory=lambda: from_betas(torch.tensor([0.01, 0.5, 0.98]))
    )

    @property
    def slope(self) -> float:
        """d E[x_0] / d theta: x_1 = c_1 theta + k_1 x_2, and x_2 = c_2 theta + k_2 x_3."""
        c, k = self.chain.c_x0, self.chain.c_xt
        return float(c[1] + k[1] * c[2])

    def exact_gradient(self, theta: float) -> float:
        """d E[r] / d theta = -2 (slope theta - m) slope, for x_3 has mean 0."""
        return -2 * (self.slope * theta - self.target) * self.slope

    def pose(self, policy: Policy, rows: int, update: int) -> Problem:
        frames = (1,) * rows
        cond = Conditioning(torch.zeros(rows, 1, 1), torch.ones(rows, dtype=torch.int64))
        draw = RolloutNoise(0, update, frames, (2, 1))
        traj = rollout(policy, self.chain, cond, draw, microbatch=rows)
        reward = -((traj.waveform.mean(-1) - self.target) ** 2)
        valid = torch.ones(rows, dtype=torch.bool)
        return Problem(
            self.chain, traj, frames, reward, valid, own_clips(traj, frames), (0, update)
        )


def rewarded(algorithm: Algorithm) -> bool:
    """True where the advantage enters the loss."""
    one, two = (
        algorithm.loss(
            StepTerms(torch.tensor([a]), torch.zeros(1), *(torch.ones(1) for _ in range(5))),
            Knobs(),
            "both",
        )
        for a in (0.0, 1.0)
    )
    return not torch.equal(one, two)


@pytest.mark.parametrize(("name", "mode"), [c for c in CASES if rewarded(ALGORITHMS[c[0]])])
@pytest.mark.parametrize("target", [0.4, -0.4])
def test_every_algorithm_moves_the_clips_toward_the_reward(
    name: str, mode: Penalty, target: float
) -> None:
    toy, policy = Toy(target), Located(0.0)
    optimizer = torch.optim.SGD(policy.parameters(), lr=4e-3)
    settings = Settings(ALGORITHMS[name], penalty=mode, microbatch=16)
    means = []
    for update in range(25):
        problem = toy.pose(policy, 16, update)
        means.append(float(problem.trajectory.waveform.mean()))
        advantage = advantages(
            "batch", problem.advantage, problem.valid, ("one",) * 16, 16, PromptStatistics()
        )
        optimise(
            Policies(policy, policy), optimizer, replace(problem, advantage=advantage),
            settings, Knobs(beta=0.1, max_grad_norm=1e6),
        )  # fmt: skip
    assert abs(means[0] - target) > 0.35
    assert abs(means[-1] - target) < 0.1


THETA = 0.15


@pytest.fixture(scope="module")
def sampled() -> list[Problem]:
    """Sixty batches of the toy's rollouts, with the reward above a constant as the advantage."""
    toy, policy = Toy(), Located(THETA)
    baseline = -((toy.slope * THETA - toy.target) ** 2)  # a constant, so without bias
    posed_ = (toy.pose(policy, 32, update) for update in range(60))
    return [replace(problem, advantage=problem.advantage - baseline) for problem in posed_]


@pytest.mark.parametrize(
    "name", [n for n, a in ALGORITHMS.items() if rewarded(a) and a.weigh is not softmax_weights]
)
@every_ratio
def test_the_estimator_agrees_with_the_exact_policy_gradient(
    sampled: list[Problem], name: str, ratio: str
) -> None:
    """Softmax weights follow another objective: tests/engine/rl/test_algorithms.py has theirs."""
    found, unit = [], HOP if ratio == "mean" else HOP**0.5
    for problem in sampled:
        step, _ = stepped(
            Located(THETA), problem, replace(WIDE, beta=0.0), rate=1.0,
            algorithm=ALGORITHMS[name], ratio=ratio, microbatch=32,
        )  # fmt: skip
        found.append(-step * unit * len(KEPT))  # the loss is -r, and a mean over K
    estimate = torch.cat(found)
    error = float(estimate.std()) / len(found) ** 0.5
    exactly = Toy().exact_gradient(THETA)
    assert error < 0.1 * abs(exactly)
    assert abs(float(estimate.mean()) - exactly) < 3 * error
