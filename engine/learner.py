"""What an update changes: the policy, its optimiser, its statistics; and what shapes the change.

Built from a profile and its parts; taken apart into a `State`, and put together from one.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from engine import optimizer_state, resume
from engine.assembly import Parts
from engine.device import choose_dtype
from engine.diffusion.schedule import NoiseSchedule, build, trainable
from engine.messages import Knobs
from engine.profile import Profile, ProfileError
from engine.resume import State
from engine.rl.advantages import PromptStatistics
from engine.rl.algorithms import ALGORITHMS
from engine.rl.update import Policies, Settings


@dataclass(slots=True)
class Learner:
    policies: Policies
    optimizer: Optimizer
    statistics: PromptStatistics
    settings: Settings
    schedule: NoiseSchedule
    allowed: tuple[int, ...]
    """Timesteps that may be trained, descending."""
    batch: int
    """B, rollouts an update, on this device."""

    @classmethod
    def create(cls, profile: Profile, parts: Parts, device: torch.device) -> Learner:
        """The decoder becomes the policy; everything else of the voice stays frozen."""
        schedule = build(parts.schedule).to(device)
        rollouts, train = profile.rollout, profile.train
        algorithm = ALGORITHMS[train.algorithm]
        policy, config = parts.voice.model.decoder, parts.voice.card.config
        parts.voice.model.requires_grad_(False)
        policy.requires_grad_(True)
        policy.compute_dtype = choose_dtype(profile.device, device)
        policy.recompute = train.recompute
        frozen = "kl" in algorithm.needs
        reference = copy.deepcopy(policy).requires_grad_(False) if frozen else policy
        return cls(
            Policies(policy, reference),
            torch.optim.AdamW(
                policy.parameters(), lr=profile.knobs.learning_rate, weight_decay=0.0
            ),
            PromptStatistics(),
            Settings(
                algorithm, train.ratio, train.penalty, train.penalty_norm, train.penalty_levels,
                train.inner_epochs, train.rows,
                math.ceil(train.window_seconds * config.frames_per_second),
            ),
            schedule,
            to_train(schedule, profile),
            rollouts.cpu_batch
            if rollouts.cpu_batch and device.type == "cpu"
            else rollouts.batch,
        )  # fmt: skip

    def turn(self, knobs: Knobs) -> None:
        """What the optimiser has to be told of the knobs."""
        for group in self.optimizer.param_groups:
            group["lr"] = knobs.learning_rate

    @contextmanager
    def undivided(self) -> Iterator[Callable[[], None]]:
        """An update that breaks off leaves weights and optimiser as before it.

        Yields what undoes the update for another reason.
        """
        weights = copy.deepcopy(self.policies.current.state_dict())
        moments = copy.deepcopy(self.optimizer.state_dict())

        def undo() -> None:
            self.policies.current.load_state_dict(weights)
            self.optimizer.load_state_dict(moments)
            self.optimizer.zero_grad(set_to_none=True)

        try:
            yield undo
        except BaseException:
            undo()
            raise

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        weights = self.policies.current.parameters()
        return bool(torch.stack([weight.isfinite().all() for weight in weights]).all())

    def resize(self, microbatch: int) -> None:
        """Rows of a forward and backward pass, from now on."""
        self.settings = replace(self.settings, microbatch=microbatch)

    def state(
        self, update: int, skipped: int, first: Tensor | None, identity: dict[str, str]
    ) -> State:
        return State(
            update,
            self.policies.current.state_dict(),
            optimizer_state.tensors_of(self.optimizer),
            self.statistics.state(),
            skipped,
            first,
            identity,
        )

    def restore(self, state: State) -> None:
        """Policy, optimiser and statistics as they were; the reference stays the start's.

        Errors: ValueError where the state is another network's.
        """
        try:
            self.policies.current.load_state_dict(dict(state.policy))
        except RuntimeError:
            raise ValueError(
                f"the state of update {state.update} is that of a voice of other sizes than the "
                "one this run began with; put the run's own resume folder back"
            ) from None
        optimizer_state.restore(self.optimizer, state.optimizer)
        self.statistics.restore(dict(state.statistics))


def to_train(schedule: NoiseSchedule, profile: Profile) -> tuple[int, ...]:
    """Timesteps that may be kept, descending; ProfileError where there is none."""
    if "reward" not in ALGORITHMS[profile.train.algorithm].needs:
        return trainable(schedule, profile.rollout.sigma_min, profile.rollout.window)
    T, first = schedule.timesteps, profile.train.through - 1
    if first not in trainable(schedule, profile.rollout.sigma_min, T):
        raise ProfileError(
            f"train.through = {first + 1} begins at a timestep that this schedule of {T} does not "
            "have, or that adds too little noise (rollout.sigma_min); choose another"
        )
    return (first,)


def identity(profile: Profile, parts: Parts) -> dict[str, str]:
    """What has to be the same wherever a session goes on, by name."""
    scored = [c.name for model in parts.rewards for c in model.columns]
    judged = [c.name for model in parts.judges for c in model.columns]
    return {
        "training prompts": resume.digest(u.text for u in parts.prompts),
        "held-out prompts": resume.digest(u.text for u in parts.held_out),
        "reward columns": ", ".join(scored),
        "judge columns": ", ".join(judged),
        "noise levels": json.dumps(asdict(parts.schedule)),
    }
