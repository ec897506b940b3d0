"""A blind test's answers on the disk: what is written, where, and that it makes the clip again."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from dlpo_tui.commands.blind import pairs_file
from dlpo_tui.commands.compare import Asked
from dlpo_tui.keeping import Keeping, digest
from engine import audio, checkpoint, human_pairs
from engine.comparison import Comparison
from engine.diffusion.schedule import build
from engine.own_schedule import read as read_schedule
from engine.preference import Trial
from engine.synthesis import speak, utter
from tests.voices import write_voice

pytestmark = pytest.mark.usefixtures("one_thread")

B = "runs/q/checkpoints/update-000010.safetensors"


@pytest.fixture
def spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """A voice and a run's checkpoint, spoken."""
    monkeypatch.chdir(tmp_path)
    write_voice(Path("a.safetensors"))
    write_voice(Path(B), seed=1)
    Path("runs/q/events.jsonl").touch()
    Path("texts.txt").write_text("Go on.\nWait.\nNo.\n")
    asked = Asked("a.safetensors", B, "texts.txt", 16, "", 2, 1.5, 7, ())
    return asked.compare(lambda done, total, at: None, scored=False)


def keeping(path: Path) -> Keeping:
    made = Keeping(
        path, ("a.safetensors", B), 5, lambda: datetime(2026, 3, 4, 12, 5, 6, tzinfo=UTC)
    )
    made.look()
    return made


def test_an_answer_holds_all_that_is_needed_to_judge_it(spoken: Comparison) -> None:
    at = keeping(Path("runs/q/pairs.jsonl"))
    assert not at.path.exists(), "nothing before the first answer"
    at.answered(spoken, Trial(2, "B"), 1, "A", 7.12345)
    at.answered(spoken, Trial(0, "A"), 2, "", 1.0)
    rows = [json.loads(line) for line in at.path.read_text().splitlines()]
    name = rows[0]["sitting"]
    assert name.startswith("20260304-120506-")
    sha = [hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in ("a.safetensors", B)]
    schedule = rows[0]["a"]["schedule"]
    assert rows[0] == {
        "format": "dlpo-tui pair", "version": 1, "sitting": name, "speaker": "anna", "pace": 1.5,
        "sample_rate": 22050, "noise_seed": 7, "order_seed": 5, "trial": 1,
        "at": "2026-03-04T12:05:06.000+00:00", "prompt": "No.", "place": 2, "x": "B",
        "choice": "A", "seconds": 7.123,
        "a": {"path": str(Path("a.safetensors").absolute()), "sha256": sha[0], "timesteps": 2,
              "schedule": schedule},
        "b": {"path": "checkpoints/update-000010.safetensors", "sha256": sha[1], "timesteps": 2,
              "schedule": schedule},
        "clip_a": f"pairs/{name}-02-a.flac", "clip_b": f"pairs/{name}-02-b.flac",
    }  # fmt: skip
    assert schedule["timesteps"] == 2
    assert (rows[1]["choice"], rows[1]["place"]) == ("neither", 0)


def test_a_taken_back_answer_is_said_to_be(spoken: Comparison) -> None:
    at = keeping(Path("runs/q/pairs.jsonl"))
    at.answered(spoken, Trial(2, "B"), 1, "A", 1.0)
    at.taken_back(1)
    assert human_pairs.read(at.path) == ([], 0)
    at.answered(spoken, Trial(2, "B"), 1, "B", 2.0)
    ((answer,), foreign) = human_pairs.read(at.path)
    assert (answer.choice, answer.seconds, foreign) == ("B", 2.0, 0)


def test_the_clips_are_the_voices_and_the_line_makes_them_again(spoken: Comparison) -> None:
    at = keeping(Path("runs/q/pairs.jsonl"))
    at.answered(spoken, Trial(1, "A"), 1, "B", 1.0)
    (row,) = human_pairs.export([at.path]).rows
    for told, voice, side in (
        ("chosen", row["chosen_voice"], spoken.b),
        ("rejected", row["rejected_voice"], spoken.a),
    ):
        clip, rate = audio.read(row[told])
        assert rate == row["sample_rate"]
        assert torch.allclose(clip, side.done.waves[1].clamp(-1, 1), atol=1e-4)
        loaded = checkpoint.load(voice["path"])
        schedule = build(read_schedule(loaded, voice["schedule"]))
        texts = ["No."] * row["noise"]["place"] + [row["prompt"]]  # the noise goes by the place
        said = utter(loaded.model, texts, loaded.speaker(row["speaker"]), row["pace"])
        again = speak(loaded, schedule, said, row["noise"]["seed"])[-1]
        # Another batch rounds otherwise; other noise would be as far away as the clip is loud.
        assert torch.allclose(again, side.done.waves[1], atol=1e-3)


def test_a_clip_that_is_no_sound_is_refused_and_no_line_is_left(spoken: Comparison) -> None:
    spoken.b.done.waves[0][3] = torch.nan
    at = keeping(Path("runs/q/pairs.jsonl"))
    with pytest.raises(audio.AudioError, match="not finite"):
        at.answered(spoken, Trial(0, "A"), 1, "B", 1.0)
    assert not at.path.exists()


def test_the_bundled_voice_is_known_by_its_file() -> None:
    expected = hashlib.sha256(checkpoint.BUNDLED.read_bytes()).hexdigest()
    assert digest("bundled") == expected


def test_the_answers_go_to_the_run_else_beside_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("q", "p"):
        Path(f"runs/{name}/checkpoints").mkdir(parents=True)
        Path(f"runs/{name}/events.jsonl").touch()
    a, b = (f"runs/{name}/checkpoints/update-000001.safetensors" for name in "qp")
    assert pairs_file(a, b, None, None) == tmp_path / "runs/p/pairs.jsonl"
    assert pairs_file(a, "bundled", Path("rep"), None) == tmp_path / "runs/q/pairs.jsonl"
    assert pairs_file("bundled", "a.safetensors", None, None) is None
    loose = "bundled", "a.safetensors"
    assert pairs_file(*loose, Path("deep/rep"), None) == tmp_path / "deep/rep-pairs.jsonl"
    assert pairs_file(*loose, None, Path("page.html")) == tmp_path / "page-pairs.jsonl"
    assert pairs_file(*loose, Path("v1.2"), Path("p.html")) == tmp_path / "v1.2-pairs.jsonl"
