"""Finished clips: their audio into the run's folder, their numbers into messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from engine import audio
from engine.distributed import ALONE, Ranks
from engine.evaluation import Evaluation
from engine.messages import Clip, ClipRendered
from engine.synthesis import Utterance
from engine.types import HOP, RewardBatch, Trajectory


def write_rollouts(
    folder: Path,
    update: int,
    first: int,
    traj: Trajectory,
    frames: Sequence[int],
    rate: int,
    ranks: Ranks = ALONE,
) -> list[str]:
    """Writes the audio of this rank's share of an update's rollouts, the first being `first`.

    Returns the paths of all B, relative to the run's folder, once every rank has written its own.
    """
    paths = []
    for row, count in enumerate(frames):
        path = f"samples/update-{update:06d}-{first + row:02d}.flac"
        audio.write(folder / path, traj.waveform[row, : count * HOP].cpu(), rate)
        paths.append(path)
    return [path for own in ranks.gather(paths) for path in own]


def rollouts(
    update: int,
    seed: int,
    prompts: Sequence[Utterance],
    speakers: Sequence[str],
    rewards: RewardBatch,
    advantage: Tensor,
    rate: int,
    paths: Sequence[str],
) -> tuple[Clip, ...]:
    """A row for each of an update's rollouts; `paths` of their audio, empty where none is."""
    rows = []
    for i, prompt in enumerate(prompts):
        valid = bool(rewards.valid[i])
        rows.append(
            Clip(
                update=update,
                index=i,
                kind="rollout",
                prompt=prompt.text,
                speaker=speakers[prompt.speaker],
                seed=seed,
                seconds=prompt.seconds(rate),
                path=paths[i],
                scores=named(rewards.names, rewards.scores[i]),
                reward=float(rewards.total[i]) if valid else None,
                advantage=float(advantage[i]) if valid else None,
            )
        )
    return tuple(rows)


def evaluations(
    folder: Path,
    update: int,
    seed: int,
    done: Evaluation,
    prompts: Sequence[Utterance],
    speakers: Sequence[str],
    rewards: RewardBatch,
    rate: int,
) -> tuple[Clip, ...]:
    """A row for each held-out prompt; its audio always on disk."""
    names = tuple(column.name for column in done.scores.columns)
    rows = []
    for i, (prompt, wave) in enumerate(zip(prompts, done.waves, strict=True)):
        path = f"samples/evaluation-{update:06d}-{i:02d}.flac"
        audio.write(folder / path, wave, rate)
        rows.append(
            Clip(
                update=update,
                index=i,
                kind="evaluation",
                prompt=prompt.text,
                speaker=speakers[prompt.speaker],
                seed=seed,
                seconds=prompt.seconds(rate),
                path=path,
                scores=named(names, done.scores.values[i]),
                reward=float(rewards.total[i]) if bool(rewards.valid[i]) else None,
            )
        )
    return tuple(rows)


def rendered(update: int, index: int, path: str, rewards: RewardBatch) -> ClipRendered:
    """The row of one clip that the starting voice spoke again; `rewards` are of it alone."""
    scores = named(rewards.names, rewards.scores[0])
    total = float(rewards.total[0]) if bool(rewards.valid[0]) else None
    return ClipRendered(update, index, path, scores, total)


def named(names: tuple[str, ...], values: Tensor) -> dict[str, float | None]:
    """Scores (R,) by column; None for NaN."""
    pairs = zip(names, values.tolist(), strict=True)
    return {name: value if math.isfinite(value) else None for name, value in pairs}
