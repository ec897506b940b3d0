"""One update: the passes over a trajectory that change the policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from engine.device import generator, noise
from engine.diffusion.process import (
    RatioForm,
    gaussian_kl,
    gaussian_log_prob,
    log_ratio,
    nats_in_unit,
    p_mean,
    q_sample,
)
from engine.diffusion.sampler import split
from engine.diffusion.schedule import NoiseSchedule
from engine.distributed import ALONE, Ranks
from engine.messages import Knobs
from engine.rl.algorithms import Algorithm, Penalty
from engine.rl.onward import Onward
from engine.rl.views import View, whole, windows
from engine.types import HOP, Conditioning, Policy, StepTerms, Trajectory, masked_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policies:
    """One network in two roles; the second never receives a gradient."""

    current: Policy
    reference: Policy
    """The pretrained network, frozen; read only by algorithms that need `kl`."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What the penalty noises: the rollouts' own clips, or recorded speech of their prompts."""

    waveform: Tensor
    """(B, S)"""
    conditioning: Conditioning
    """Of that speech: with the recording's own alignment where it is a recording."""
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything one update is computed from; constant while it runs."""

    schedule: NoiseSchedule
    trajectory: Trajectory
    frames: tuple[int, ...]
    """Real frames of each row."""
    advantage: Tensor
    """(B,)"""
    valid: Tensor
    """(B,) bool; a row that is not valid takes no part."""
    speech: Speech
    identity: tuple[int, int]
    """(seed, update): names the penalty's noise."""
    first: int = 0
    """Place of this rank's first row in the whole batch, of which these B are its share."""
    onward: Onward | None = None
    """How the reward's own gradient is had; read only by algorithms that need `reward`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The profile's choices that shape the loss; fixed for a session."""

    algorithm: Algorithm
    ratio: RatioForm = "standardised"
    penalty: Penalty = "both"
    penalty_norm: Literal["l1", "l2"] = "l1"
    penalty_levels: Literal["kept", "any"] = "kept"
    inner_epochs: int = 1
    microbatch: int = 4
    window: int = 0
    """Frames of each row that a pass looks at; 0: all. Unbiased while the ratio is 1, so with one
    inner epoch, and where no term of the loss multiplies two sums over a window (KLinR's does)."""


@dataclass(frozen=True, slots=True)
class Optimised:
    """Means over one update, as UpdateStats wants them."""

    loss: float
    penalty: float | None
    kl: float | None
    ratio: float
    clip_high: float
    clip_low: float
    grad_norm: float
    skipped: int
    ratio_spread: float | None = None


def own_clips(trajectory: Trajectory, frames: tuple[int, ...]) -> Speech:
    """penalty_source = "sample": each row's own finished clip."""
    return Speech(trajectory.waveform, trajectory.conditioning, frames)


def diffusion_loss(
    policy: Policy,
    schedule: NoiseSchedule,
    speech: Speech,
    t: int,
    eps: Tensor,
    rows: list[int],
    norm: Literal["l1", "l2"],
    view: View | None = None,
) -> Tensor:
    """l = mean |eps - eps_theta(x~_t, c, t)| over each row's audio samples; (rows,).

    x~_t is q(x_t | speech): WaveGrad 2's own training loss (L1; L2 squares it). `view`: what is
    seen of the rows; None: all.
    """
    view, own = view or whole(speech.conditioning, rows, speech.frames), range(len(rows))
    target = view.cut(eps, rows, own)
    x_t = q_sample(schedule, view.cut(speech.waveform, rows, own), t, target) * view.part.mask
    level = schedule.levels[t].expand(len(rows), 1)
    error = target - policy.eps(x_t, view.part.cond, level, view.frames)
    return masked_mean(error.abs() if norm == "l1" else error**2, view.weight)


def viewed(
    reach: int, problem: Problem, settings: Settings, of: Speech, rows: list[int], *name: int | str
) -> View:
    """What a pass sees of these rows: all, or a window that is drawn by row and `name`."""
    if not settings.window:
        return whole(of.conditioning, rows, of.frames)
    names = [(*problem.identity, problem.first + row, *name) for row in rows]
    return windows(of.conditioning, rows, of.frames, settings.window, reach, names)


def step_terms(
    policies: Policies,
    problem: Problem,
    settings: Settings,
    k: int,
    rows: list[int],
    eps: Tensor,
    noised: int,
) -> StepTerms:
    """Runs the forward passes the algorithm needs at kept timestep k, for `rows` of B.

    The penalty noises its speech with `eps` to the level of timestep `noised`.
    """
    trajectory, schedule = problem.trajectory, problem.schedule
    t, needs = int(trajectory.timesteps[k]), settings.algorithm.needs
    firsts = [row - row % trajectory.runs[k] for row in rows]
    seen = list(dict.fromkeys(firsts))  # rows that share a state are computed once
    at, reach = [seen.index(first) for first in firsts], policies.current.reach
    clips = own_clips(trajectory, problem.frames)
    view = viewed(reach, problem, settings, clips, seen, t, "window")
    cond, told, mask = view.part.cond, view.frames, view.weight[at]
    state = view.cut(trajectory.x_t[k], seen, range(len(seen)))
    mean, _ = p_mean(policies.current, schedule, state, cond, t, told)
    action = view.cut(trajectory.x_prev[k], rows, at)
    sigma, unit = schedule.sigma[t], nats_in_unit(settings.ratio, mask)
    kl = log_prob = penalty = reward = None
    if "kl" in needs:
        with torch.no_grad():
            reference, _ = p_mean(policies.reference, schedule, state, cond, t, told)
        kl = gaussian_kl(mean, reference, sigma, view.weight)[at] / unit
    if "log_prob" in needs:
        log_prob = gaussian_log_prob(action, mean[at], sigma, mask) / unit
    if "penalty" in needs:  # in a window of its own: a product of two sums over one is biased
        own = viewed(reach, problem, settings, problem.speech, rows, t, "penalty window")
        penalty = diffusion_loss(
            policies.current,
            schedule,
            problem.speech,
            noised,
            eps,
            rows,
            settings.penalty_norm,
            own,
        )
    old = view.cut(trajectory.mean[k], rows, at)
    ratio = log_ratio(settings.ratio, action, mean[at], old, sigma, mask)
    if "reward" in needs and problem.onward is not None:  # the action's noise is the rollout's
        after, frames = mean[at] + (action - old), None if told is None else told[at]
        reward = problem.onward.reward(policies.current, schedule, after, cond[at], frames, t, rows)
    return StepTerms(problem.advantage[rows], ratio, unit, penalty, kl, log_prob, reward)


def penalty_timestep(problem: Problem, settings: Settings, k: int, epoch: int) -> int:
    """The timestep whose level the penalty is taken at; drawn by identity where any may be.

    All rows share it: l differs by level far more than by clip, and l is a reward, too.
    """
    kept = int(problem.trajectory.timesteps[k])
    if settings.penalty_levels == "kept":
        return kept
    drawn = generator(*problem.identity, kept, "penalty level", epoch)
    return int(torch.randint(problem.schedule.timesteps, (1,), generator=drawn))


def penalty_noise(problem: Problem, k: int, epoch: int) -> Tensor:
    """(B, S) the penalty's eps, each row by identity and at its own length."""
    speech, t = problem.speech, int(problem.trajectory.timesteps[k])
    out = torch.zeros(speech.waveform.shape)
    for row, frames in enumerate(speech.frames):
        length = frames * HOP
        named = problem.first + row
        out[row, :length] = noise(length, *problem.identity, named, t, "penalty", epoch)
    return out.to(speech.waveform.device)


def optimise(
    policies: Policies,
    optimizer: Optimizer,
    problem: Problem,
    settings: Settings,
    knobs: Knobs,
    between: Callable[[int, int], None] = lambda done, total: None,
    ranks: Ranks = ALONE,
) -> Optimised:
    """Takes `inner_epochs` optimizer steps, each the mean loss over all K x B pairs.

    The gradient is accumulated over timesteps, microbatches and ranks so that it equals one big
    batch. A loss or gradient that is not finite, on any rank, leaves the weights as they were and
    is counted. `between(done, total)` runs after every timestep; what it raises ends the update.
    """
    if weigh := settings.algorithm.weigh:
        weight = weigh(ranks.rows(problem.advantage), ranks.rows(problem.valid), knobs.alpha)
        own = slice(problem.first, problem.first + len(problem.valid))
        problem = replace(problem, advantage=weight[own])
    K, good = len(problem.trajectory.timesteps), problem.valid.nonzero().flatten().tolist()
    pairs = K * sum(ranks.gather(len(good)))
    weights = [w for group in optimizer.param_groups for w in group["params"]]
    terms: list[StepTerms] = []
    losses, norms, skipped = [], [], 0
    optimizer.zero_grad(set_to_none=True)
    for epoch in range(settings.inner_epochs if pairs else 0):
        for k in range(K):
            eps = penalty_noise(problem, k, epoch)
            noised = penalty_timestep(problem, settings, k, epoch)
            for rows in microbatches(problem.frames, settings.microbatch, good):
                term = step_terms(policies, problem, settings, k, rows, eps, noised)
                loss = settings.algorithm.loss(term, knobs, settings.penalty)
                (loss.sum() / pairs).backward()
                losses.append(loss.detach())
                terms.append(detached(term))
            between(epoch * K + k + 1, settings.inner_epochs * K)
        ranks.add(weights)
        norm = float(nn.utils.clip_grad_norm_(weights, knobs.max_grad_norm))
        norms.append(norm)
        finite = not losses or bool(torch.cat(losses).isfinite().all())
        if ranks.every(math.isfinite(norm) and finite):
            optimizer.step()
        else:
            skipped += 1
        optimizer.zero_grad(set_to_none=True)
    terms, losses = everyones(ranks, terms, losses)
    return summary(terms, losses, norms, skipped, knobs)


def everyones(
    ranks: Ranks, terms: list[StepTerms], losses: list[Tensor]
) -> tuple[list[StepTerms], list[Tensor]]:
    """What `summary` reads, of every rank."""
    if ranks.count == 1:
        return terms, losses
    there = [replace(term, **{k: v.cpu() for k, v in present(term).items()}) for term in terms]
    told = ranks.gather((there, [loss.cpu() for loss in losses]))
    return [term for own, _ in told for term in own], [loss for _, own in told for loss in own]


def present(terms: StepTerms) -> dict[str, Tensor]:
    """The terms that were computed, by name."""
    values = {field.name: getattr(terms, field.name) for field in fields(terms)}
    return {name: value for name, value in values.items() if value is not None}


def microbatches(frames: tuple[int, ...], size: int, good: list[int]) -> list[list[int]]:
    """The valid rows in microbatches, longest first."""
    lengths = tuple(frames[row] for row in good)
    return [[good[i] for i in rows] for rows in split(lengths, size)]


def detached(terms: StepTerms) -> StepTerms:
    """What `summary` reads, without the graph."""
    return StepTerms(
        terms.advantage,
        terms.log_ratio.detach(),
        terms.unit,
        None if terms.penalty is None else terms.penalty.detach(),
        None if terms.kl is None else terms.kl.detach(),
        reward=None if terms.reward is None else terms.reward.detach(),
    )


def summary(
    terms: list[StepTerms], losses: list[Tensor], norms: list[float], skipped: int, knobs: Knobs
) -> Optimised:
    """One pass over what was collected, after the last optimizer step.

    Means are over finite numbers: a step left out is told by `skipped`, never by a NaN.
    """
    if not terms:
        return Optimised(0.0, None, None, 1.0, 0.0, 0.0, 0.0, 0)
    log_ratios = torch.cat([t.log_ratio for t in terms])
    ratio = log_ratios.exp()
    penalties = [t.penalty for t in terms if t.penalty is not None]
    kls = [t.kl * t.unit for t in terms if t.kl is not None]
    return Optimised(
        loss=finite_mean(torch.cat(losses), 0.0),
        penalty=finite_mean(torch.cat(penalties), None) if penalties else None,
        kl=finite_mean(torch.cat(kls), None) if kls else None,
        ratio=finite_mean(ratio, 1.0),
        clip_high=float((ratio > 1 + knobs.clip_range).float().mean()),
        clip_low=float((ratio < 1 - knobs.clip_range).float().mean()),
        grad_norm=finite_mean(torch.tensor(norms), 0.0),
        skipped=skipped,
        ratio_spread=finite_spread(log_ratios),
    )


def finite_spread(x: Tensor) -> float | None:
    """Standard deviation, divided by N, of what is finite in x (N,); None where nothing is."""
    finite = x[x.isfinite()]
    return float(finite.double().std(correction=0)) if len(finite) else None


def finite_mean(x: Tensor, otherwise: T) -> float | T:
    """Mean of what is finite in x (N,); `otherwise` where nothing is."""
    finite = x[x.isfinite()]
    return float(finite.mean()) if len(finite) else otherwise


@torch.no_grad()
def ratio_error(policies: Policies, problem: Problem, settings: Settings) -> float:
    """max |log ratio| with the weights unchanged: 0 but for rounding, or something is broken.

    Rollout and replay differ in microbatch and in gradient mode, so this is the check that
    they compute one function.
    """
    ratios, every = [], list(range(len(problem.frames)))
    for k in range(len(problem.trajectory.timesteps)):
        eps = penalty_noise(problem, k, 0)
        noised = penalty_timestep(problem, settings, k, 0)
        for rows in microbatches(problem.frames, settings.microbatch, every):
            ratios.append(step_terms(policies, problem, settings, k, rows, eps, noised).log_ratio)
    return float(torch.cat(ratios).abs().max())  # NaN if any is, unlike Python's max
