"""A rollout as the voice that the session started from would have spoken it.

The same prompt and the same random numbers through the starting weights, so that what differs
to the ear is what training changed. The weights come from the run's resume folder: those of a
new run, of one that was resumed, and of one that branched off a snapshot alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine import audio, checkpoint
from engine.checkpoint import CheckpointError
from engine.diffusion.sampler import OneRow, RolloutNoise, rollout
from engine.diffusion.schedule import NoiseSchedule
from engine.reopening import start_path
from engine.synthesis import Utterance, stack
from engine.types import Policy, Trajectory


def speak(
    folder: Path,
    policy: Policy,
    schedule: NoiseSchedule,
    noise: RolloutNoise,
    prompt: Utterance,
    row: int,
    between: Callable[[int, int], None],
) -> Trajectory:
    """One clip (1, S) of row `row` of a batch, by the starting weights in `policy`'s precision.

    `prompt` is the row's own. Equal to the rollout's clip but for training, and for rounding
    where the rollout computed more than one row at a time. Errors: CheckpointError where the
    starting voice is not in the run's folder any more.
    """
    path = start_path(folder)
    if not path.is_file():
        raise CheckpointError(
            f"the session's start cannot be heard again: its voice {path} is gone; put it back"
        )
    device = prompt.cond.device
    start = checkpoint.load(path, device).model.decoder
    start.compute_dtype = policy.compute_dtype
    conditioning, _ = stack([prompt])
    return rollout(start, schedule, conditioning, OneRow(noise, row), between=between)


def path_of(update: int, index: int) -> str:
    """Beside the rollout's own file, relative to the run's folder."""
    return f"samples/update-{update:06d}-{index:02d}-start.flac"


def write(path: Path, traj: Trajectory, rate: int) -> None:
    audio.write(path, traj.waveform[0].cpu(), rate)
