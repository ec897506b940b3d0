"""Windows of clips: the network says there what it says in the whole; no gradient is biased."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.diffusion.sampler import RolloutNoise, rollout
from engine.diffusion.schedule import from_betas, respaced
from engine.messages import Knobs
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder, reach
from engine.rl import views
from engine.rl.algorithms import ALGORITHMS
from engine.rl.update import (
    Policies,
    Problem,
    Settings,
    optimise,
    own_clips,
    penalty_noise,
    ratio_error,
    step_terms,
)
from engine.rl.views import piece, whole, windows
from engine.types import HOP, Conditioning, Policy

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[[tuple[int, ...]], Conditioning]
FRAMES = (36, 24)
SIZE = 12
CHAIN = from_betas(respaced(4).double())
WIDE = Knobs(max_grad_norm=1e6)


class Fine(RolloutNoise):
    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        return super().__call__(t, rows).double()


@pytest.fixture
def problem(tiny_decoder: Decoder, conditioning: Make) -> Problem:
    """Two clips of two and three windows, in fp64; the decoder becomes fp64, too."""
    return posed(tiny_decoder.double(), fine(conditioning(FRAMES)))


def posed(policy: Policy, conditioning: Conditioning, **kind: object) -> Problem:
    frames = tuple(conditioning.frames.tolist())
    noise = Fine(0, 0, frames, (3, 2), **kind)
    traj = rollout(policy, CHAIN, conditioning, noise)
    advantage = torch.linspace(1, -0.6, len(frames)).double()
    return Problem(CHAIN, traj, frames, advantage, advantage < 9, own_clips(traj, frames), (0, 0))


def fine(conditioning: Conditioning) -> Conditioning:
    return Conditioning(conditioning.cond.double(), conditioning.frames)


# --- pieces


@pytest.mark.parametrize(("frames", "size"), [(10, 3), (36, 12), (5, 9), (7, 7), (441, 40)])
def test_every_frame_lies_in_one_piece_drawn_by_its_share(frames: int, size: int) -> None:
    drawn = {piece(frames, size, (seed,)) for seed in range(40 * frames)}
    ordered = sorted(drawn)
    assert [first for first, _ in ordered] == [0, *(end for _, end in ordered[:-1])]
    assert ordered[-1][1] == frames
    lengths = [end - first for first, end in ordered]
    assert len(lengths) == -(-frames // size)
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_a_longer_piece_is_drawn_as_much_oftener() -> None:
    """Ten frames in two pieces of 3 and one of 4: the last has 0.4, give or take 4.5 deviations."""
    drawn = [piece(10, 4, ("share", seed)) for seed in range(2000)]
    assert set(drawn) == {(0, 3), (3, 6), (6, 10)}
    assert drawn.count((6, 10)) / 2000 == pytest.approx(0.4, abs=0.05)


# --- what is seen


@pytest.mark.parametrize("config", [ModelConfig.base(), ModelConfig.large()], ids=["base", "large"])
def test_the_reach_is_a_few_frames(config: ModelConfig) -> None:
    assert 5 <= reach(config) * config.hop / config.sample_rate * 73.5 <= 20


def test_an_audio_sample_depends_on_nothing_beyond_the_reach(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    decoder, there = tiny_decoder.double(), fine(conditioning((41,)))
    x = torch.randn(1, 41 * HOP, generator=torch.Generator().manual_seed(3)).double()
    x.requires_grad_(True)
    cond = there.cond.clone().requires_grad_(True)
    middle = 20 * HOP + 150
    out = decoder.eps(x, cond, torch.full((1, 1), 0.7).double())
    by_x, by_cond = torch.autograd.grad(out[0, middle], (x, cond))
    seen = by_x[0].nonzero().flatten()
    assert middle - seen.min() <= decoder.reach * HOP
    assert seen.max() - middle <= decoder.reach * HOP
    assert seen.max() - seen.min() > decoder.reach * HOP  # so half of it would be too little
    frames = by_cond[0].abs().sum(0).nonzero().flatten()
    assert 20 - frames.min() <= decoder.reach
    assert frames.max() - 20 <= decoder.reach


@pytest.mark.parametrize("margin", [0, 1])
def test_in_its_window_the_network_says_what_it_says_in_the_whole(
    tiny_decoder: Decoder, conditioning: Make, margin: int
) -> None:
    decoder, there = tiny_decoder.double(), fine(conditioning((61, 50, 33)))
    rows, frames = [0, 1, 2], (61, 50, 33)
    x = there.mask * torch.randn(3, 61 * HOP, generator=torch.Generator().manual_seed(3)).double()
    level = torch.full((3, 1), 0.7).double()
    expected = decoder.eps(x, there.cond, level, there.frames)
    kept = decoder.reach if margin else 1
    names = [("a window of row", row) for row in rows]
    view = windows(there, rows, frames, 11, kept, names)
    found = decoder.eps(view.cut(x, rows, rows), view.part.cond, level, view.frames)
    error = ((found - view.cut(expected, rows, rows)) * view.weight).abs().max()
    assert error < 1e-10 if margin else error > 1e-4
    assert view.weight.shape[-1] < 61 * HOP


def test_the_weights_of_a_window_add_up_to_the_clip(conditioning: Make) -> None:
    frames = (61, 50, 33)
    there = conditioning(frames)
    view = windows(there, [2, 0], frames, 11, 4, [("x", 2), ("x", 0)])
    torch.testing.assert_close(view.weight.sum(-1), torch.tensor([33.0 * HOP, 61.0 * HOP]))
    assert int((view.weight[0] > 0).sum()) == 11 * HOP


def test_the_whole_is_a_view_without_a_choice(conditioning: Make) -> None:
    frames = (6, 5, 3)
    there = conditioning(frames)
    view = whole(there, [1, 2], frames)
    assert torch.equal(view.weight, there.mask[[1, 2], : 5 * HOP])
    x = torch.randn(3, 6 * HOP)
    assert torch.equal(view.cut(x, [2, 1], [1, 0]), x[[2, 1], : 5 * HOP])


# --- what is learnt


def gradient(policy: Policy, problem: Problem, settings: Settings) -> Tensor:
    """Of the mean loss of both clips at the first kept timestep."""
    terms = step_terms(
        Policies(policy, policy), problem, settings, 0, [0, 1], penalty_noise(problem, 0, 0), 3
    )
    loss = settings.algorithm.loss(terms, WIDE, settings.penalty).mean()
    weights = list(policy.parameters())
    found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def enumerated(
    monkeypatch: pytest.MonkeyPatch, policy: Policy, problem: Problem, settings: Settings,
    pairs: list[tuple[int, int]],
) -> Tensor:  # fmt: skip
    """The mean gradient over these choices of a piece for the ratio and one for the penalty.

    All pieces of a clip are of one length here, so all are as likely; a clip of two pieces and
    one of three go through all of theirs in six choices.
    """
    found = []
    for pair in pairs:
        which = {"window": pair[0], "penalty window": pair[1]}

        def chosen(
            frames: int, size: int, name: tuple[int | str, ...], which: dict[str, int] = which
        ) -> tuple[int, int]:
            at = which[str(name[-1])] % (frames // size)
            return at * size, (at + 1) * size

        monkeypatch.setattr(views, "piece", chosen)
        found.append(gradient(policy, problem, settings))
    return torch.stack(found).mean(0)


EVERY = [(i, j) for i in range(6) for j in range(6)]
TOGETHER = [(i, i) for i in range(6)]


@pytest.mark.parametrize("ratio", ["standardised", "mean"])
@pytest.mark.parametrize("mode", ["reward", "loss", "both"])
def test_windows_leave_the_gradient_of_dlpo_unbiased(
    tiny_decoder: Decoder, problem: Problem, monkeypatch: pytest.MonkeyPatch, ratio: str, mode: str
) -> None:
    settings = Settings(ALGORITHMS["dlpo"], ratio, mode)
    expected = gradient(tiny_decoder, problem, settings)
    windowed = replace(settings, window=SIZE)
    found = enumerated(monkeypatch, tiny_decoder, problem, windowed, EVERY)
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ["ddpo", "dpok", "rwr", "rwr_raw"])
def test_windows_leave_the_gradient_of_the_others_unbiased(
    tiny_decoder: Decoder, problem: Problem, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = Settings(ALGORITHMS[name])
    expected = gradient(tiny_decoder, problem, settings)
    windowed = replace(settings, window=SIZE)
    found = enumerated(monkeypatch, tiny_decoder, problem, windowed, TOGETHER)
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


def test_one_window_for_ratio_and_penalty_would_be_biased(
    tiny_decoder: Decoder, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why the penalty draws its own: what l and log p have in common there does not cancel."""
    settings = Settings(ALGORITHMS["dlpo"], penalty="reward")
    expected = gradient(tiny_decoder, problem, settings)
    windowed = replace(settings, window=SIZE)
    found = enumerated(monkeypatch, tiny_decoder, problem, windowed, TOGETHER)
    assert float((found - expected).abs().max()) > 1e-4 * float(expected.abs().max())


def test_the_ratio_is_one_in_every_window(tiny_decoder: Decoder, problem: Problem) -> None:
    policies = Policies(tiny_decoder, tiny_decoder)
    for window in (1, 5, SIZE, 100):
        assert ratio_error(policies, problem, Settings(ALGORITHMS["dlpo"], window=window)) < 1e-9


def test_a_window_longer_than_the_clips_changes_nothing(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    settings = Settings(ALGORITHMS["dlpo"])
    expected = gradient(tiny_decoder, problem, settings)
    found = gradient(tiny_decoder, problem, replace(settings, window=36))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_rows_that_share_a_state_share_its_window_and_are_computed_once(
    tiny_decoder: Decoder, conditioning: Make
) -> None:
    """Four rollouts of a sentence, one until the first kept timestep: one state is seen there."""
    one = fine(conditioning((36,)))
    group = Conditioning(one.cond.expand(4, -1, -1), one.frames.expand(4))
    decoder = tiny_decoder.double()
    problem = posed(decoder, group, group=4, shared="prefix")
    seen = []

    class Counting(Decoder):
        def predict_noise(self, x_t: Tensor, *rest: Tensor) -> Tensor:  # type: ignore[override]
            seen.append(len(x_t))
            return super().predict_noise(x_t, *rest)

    counting = Counting(decoder.config).double()
    counting.load_state_dict(decoder.state_dict())
    settings = Settings(ALGORITHMS["ddpo"], window=SIZE)
    eps = penalty_noise(problem, 0, 0)
    terms = step_terms(Policies(counting, counting), problem, settings, 0, [3, 1, 2, 0], eps, 3)
    assert seen == [1]
    assert float(terms.log_ratio.detach().abs().max()) < 1e-9


def test_windows_are_drawn_by_row_and_timestep_whatever_the_microbatch(
    tiny_decoder: Decoder, problem: Problem
) -> None:
    ends = []
    for microbatch in (1, 2):
        current = Decoder(tiny_decoder.config).double()
        current.load_state_dict(tiny_decoder.state_dict())
        optimizer = torch.optim.SGD(current.parameters(), lr=1e-3)
        settings = Settings(ALGORITHMS["dlpo"], microbatch=microbatch, window=5)
        optimise(Policies(current, current), optimizer, problem, settings, WIDE)
        ends.append(torch.cat([p.detach().flatten() for p in current.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)
    whole_ = Settings(ALGORITHMS["dlpo"])
    windowed = replace(whole_, window=5)
    assert not torch.allclose(
        gradient(tiny_decoder, problem, whole_), gradient(tiny_decoder, problem, windowed)
    )
