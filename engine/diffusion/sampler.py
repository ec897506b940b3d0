"""Ancestral sampling, recording what the optimiser will need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from engine.device import generator, noise
from engine.diffusion.process import p_mean
from engine.diffusion.schedule import NoiseSchedule
from engine.types import HOP, Conditioning, Policy, Trajectory


@dataclass(frozen=True, slots=True)
class RolloutNoise:
    """The random numbers of one batch, by identity: (seed, update, row, t).

    A row draws at its own length, so neither padding, nor the batch around it, nor the number
    of processes changes a value. Sharing noise within a group, and opposite noise in pairs,
    leave every row's own distribution what it was; they only make rows of a group differ where
    a trained transition differs, so that the difference in reward is that transition's doing.
    """

    seed: int
    update: int
    frames: tuple[int, ...]
    """Real frames of each of the B rows."""
    kept: tuple[int, ...] = ()
    """Trained timesteps, descending."""
    group: int = 1
    shared: Literal["none", "prefix", "unkept"] = "none"
    antithetic: bool = False
    first: int = 0
    """Place of the first of these rows in the whole batch, by which it is named; it begins a
    group there."""

    def prefix(self, t: int) -> bool:
        """True before the first kept transition, where the rows of a group may still be one."""
        return not self.kept or t > self.kept[0]

    def shares(self, t: int) -> bool:
        if self.shared == "none" or self.group == 1:
            return False
        return self.prefix(t) or (self.shared == "unkept" and t not in self.kept)

    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        """z_t, or x_T where t = T: (rows, S) fp32 on the CPU, zero in the padding."""
        chosen = rows or range(len(self.frames))
        out = torch.zeros(len(chosen), max(self.frames) * HOP)
        for at, row in enumerate(chosen):
            length, sign, owner = self.frames[row] * HOP, 1.0, row
            if self.shares(t):
                owner = row - row % self.group
            elif self.antithetic and t in self.kept:
                owner, sign = row - row % 2, 1.0 - 2.0 * (row % 2)
            named = self.first + owner
            out[at, :length] = sign * noise(length, self.seed, self.update, named, t)
        return out


class Draw(Protocol):
    """What a rollout asks of its random numbers."""

    @property
    def frames(self) -> tuple[int, ...]: ...
    @property
    def kept(self) -> tuple[int, ...]: ...
    @property
    def group(self) -> int: ...
    def shares(self, t: int) -> bool: ...
    def __call__(self, t: int, rows: range | None = None) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class OneRow:
    """The numbers of one row of a batch, for a rollout of that row alone; keeps no transition."""

    batch: RolloutNoise
    row: int
    kept: tuple[int, ...] = ()
    group: int = 1

    @property
    def frames(self) -> tuple[int, ...]:
        return (self.batch.frames[self.row],)

    def shares(self, t: int) -> bool:
        return False

    def __call__(self, t: int, rows: range | None = None) -> Tensor:
        """(1, S) of the row's own length."""
        drawn = self.batch(t, range(self.row, self.row + 1))
        return drawn[:, : self.frames[0] * HOP]


def choose_kept(allowed: tuple[int, ...], kept: int, seed: int, update: int) -> tuple[int, ...]:
    """Draws min(kept, len(allowed)) distinct trained timesteps, descending."""
    order = torch.randperm(len(allowed), generator=generator(seed, update, "kept"))
    return tuple(sorted((allowed[i] for i in order[:kept].tolist()), reverse=True))


def split(frames: tuple[int, ...], size: int, rows: range | None = None) -> Iterator[list[int]]:
    """Rows in microbatches of `size`, longest first, so that little padding is computed."""
    order = sorted(rows or range(len(frames)), key=lambda row: (-frames[row], row))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def trimmed(conditioning: Conditioning, rows: list[int], frames: tuple[int, ...]) -> Conditioning:
    """The rows' conditioning, cut to the longest among them."""
    longest = max(frames[row] for row in rows)
    return Conditioning(conditioning.cond[rows, :, :longest], conditioning.frames[rows])


def ragged(rows: list[int], frames: tuple[int, ...]) -> bool:
    """True where rows differ in length, so that the network has to be told."""
    return len({frames[row] for row in rows}) > 1


@torch.no_grad()
def rollout(
    policy: Policy,
    schedule: NoiseSchedule,
    conditioning: Conditioning,
    draw: Draw,
    *,
    microbatch: int = 8,
    between: Callable[[int, int], None] = lambda done, total: None,
) -> Trajectory:
    """Samples B waveforms from noise; keeps the K transitions `draw.kept`.

    DDPM's Algorithm 2 (Ho et al. 2020) or DDIM, as the schedule's coefficients say. Rows of a
    group that are still one (a shared prefix) are computed once. `between(done, total)` runs
    after every timestep; what it raises ends the rollout.
    """
    T, frames, device = schedule.timesteps, draw.frames, conditioning.cond.device
    one = draw.shares(T) and draw.group > 1
    rows = range(0, len(frames), draw.group) if one else range(len(frames))
    x = draw(T, rows).to(device)
    states, actions, means, runs = [], [], [], []
    clamped, seen = torch.zeros((), device=device), 0
    for t in reversed(range(T)):
        mean = torch.zeros_like(x)
        for chosen in split(frames, microbatch, rows):
            part, at = trimmed(conditioning, chosen, frames), [rows.index(r) for r in chosen]
            length = part.cond.shape[-1] * HOP
            told = part.frames if ragged(chosen, frames) else None
            mean[at, :length], x_0 = p_mean(policy, schedule, x[at, :length], part.cond, t, told)
            clamped += (x_0.abs() > 1).sum()
            seen += sum(frames[row] for row in chosen) * HOP
        if t in draw.kept:
            runs.append(draw.group if one else 1)
        if one and not draw.shares(t):
            one, rows = False, range(len(frames))
            x, mean = (v.repeat_interleave(draw.group, 0) for v in (x, mean))
        x_prev = mean + schedule.sigma[t] * draw(t, rows).to(device) if t > 0 else mean
        if t in draw.kept:
            states.append(x)
            actions.append(x_prev)
            means.append(mean)
        x = x_prev
        between(T - t, T)
    if one:  # nothing was kept: the rows of a group are one clip
        x = x.repeat_interleave(draw.group, 0)
    empty = x.new_zeros(0, *x.shape)
    return Trajectory(
        conditioning=conditioning,
        timesteps=torch.tensor(draw.kept, dtype=torch.int64),
        x_t=torch.stack(states) if states else empty,
        x_prev=torch.stack(actions) if states else empty,
        mean=torch.stack(means) if states else empty,
        waveform=x.clamp(-1, 1 - 2**-10),
        runs=tuple(runs),
        clamped=clamped / seen,
    )
