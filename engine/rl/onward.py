"""On from a kept transition to the finished clip and its reward, with a gradient all the way.

The score-function gradient of the other algorithms knows of a reward only its value; where the
score model is differentiable, this asks it which way. One kept timestep then stands for all that
follow it: the chain from there on is computed again, on the rollout's own random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from engine.diffusion.process import p_mean
from engine.diffusion.sampler import Draw
from engine.diffusion.schedule import NoiseSchedule
from engine.types import HOP, Policy

Score = Callable[[Sequence[Tensor], Sequence[int]], Tensor]
"""Finished clips (S_b,) and their rows of the B rollouts -> rewards (rows,), with gradient."""


@dataclass(frozen=True, slots=True)
class Onward:
    """What is to be known of the rest of the chain."""

    draw: Draw
    """The rollout's own random numbers."""
    score: Score

    def reward(
        self,
        policy: Policy,
        schedule: NoiseSchedule,
        x: Tensor,
        cond: Tensor,
        told: Tensor | None,
        t: int,
        rows: list[int],
    ) -> Tensor:
        """Rewards (rows,) of the clips that the chain makes of x_t.

        Args:
            policy: in every transition that is left.
            schedule: of the chain.
            x: (rows, S) x_t, the state after the kept transition.
            cond: (rows, C, M) of these rows.
            told: (rows,) their frames, or None where all are M.
            t: transitions that are left: t - 1, ..., 0.
            rows: of the B rollouts.

        Each transition's activations are computed again in the backward pass: a clip keeps those
        of one, and the states between them.
        """
        for step in reversed(range(t)):
            x = checkpoint(
                transition, policy, schedule, x, cond, step, told,
                use_reentrant=False, preserve_rng_state=False,
            )  # fmt: skip
            if step > 0:
                x = x + schedule.sigma[step] * self.noise(step, rows, x)
        clips = x.clamp(-1, 1 - 2**-10)
        lengths = [self.draw.frames[row] * HOP for row in rows]
        return self.score([clips[i, :n] for i, n in enumerate(lengths)], rows)

    def noise(self, t: int, rows: list[int], like: Tensor) -> Tensor:
        """z_t of these rows, of the shape, type and device of `like`."""
        drawn = [self.draw(t, range(row, row + 1))[:, : like.shape[-1]] for row in rows]
        return torch.cat(drawn).to(like)


def transition(
    policy: Policy,
    schedule: NoiseSchedule,
    x: Tensor,
    cond: Tensor,
    t: int,
    told: Tensor | None,
) -> Tensor:
    """The mean of p(x_{t-1} | x_t)."""
    return p_mean(policy, schedule, x, cond, t, told)[0]
