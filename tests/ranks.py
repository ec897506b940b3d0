"""Sessions on several ranks: gloo processes that meet in a file, no ports; each runs them all.

As a program, RANK COUNT FOLDER, it runs every scenario with the tiny profile in FOLDER; each rank
leaves its weights beside the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine import learner
from engine import messages as m
from engine import profile as profiles
from engine import session as sessions
from engine.distributed import ALONE, RankLost, Ranks, join
from engine.rewards.base import ScoreError
from engine.rewards.loudness import Loudness
from engine.rl.algorithms import ALGORITHMS, Algorithm
from engine.session import Session

LIMIT_SECONDS = 150.0
SILENT = "Wait."
"""The sentence that no reward can be had for, in `failing`."""

When = Callable[[m.Event], bool]
Step = tuple[When, tuple[m.Command, ...]]


@dataclass(frozen=True, slots=True)
class Scenario:
    changes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    """What is commanded at the first event that fits, then at the next that fits the next."""
    patch: Callable[[Ranks], AbstractContextManager[None]] = lambda ranks: nullcontext()
    """What it runs in."""


def timestep_of(phase: str) -> When:
    """A timestep of a phase of update 2."""
    return lambda event: (
        isinstance(event, m.PhaseProgressed) and (event.phase, event.update) == (phase, 1)
    )


def paused(event: m.Event) -> bool:
    return isinstance(event, m.PhaseEntered) and event.phase == "paused"


PAUSES: tuple[Step, ...] = (
    (timestep_of("rollout"), (m.Pause(),)),
    (paused, (m.RenderStart(1, 3), m.SetKnobs({"alpha": 2.0}), m.Resume())),
    (lambda event: isinstance(event, m.KnobsChanged), (m.Pause(),)),
    (paused, (m.Stop(),)),
)
"""Pauses within a rollout, listens to a clip, turns a knob, goes on; stops in a later pause."""


@contextmanager
def failing(ranks: Ranks) -> Iterator[None]:
    """No reward for one of the sentences, so that a rank may have no clip to learn from."""
    score = Loudness.__call__

    def call(self: Loudness, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if SILENT in texts:
            raise ScoreError("it is out of order")
        return score(self, waves, texts)

    with mock.patch.object(Loudness, "__call__", call):
        yield


@contextmanager
def spoilt(ranks: Ranks) -> Iterator[None]:
    """The last rank's loss is not finite in the first update."""
    calls = 0

    def loss(*told: object) -> Tensor:
        nonlocal calls
        calls += 1
        value = ALGORITHMS["dlpo"].loss(*told)  # type: ignore[arg-type]
        last = ranks.rank == ranks.count - 1
        return value + torch.nan if last and calls == 1 else value  # its gradient is fine

    spoils = Algorithm("dlpo", loss, frozenset({"penalty"}))
    with mock.patch.object(learner, "ALGORITHMS", {"dlpo": spoils}):
        yield


@contextmanager
def astray(ranks: Ranks) -> Iterator[None]:
    """Rank 0's advantages are not finite from the third update on, until the rate is halved."""
    sane = sessions.optimise

    def optimise(policies, optimizer, problem, *rest):  # type: ignore[no-untyped-def]
        if ranks.leads and problem.identity[1] >= 2 and optimizer.param_groups[0]["lr"] > 6e-4:
            problem = replace(problem, advantage=problem.advantage * torch.nan)
        return sane(policies, optimizer, problem, *rest)

    with mock.patch.object(sessions, "optimise", optimise):
        yield


@contextmanager
def silent(ranks: Ranks) -> Iterator[None]:
    """The batch's first clip is never finite, and in the second update none is."""
    sane = sessions.rollout

    def rollout(policy, schedule, conditioning, noise, **rest):  # type: ignore[no-untyped-def]
        traj = sane(policy, schedule, conditioning, noise, **rest)
        wave = traj.waveform.clone()
        every = noise.update == 1
        wave[: len(wave) if every else int(noise.first == 0), 0] = torch.nan
        return replace(traj, waveform=wave)

    with mock.patch.object(sessions, "rollout", rollout):
        yield


@contextmanager
def crowded(ranks: Ranks) -> Iterator[None]:
    """Memory for one rollout at a time."""
    sane = sessions.rollout

    def rollout(*told, microbatch, **rest):  # type: ignore[no-untyped-def]
        if microbatch > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return sane(*told, microbatch=microbatch, **rest)

    with mock.patch.object(sessions, "rollout", rollout):
        yield


@contextmanager
def leaving(ranks: Ranks) -> Iterator[None]:
    """The last rank is gone in the middle of the first update; the others are told."""

    def call(self: Loudness, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        os._exit(0)

    if ranks.leads:
        try:
            yield
        except RankLost:
            return
        raise AssertionError("nobody was missed")
    with mock.patch.object(Loudness, "__call__", call):
        yield


UNEVEN = ("rollout.batch=6", "evaluation.prompts=3", "prompts.most=3")
"""Three groups, and as many held-out sentences as there are: shares of 1 and 2."""

QUICK = ("evaluation.every=0", "train.save_every=9")

SCENARIOS = {
    "once": Scenario(("train.updates=1", "rollout.kept=2", *UNEVEN)),
    "dlpo": Scenario(("train.inner_epochs=2", "train.penalty_levels=any", *QUICK)),
    "rwr": Scenario(("train.algorithm=rwr", "train.advantage=per_prompt", "evaluation.prompts=1")),
    "dpok": Scenario(("train.updates=1", "train.algorithm=dpok", "rollout.shared=unkept", *QUICK)),
    "draft": Scenario(
        (
            "train.updates=1",
            "train.algorithm=draft",
            "train.through=2",
            *QUICK,
            "reward.models={distillmos=1.0}",
        ),
    ),
    "failing": Scenario(("train.updates=3", "reward.max_failed=1.0", *QUICK), patch=failing),
    "spoilt": Scenario(("evaluation.every=0",), patch=spoilt),
    "astray": Scenario(("train.updates=6", "train.advantage=per_prompt", *QUICK), patch=astray),
    "silent": Scenario(
        ("train.updates=3", "reward.max_failed=0.1", "train.advantage=per_prompt", *QUICK),
        patch=silent,
    ),
    **{
        f"stop-{phase}": Scenario(
            ("train.updates=9", "train.inner_epochs=2", "evaluation.prompts=1"),
            ((timestep_of(phase), (m.Stop(),)),),
        )
        for phase in ("rollout", "optimise", "evaluate")
    },
    "pause": Scenario(("train.updates=9", *QUICK), PAUSES),
    "refused": Scenario(("rollout.batch=2",)),
    "crowded": Scenario(patch=crowded),
    "failed": Scenario(("reward.max_failed=0.01", *QUICK), patch=failing),
    "lost": Scenario((*QUICK,), patch=leaving),  # the last: nobody is left to share another
}


def run(place: Path, name: str, ranks: Ranks = ALONE) -> Session:
    """One scenario on this rank, in a folder of its own beside the profile."""
    scenario = SCENARIOS[name]
    profile = profiles.load(place / "tiny.toml", scenario.changes)
    folder = place / f"{name}-{ranks.count}"
    for part in ("samples", "checkpoints"):
        (folder / part).mkdir(parents=True, exist_ok=True)

    left = list(scenario.steps)

    def emit(event: m.Event) -> None:
        if ranks.leads and left and left[0][0](event):
            for command in left.pop(0)[1]:
                session.commands.put(command)

    session = Session(profile, folder, emit, ranks=ranks)
    with scenario.patch(ranks):
        session.run()
    if hasattr(session, "voice"):
        save_file(session.voice.model.state_dict(), folder / f"rank-{ranks.rank}.safetensors")
    return session


def start(place: Path, count: int) -> list[subprocess.Popen[str]]:
    """As many processes as ranks, which meet in a file."""
    return [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(count), str(place)],
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(Path(__file__).parents[1]),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def together(place: Path, count: int = 2) -> None:
    """Every scenario on so many ranks, within a time limit; AssertionError with what they said."""
    processes = start(place, count)
    try:
        told = [process.communicate(timeout=LIMIT_SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * count, "\n".join(told)


def main(rank: str, count: str, place: str) -> None:
    os.environ.update(RANK=rank, WORLD_SIZE=count, LOCAL_RANK=rank, LOCAL_WORLD_SIZE=count)
    profile = profiles.load(Path(place) / "tiny.toml")
    meet = f"file://{Path(place) / 'meeting'}"
    ranks = join(profile.distributed, torch.device("cpu"), meet)
    for name in SCENARIOS:
        run(Path(place), name, ranks)


if __name__ == "__main__":
    main(*sys.argv[1:])
