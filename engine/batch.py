"""The batch of an update by identity: its prompts, its random numbers, what its penalty noises.

Everything follows from the profile, the parts and the number of the update, so every rank and
every resumed session names the same; `first` is the place of a rank's first row in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.assembly import Parts
from engine.device import generator
from engine.diffusion.sampler import Draw, RolloutNoise, choose_kept
from engine.profile import Profile
from engine.recorded import windows
from engine.rewards.base import reward_with_gradient
from engine.rl.algorithms import ALGORITHMS
from engine.rl.onward import Onward
from engine.rl.update import Speech, own_clips
from engine.synthesis import Utterance
from engine.types import Trajectory


def prompts(profile: Profile, parts: Parts, update: int, batch: int) -> list[Utterance]:
    """batch / group prompts of an update, each `group` times."""
    pool, group = parts.prompts, profile.rollout.group
    count = batch // group
    drawn = []
    for place in range(update * count, (update + 1) * count):
        epoch, at = divmod(place, len(pool))  # every prompt once, then all again in new order
        rng = generator(profile.seed, epoch, "prompts")
        drawn += [pool[int(torch.randperm(len(pool), generator=rng)[at])]] * group
    return drawn


def noise(
    profile: Profile, allowed: tuple[int, ...], update: int, frames: tuple[int, ...], first: int = 0
) -> RolloutNoise:
    """The random numbers of an update's rollouts, and the timesteps of `allowed` it trains."""
    spec, seed = profile.rollout, profile.seed
    kept = choose_kept(allowed, spec.kept, seed, update)
    return RolloutNoise(seed, update, frames, kept, spec.group, spec.shared, spec.antithetic, first)


def speech(
    profile: Profile,
    parts: Parts,
    update: int,
    traj: Trajectory,
    spoken: list[Utterance],
    frames: tuple[int, ...],
    first: int = 0,
) -> Speech:
    """What the penalty noises: own clips, or a window of each prompt's recording."""
    if profile.train.penalty_source == "sample":
        return own_clips(traj, frames)
    width = parts.voice.card.config.window_frames
    identity = (profile.seed, update)
    return windows(parts.recordings, spoken, width, profile.rollout.group, identity, first)


def onward(profile: Profile, parts: Parts, draw: Draw, spoken: list[Utterance]) -> Onward | None:
    """The way from a kept transition to the reward of these B; None where no algorithm asks."""
    if "reward" not in ALGORITHMS[profile.train.algorithm].needs:
        return None
    rate = parts.voice.card.config.sample_rate

    def score(clips: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
        texts = [spoken[row].text for row in rows]
        return reward_with_gradient(parts.rewards, parts.weights, clips, rate, texts)

    return Onward(draw, score)
