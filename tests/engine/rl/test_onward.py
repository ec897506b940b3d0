from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from engine.diffusion.process import p_mean
from engine.diffusion.sampler import RolloutNoise, rollout
from engine.diffusion.schedule import from_betas, respaced
from engine.messages import Knobs
from engine.model.decoder import Decoder
from engine.rl.algorithms import ALGORITHMS
from engine.rl.onward import Onward
from engine.rl.update import Policies, Problem, Settings, optimise, own_clips, step_terms
from engine.types import HOP, Conditioning, Policy

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = (2, 3, 1)
T = 4
DRAFT = Settings(ALGORITHMS["draft"], microbatch=3)


class Fine(RolloutNoise):
    """The same numbers in fp64, where differences may be divided by small steps."""

    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        return super().__call__(t, rows).double()


def loud(clips: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """A smooth reward that is another one for each row."""
    return torch.stack(
        [(row + 1) * (3 * clip).sin().mean() for clip, row in zip(clips, rows, strict=True)]
    )


def posed(policy: Policy, through: int, score=loud, group: int = 1) -> tuple[Problem, Fine]:
    rng = torch.Generator().manual_seed(3)
    channels = policy.config.cond_channels
    cond = torch.randn(len(FRAMES), channels, max(FRAMES), generator=rng, dtype=torch.float64)
    counts = torch.tensor(FRAMES)
    if group > 1:
        cond, counts = cond[[0, 0, 1, 1]], counts[[0, 0, 1, 1]]
    frames = tuple(counts.tolist())
    for row, count in enumerate(frames):
        cond[row, :, count:] = 0
    draw = Fine(0, 0, frames, (through - 1,), group, "prefix" if group > 1 else "none")
    chain = from_betas(respaced(T).double())
    traj = rollout(policy, chain, Conditioning(cond, counts), draw)
    ones = torch.ones(len(frames), dtype=torch.float64)
    problem = Problem(
        chain, traj, frames, ones, ones > 0, own_clips(traj, frames), (0, 0),
        onward=Onward(draw, score),
    )  # fmt: skip
    return problem, draw


def spoken_from(policy: Policy, problem: Problem, draw: Fine, row: int) -> Tensor:
    """The row's clip, written out from its kept state on: alone, at its own length."""
    traj, chain, t = problem.trajectory, problem.schedule, int(problem.trajectory.timesteps[0])
    count = problem.frames[row]
    cond, n = traj.conditioning.cond[row : row + 1, :, :count], count * HOP
    x = traj.x_t[0, row : row + 1, :n]
    z = (traj.x_prev[0, row, :n] - traj.mean[0, row, :n]) / chain.sigma[t]
    for step in reversed(range(t + 1)):
        x, _ = p_mean(policy, chain, x, cond, step)
        if step > 0:
            x = x + chain.sigma[step] * (z if step == t else draw(step)[row, :n])
    return x[0].clamp(-1, 1 - 2**-10)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("through", [2, 3, 4])
def test_before_the_first_step_the_clips_are_the_rollouts_own(
    tiny_decoder: Decoder, through: int, group: int
) -> None:
    policy, heard = tiny_decoder.double(), {}

    def listen(clips: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        heard.update({row: clip.detach() for row, clip in zip(rows, clips, strict=True)})
        return loud(clips, rows)

    problem, _ = posed(policy, through, listen, group)
    step_terms(
        Policies(policy, policy), problem, DRAFT, 0, list(range(len(problem.frames))),
        torch.zeros_like(problem.trajectory.waveform), 0,
    )  # fmt: skip
    assert sorted(heard) == list(range(len(problem.frames)))
    for row, clip in heard.items():
        own = problem.trajectory.waveform[row, : problem.frames[row] * HOP]
        torch.testing.assert_close(clip, own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("through", [2, 4])
def test_the_gradient_is_the_slope_of_the_reward_along_any_way(
    tiny_decoder: Decoder, through: int
) -> None:
    """Against finite differences of the mean reward of chains written out, in two directions."""
    policy = tiny_decoder.double()
    problem, draw = posed(policy, through)
    current, rate = copy.deepcopy(policy), 1e-6
    optimizer = torch.optim.SGD(current.parameters(), lr=rate)
    knobs = Knobs(alpha=1.5, beta=0.0, max_grad_norm=1e9)
    optimise(Policies(current, policy), optimizer, problem, DRAFT, knobs)
    pairs = list(zip(policy.parameters(), current.parameters(), strict=True))
    ascent = [(new.detach() - old.detach()) / rate for old, new in pairs]

    def mean_reward(way: list[Tensor], by: float) -> float:
        moved = copy.deepcopy(policy)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), way, strict=True):
                p += by * d
            clips = [spoken_from(moved, problem, draw, row) for row in range(len(FRAMES))]
            return float(loud(clips, range(len(FRAMES))).mean())

    rng = torch.Generator().manual_seed(1)
    other = [torch.randn(d.shape, generator=rng, dtype=torch.float64) for d in ascent]
    for way in (ascent, other):
        size = float(sum((d**2).sum() for d in way)) ** 0.5
        unit, h = [d / size for d in way], 1e-6
        slope = (mean_reward(unit, h) - mean_reward(unit, -h)) / (2 * h)
        expected = float(sum((a * d).sum() for a, d in zip(ascent, unit, strict=True)))
        assert abs(slope) > 1e-6
        assert knobs.alpha * slope == pytest.approx(expected, rel=1e-3)


def test_more_inner_epochs_follow_the_reward_on(tiny_decoder: Decoder) -> None:
    """Each optimizer step speaks the clips anew, so the loss of many falls below that of one."""
    policy = tiny_decoder.double()
    problem, _ = posed(policy, 4)
    losses = []
    for epochs in (1, 6):
        current = copy.deepcopy(policy)
        optimizer = torch.optim.Adam(current.parameters(), lr=3e-5)
        settings = Settings(ALGORITHMS["draft"], inner_epochs=epochs, microbatch=2)
        done = optimise(Policies(current, policy), optimizer, problem, settings, Knobs(beta=0.0))
        losses.append(done.loss)
    assert losses[1] < losses[0]


def test_without_a_reward_a_session_could_ask_nothing(tiny_decoder: Decoder) -> None:
    """The check of the ratio poses a problem without one: all terms but the reward are there."""
    policy = tiny_decoder.double()
    problem, _ = posed(policy, 3)
    bare = Problem(*(getattr(problem, name) for name in (
        "schedule", "trajectory", "frames", "advantage", "valid", "speech", "identity",
    )))  # fmt: skip
    eps = torch.zeros_like(problem.trajectory.waveform)
    terms = step_terms(Policies(policy, policy), bare, DRAFT, 0, [0, 1, 2], eps, 0)
    assert terms.reward is None
    assert float(terms.log_ratio.detach().abs().max()) < 1e-9


def test_a_reward_that_is_no_number_leaves_the_weights(tiny_decoder: Decoder) -> None:
    policy = tiny_decoder.double()
    problem, _ = posed(policy, 3, lambda clips, rows: loud(clips, rows) * torch.nan)
    current = copy.deepcopy(policy)
    optimizer = torch.optim.Adam(current.parameters(), lr=1e-3)
    done = optimise(Policies(current, policy), optimizer, problem, DRAFT, Knobs())
    assert done.skipped == 1
    for old, new in zip(policy.parameters(), current.parameters(), strict=True):
        assert torch.equal(old, new)
