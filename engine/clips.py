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

    Returns the paths of all B, relative to the run's folder and empty where a clip is not finite,
    once every rank has written its own.
    """
    paths = []
    for row, count in enumerate(frames):
        path = f"samples/{stem(update)}-{first + row:02d}.flac"
        paths.append(write(folder, path, traj.waveform[row, : count * HOP].cpu(), rate))
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
    """A row for each held-out prompt; its audio always on disk, where it is finite."""
    names = tuple(column.name for column in done.scores.columns)
    rows = []
    for i, (prompt, wave) in enumerate(zip(prompts, done.waves, strict=True)):
        path = f"samples/evaluation-{update:06d}-{i:02d}.flac"
        path = write(folder, path, wave, rate)
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


def write(folder: Path, path: str, wave: Tensor, rate: int) -> str:
    """Writes a clip where it is finite; returns the path, empty where not."""
    if not bool(wave.isfinite().all()):
        return ""
    audio.write(folder / path, wave, rate)
    return path


def stem(update: int) -> str:
    """How the files of an update's rollouts begin."""
    return f"update-{update:06d}"


def forget(folder: Path, update: int, batch: int) -> None:
    """Removes the clips of an update's rollouts; what the start spoke of them stays."""
    for i in range(batch):
        (folder / "samples" / f"{stem(update)}-{i:02d}.flac").unlink(missing_ok=True)


def forget_before(folder: Path, update: int) -> None:
    """Removes the rollouts' clips of every earlier update, however many have piled up."""
    for path in (folder / "samples").glob("update-*-*.flac"):
        of, _, row = path.stem.removeprefix("update-").partition("-")
        if row.isdigit() and of.isdigit() and int(of) < update:
            path.unlink(missing_ok=True)


def rendered(update: int, index: int, path: str, rewards: RewardBatch) -> ClipRendered:
    """The row of one clip that the starting voice spoke again; `rewards` are of it alone."""
    scores = named(rewards.names, rewards.scores[0])
    total = float(rewards.total[0]) if bool(rewards.valid[0]) else None
    return ClipRendered(update, index, path, scores, total)


def named(names: tuple[str, ...], values: Tensor) -> dict[str, float | None]:
    """Scores (R,) by column; None for NaN."""
    pairs = zip(names, values.tolist(), strict=True)
    return {name: value if math.isfinite(value) else None for name, value in pairs}
