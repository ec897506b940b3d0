"""How many rows a pass takes at a time where the profile leaves it open: as many as memory holds.

The longest prompt goes through the very passes of a rollout and of an update, one row and then
two; what the second adds is a row's share of the memory that is free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from engine import batch
from engine import messages as m
from engine.diffusion.process import p_mean
from engine.diffusion.sampler import Draw, RolloutNoise
from engine.learner import Learner
from engine.memory import Memory, give_back_memory, memory_of, out_of_memory
from engine.messages import Knobs
from engine.profile import Profile
from engine.rl.onward import Onward
from engine.rl.update import Problem, own_clips, penalty_noise, penalty_timestep, step_terms
from engine.synthesis import Utterance, stack
from engine.types import HOP, Trajectory

if TYPE_CHECKING:
    from engine.session import Session

SHARE = 0.8
"""Of the memory that is free; the rest is for what was not measured, and for others."""
CPU_ROWS = 8
"""On a CPU more rows at a time gain nothing; docs/performance.md."""
WEIGHT_COPIES = 6
"""What an update holds beside them, each as large as the weights: their gradient, two moments, and
the copies of weights and moments that take it back."""
CLIP_COPIES = 3
"""Of each clip and kept timestep: state, action and mean."""

PHASES: dict[m.Phase, str] = {"rollout": "a rollout", "optimise": "an update"}

Pass = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Room:
    """What was measured, bytes."""

    free: float
    """What the passes may share."""
    fixed: float
    """Taken whatever the number of rows."""
    row: float

    def rows(self, most: int) -> int:
        """As many as fit, at least 1 and at most `most`."""
        fit = int((self.free - self.fixed) / self.row) if self.row > 0 else most
        return min(max(fit, 1), most)


def measured(
    work: Pass,
    memory: Memory,
    reserved: float = 0.0,
    between: Callable[[int], None] = lambda done: None,
    processes: int = 1,
) -> Room:
    """Runs `work` with one row, to warm up, then with one and with two.

    `reserved`: bytes of what is free that are spoken for. Where two rows do not fit, one is all.
    `between(done)` runs after each of the three. `processes`: how many share the memory.
    """
    work(1)
    between(1)
    one = memory.most(lambda: work(1))
    between(2)
    free = SHARE * memory.free() / processes - reserved
    try:
        two = memory.most(lambda: work(2))
    except Exception as error:
        if not out_of_memory(error):
            raise
        two = math.inf
    between(3)
    row = max(two - one, one / 8)  # less is chance: what the first left lying was taken again
    return Room(free, max(one - row, 0.0), row)


def rollout_pass(learner: Learner, longest: Utterance) -> Pass:
    """One timestep of a rollout, on so many rows of the longest prompt."""
    policy, schedule, t = learner.policies.current, learner.schedule, learner.allowed[0]

    def work(rows: int) -> None:
        conditioning, frames = stack([longest] * rows)
        with torch.no_grad():
            x = torch.zeros(rows, frames[0] * HOP, device=conditioning.cond.device)
            p_mean(policy, schedule, x, conditioning.cond, t)

    return work


def update_pass(
    learner: Learner,
    longest: Utterance,
    knobs: Knobs,
    onward: Callable[[Draw, list[Utterance]], Onward | None] = lambda draw, spoken: None,
) -> Pass:
    """The passes of one kept timestep, on so many rows of the longest prompt, no state shared."""
    policies, schedule, settings = learner.policies, learner.schedule, learner.settings
    kept = torch.tensor(learner.allowed[:1])

    def work(rows: int) -> None:
        conditioning, frames = stack([longest] * rows)
        x = torch.zeros(1, rows, frames[0] * HOP, device=conditioning.cond.device)
        traj = Trajectory(conditioning, kept, x, x, x, x[0].clamp(-1, 1), (1,), x.new_zeros(()))
        flat = x.new_zeros(rows)
        draw = RolloutNoise(0, -2, frames, learner.allowed[:1])
        problem = Problem(
            schedule, traj, frames, flat, flat == 0, own_clips(traj, frames), (0, -2),
            onward=onward(draw, [longest] * rows),
        )  # fmt: skip
        terms = step_terms(
            policies, problem, settings, 0, list(range(rows)), penalty_noise(problem, 0, 0),
            penalty_timestep(problem, settings, 0, 0),
        )  # fmt: skip
        settings.algorithm.loss(terms, knobs, settings.penalty).sum().backward()
        learner.optimizer.zero_grad(set_to_none=True)

    return work


def asked(profile: Profile) -> dict[m.Phase, int]:
    """What a profile says of the microbatches; 0: as many rows as fit."""
    return {"rollout": profile.rollout.microbatch, "optimise": profile.train.microbatch}


def make_room(session: Session, known: Container[m.Phase] = ()) -> None:
    """Chooses the microbatches that the profile leaves open, and says what was measured.

    `known`: phases whose number is in the journal already, so that a session that goes on does so
    with the same. All ranks take the least that any has room for.
    """
    profile, learner, device = session.profile, session.learner, session.device
    phases = [phase for phase in PHASES if not asked(profile)[phase] and phase not in known]
    if not phases:
        return
    memory = memory_of(device)
    if memory is None:
        told = ", ".join(f"{PHASES[phase]} takes {count(session.rows[phase])}" for phase in phases)
        session.notice(f"this system does not say how much memory a pass takes: {told} at a time")
        return
    longest = max((*session.parts.prompts, *session.parts.held_out), key=lambda u: u.frames)
    share, on_cpu = -(-learner.batch // session.ranks.count), device.type == "cpu"
    for i, phase in enumerate(phases):
        work, reserved = rollout_pass(learner, longest), 0.0
        if phase == "optimise":
            work = update_pass(
                learner, longest, session.knobs,
                partial(batch.onward, session.profile, session.parts),
            )  # fmt: skip
            reserved = beside(learner, longest, share, profile.rollout.kept)
        room = measured(
            work, memory, reserved,
            lambda done, i=i: session.breathe("loading", 3 * i + done, 3 * len(phases)),  # type: ignore[misc]
            session.ranks.beside if on_cpu else 1,
        )  # fmt: skip
        fit = room.rows(min(share, CPU_ROWS) if on_cpu else share)
        rows = min(session.ranks.gather(fit))
        give_back_memory(device)
        told = (
            f"{PHASES[phase]} takes {count(rows)} at a time: measured {size(room.row)} for each as "
            f"long as the longest prompt's, and {size(max(room.free, 0))} to share"
        )
        session.resize(phase, rows)
        session.emit(m.MicrobatchMeasured(session.update, phase, rows, told))


def beside(learner: Learner, longest: Utterance, clips: int, kept: int) -> float:
    """Bytes that an update holds beside its passes, for its weights and its clips."""
    weights = sum(w.numel() * w.element_size() for w in learner.policies.current.parameters())
    return WEIGHT_COPIES * weights + 4.0 * longest.frames * HOP * clips * (CLIP_COPIES * kept + 1)


def count(rows: int) -> str:
    return "1 clip" if rows == 1 else f"{rows} clips"


def size(amount: float) -> str:
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"
