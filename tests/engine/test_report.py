from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from engine import audio, report
from engine.comparison import Comparison, ComparisonError, Side, tabulate
from engine.evaluation import Evaluation
from engine.messages import Column
from engine.preference import Preference, Trial
from engine.profile import ScheduleSpec
from engine.rewards.base import Scores

COLUMNS = (Column("mos", "MOS", True), Column("loudness", "LUFS", None))
TEXTS = ("Go on.", "Wait | now.")


def side(name: str, *values: list[float]) -> Side:
    waves = tuple(torch.linspace(-0.5, 0.5, 600 * (i + 1)) for i in range(len(values)))
    done = Evaluation(waves, Scores(COLUMNS, torch.tensor(values), ()))
    lengths = tuple(len(wave) / 22050 for wave in waves)
    return Side(name, ScheduleSpec(timesteps=2), 2, lengths, done)


@pytest.fixture
def done() -> Comparison:
    a = side("bundled", [1.0, -30.0], [2.0, -31.0])
    b = side("b.safetensors", [1.5, -20.0], [2.5, float("nan")])
    return tabulate(a, b, "anna", 1.0, 7, 22050, TEXTS)


def test_a_report_holds_clips_scores_and_a_page(tmp_path: Path, done: Comparison) -> None:
    with report.new_folder(tmp_path / "deep" / "mine") as folder:
        assert not (tmp_path / "deep" / "mine").exists()
        report.write(folder, done)
    (out,) = (tmp_path / "deep").iterdir()
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == {
        "scores.json", "scores.csv", "index.md", "clips/a-00.flac", "clips/a-01.flac",
        "clips/b-00.flac", "clips/b-01.flac",
    }  # fmt: skip
    wave, rate = audio.read(out / "clips/b-01.flac")
    assert rate == 22050
    assert torch.allclose(wave, done.b.done.waves[1], atol=1e-4)
    assert json.loads((out / "scores.json").read_text()) == json.loads(json.dumps(done.plain()))


def test_the_table_has_a_row_a_prompt(tmp_path: Path, done: Comparison) -> None:
    with report.new_folder(tmp_path / "mine") as folder:
        report.write(folder, done)
    with (tmp_path / "mine" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["text"] for r in rows] == list(TEXTS)
    assert [r["mos_a"] for r in rows] == ["1.0", "2.0"]
    assert [r["loudness_b"] for r in rows] == ["-20.0", ""]
    assert rows[1]["clip_a"] == "clips/a-01.flac"


def test_the_page_says_what_a_person_wants_to_know(done: Comparison) -> None:
    told = report.page(done)
    assert "- B: `b.safetensors`, 2 timesteps" in told
    assert "2 prompts, speaker anna, pace 1, noise of seed 7" in told
    mos = "| mos | MOS | higher | 1.500 | 2.000 | +0.500 (+0.500 to +0.500) | 1.000 | not shown"
    assert f"{mos} | 0 : 0 : 2 |" in told
    assert "corrected for 2 scores (Holm). Bold: p < 0.05" in told
    assert "- 2 prompts cannot tell the two apart" in told
    assert "| loudness | LUFS | – |" in told
    assert r"| 2 | Wait \| now. | [listen](clips/a-01.flac) | [listen](clips/b-01.flac) |" in told
    assert "-31.000 to – |" in told


def test_what_breaks_off_leaves_nothing(tmp_path: Path, done: Comparison) -> None:
    def interrupted() -> None:
        with report.new_folder(tmp_path / "mine") as folder:
            report.write(folder, done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_only_a_new_or_empty_folder_is_taken(tmp_path: Path, done: Comparison) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for name in ("full", "file"):
        with (
            pytest.raises(ComparisonError, match=f"{name} is there already; name a new folder"),
            report.new_folder(tmp_path / name),
        ):
            pass
    (tmp_path / "empty").mkdir()
    with report.new_folder(tmp_path / "empty") as folder:
        report.write(folder, done)
    assert (tmp_path / "empty" / "index.md").is_file()
    assert (tmp_path / "full" / "mine.txt").read_text() == "kept"


def test_what_is_surely_better_is_bold() -> None:
    a, b = ([[1.0 + 0.1 * i * i + up, -30.0] for i in range(7)] for up in (0.0, 0.5))
    done = tabulate(side("a", *a), side("b", *b), "anna", 1.0, 7, 22050, tuple("abcdefg"))
    assert "| **+0.500 (+0.500 to +0.500)** | 0.031 | B | 0 : 0 : 7 |" in report.page(done)


def test_the_page_says_what_was_preferred_and_what_is_still_needed(done: Comparison) -> None:
    order = tuple(Trial(place % 2, "A") for place in range(5))
    told = report.page(done, Preference(order, ("A", "A", "B", ""), 1))
    assert "## Heard blind\n\n- 4 of 5 pairs, equally loud" in told
    assert "- A preferred in 2 of 3 decided: 67 %\n- 95 % interval 9 % to 99 %, p = 1" in told
    assert "more pairs would settle it" in told
