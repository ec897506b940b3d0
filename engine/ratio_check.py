"""The check before the first update: rollout and replay are one function, so their ratio is 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.diffusion.sampler import RolloutNoise, rollout
from engine.distributed import ALONE, Ranks
from engine.learner import Learner
from engine.messages import Knobs
from engine.rl.update import Problem, own_clips, ratio_error
from engine.setbacks import SessionError
from engine.synthesis import Utterance, stack


def check_ratio(
    learner: Learner, prompts: Sequence[Utterance], seed: int, knobs: Knobs, ranks: Ranks = ALONE
) -> str:
    """What the two shortest prompts say of it, one sentence; SessionError where it is not 1.

    Every rank asks its own device, and hears the worst of all.
    """
    conditioning, frames = stack(sorted(prompts, key=lambda u: u.frames)[:2])
    noise = RolloutNoise(seed, -1, frames, learner.allowed[:1])
    policy, schedule = learner.policies.current, learner.schedule
    traj = rollout(policy, schedule, conditioning, noise, microbatch=2)
    flat = torch.zeros(len(frames), device=conditioning.cond.device)
    problem = Problem(schedule, traj, frames, flat, flat == 0, own_clips(traj, frames), (seed, -1))
    errors = ranks.gather(ratio_error(learner.policies, problem, learner.settings))
    worst = float(torch.tensor(errors).max())  # NaN if any is
    if not worst <= knobs.clip_range / 10:
        raise SessionError(
            f"the probability ratio is not 1 before the first update: |log ratio| reaches "
            f"{worst:.2g}, more than a tenth of the clip range {knobs.clip_range:g}; "
            "rollout and replay disagree, most likely by precision (device.precision)"
        )
    return f"ratio is 1 before the first update: |log ratio| is at most {worst:.1g}"
