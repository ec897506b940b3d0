from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from engine import audio, clips
from engine.evaluation import Evaluation
from engine.messages import Column
from engine.rewards.base import Scores
from engine.synthesis import Utterance
from engine.types import HOP, Conditioning, RewardBatch, Trajectory

PROMPTS = [Utterance("Yes.", 1, torch.zeros(2, 3)), Utterance("No.", 0, torch.zeros(2, 2))]
SPEAKERS = ("anna", "ben")
WAVES = torch.stack([torch.full((3 * HOP,), 0.5), torch.full((3 * HOP,), -0.25)])
RATE = 22050


def rollouts(folder: Path, written: bool) -> tuple[clips.Clip, ...]:
    empty = torch.zeros(0, 2, 3 * HOP)
    conditioning = Conditioning(torch.zeros(2, 2, 3), torch.tensor([3, 2]))
    traj = Trajectory(
        conditioning, torch.zeros(0), empty, empty, empty, WAVES.clone(), (), torch.tensor(0.0)
    )
    rewards = RewardBatch(
        ("mos", "wer"),
        torch.tensor([[3.0, math.nan], [math.nan, math.inf]]),
        torch.tensor([3.0, math.nan]),
        torch.tensor([True, False]),
        ("mos failed on clip 2 of 2.",),
    )
    advantage = torch.tensor([0.5, 0.0])
    paths = clips.write_rollouts(folder, 7, 0, traj, (3, 2), RATE) if written else ["", ""]
    return clips.rollouts(7, 11, PROMPTS, SPEAKERS, rewards, advantage, RATE, paths)


def test_a_rollouts_row_has_every_number_about_it(tmp_path: Path) -> None:
    first, second = rollouts(tmp_path, True)
    assert (first.update, first.index, first.kind, first.seed) == (7, 0, "rollout", 11)
    assert (first.prompt, first.speaker) == ("Yes.", "ben")
    assert first.seconds == 3 * HOP / RATE
    assert (first.reward, first.advantage) == (3.0, 0.5)
    assert first.scores == {"mos": 3.0, "wer": None}
    assert second.scores == {"mos": None, "wer": None}
    assert (second.index, second.speaker, second.reward, second.advantage) == (
        1,
        "anna",
        None,
        None,
    )


def test_the_audio_is_written_without_its_padding(tmp_path: Path) -> None:
    for clip, level, frames in zip(rollouts(tmp_path, True), (0.5, -0.25), (3, 2), strict=True):
        wave, rate = audio.read(tmp_path / clip.path)
        assert rate == RATE
        assert wave.tolist() == [level] * frames * HOP


def test_where_nothing_is_written_the_row_has_no_path(tmp_path: Path) -> None:
    assert [clip.path for clip in rollouts(tmp_path, False)] == ["", ""]
    assert list(tmp_path.iterdir()) == []


def test_an_evaluations_clips_are_always_written_and_have_no_reward(tmp_path: Path) -> None:
    scores = Scores((Column("mos", "MOS"),), torch.tensor([[3.0], [math.nan]]), ())
    done = Evaluation((WAVES[0], WAVES[1, : 2 * HOP]), scores)
    rewards = RewardBatch(
        ("mos",), scores.values, torch.tensor([6.0, math.nan]), torch.tensor([True, False]), ()
    )
    rows = clips.evaluations(tmp_path, 0, 1234, done, PROMPTS, SPEAKERS, rewards, RATE)
    assert [clip.path for clip in rows] == [
        "samples/evaluation-000000-00.flac",
        "samples/evaluation-000000-01.flac",
    ]
    assert [(clip.kind, clip.reward, clip.advantage) for clip in rows] == [
        ("evaluation", 6.0, None),
        ("evaluation", None, None),
    ]
    assert [clip.scores["mos"] for clip in rows] == [3.0, None]
    assert [len(audio.read(tmp_path / clip.path)[0]) for clip in rows] == [3 * HOP, 2 * HOP]


def test_a_clip_that_is_not_finite_is_a_row_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = WAVES.clone()
    broken[0, 5] = math.nan
    monkeypatch.setattr(f"{__name__}.WAVES", broken)
    first, second = rollouts(tmp_path, True)
    assert (first.path, second.path) == ("", "samples/update-000007-01.flac")
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["update-000007-01.flac"]


def test_old_clips_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    names = {f"update-{u:06d}-{i:02d}.flac" for u in (1, 2, 3) for i in (0, 1)}
    lasting = {"update-000001-00-start.flac", "evaluation-000001-00.flac", "update-notes.txt"}
    for name in names | lasting:
        (samples / name).write_text("a clip")
    clips.forget(tmp_path, 1, 2)
    clips.forget(tmp_path, -5, 2)
    left = {path.name for path in samples.iterdir()}
    assert left == lasting | {name for name in names if "000001" not in name}
    clips.forget_before(tmp_path, 3)
    left = {path.name for path in samples.iterdir()}
    assert left == lasting | {"update-000003-00.flac", "update-000003-01.flac"}
