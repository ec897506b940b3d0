"""Answers as lines on the disk: whole after a kill, read past what is torn, exported as pairs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine import human_pairs
from engine.human_pairs import (
    Answer,
    PairsError,
    Sitting,
    Voice,
    append,
    export,
    files,
    read,
    taken_back,
)

SITTING = Sitting(
    "20260304-120506-00ff", "anna", 1.0, 22050, 1234, 5,
    Voice("bundled", "aa" * 32, 6, {"kind": "respaced"}),
    Voice("checkpoints/update-000010.safetensors", "bb" * 32, 6, {"kind": "respaced"}),
)  # fmt: skip


def answer(trial: int = 1, choice: str = "B", prompt: str = "Fête,\u2028 now.") -> Answer:
    return Answer(
        SITTING, trial, "2026-03-04T12:05:06.000+00:00", prompt, trial - 1, "B", choice, 7.25,
        f"pairs/{trial}-a.flac", f"pairs/{trial}-b.flac",
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a run's answers; its clips are there."""
    (tmp_path / "run/pairs").mkdir(parents=True)
    for trial in range(1, 6):
        for side in "ab":
            (tmp_path / f"run/pairs/{trial}-{side}.flac").touch()
    return tmp_path / "run" / "pairs.jsonl"


# --- writing and reading ----------------------------------------------------------


def test_an_answer_comes_back_as_it_was(path: Path) -> None:
    for one in (answer(1), answer(2, "neither"), answer(3, "A")):
        append(path, one.plain())
    assert read(path) == ([answer(1), answer(2, "neither"), answer(3, "A")], 0)
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [row["choice"] for row in rows] == ["B", "neither", "A"]
    assert set(rows[0]) == {
        "format", "version", "sitting", "speaker", "pace", "sample_rate", "noise_seed",
        "order_seed", "a", "b", "trial", "at", "prompt", "place", "x", "choice", "seconds",
        "clip_a", "clip_b",
    }  # fmt: skip
    assert set(rows[0]["b"]) == {"path", "sha256", "timesteps", "schedule"}


def test_a_line_is_on_the_disk_when_append_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync

    def noted(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    append(path, answer(1).plain())
    assert path.stat().st_size in synced, "the file"
    assert len(synced) == 2, "and its name in the folder"
    append(path, answer(2).plain())
    assert synced[2:] == [path.stat().st_size]


@pytest.mark.parametrize("keep", [1, 20, -2, -1])
def test_what_a_kill_tore_costs_that_line_and_no_other(path: Path, keep: int) -> None:
    append(path, answer(1).plain())
    line = json.dumps(answer(2).plain(), ensure_ascii=False).encode() + b"\n"
    with path.open("ab") as file:
        file.write(line[:keep])
    whole = keep == -1
    assert read(path) == ([answer(1), answer(2)] if whole else [answer(1)], 0 if whole else 1)
    append(path, answer(3).plain())
    found, foreign = read(path)
    assert [one.trial for one in found] == ([1, 2, 3] if whole else [1, 3])
    assert foreign == (0 if whole else 1)


def test_an_answer_that_was_taken_back_is_gone_and_may_be_given_anew(path: Path) -> None:
    append(path, answer(1, "A").plain())
    append(path, answer(2, "A").plain())
    append(path, taken_back(SITTING.sitting, 2, "later"))
    assert [one.trial for one in read(path)[0]] == [1]
    append(path, answer(2, "B").plain())
    append(path, taken_back("another", 2, "later"))
    found, foreign = read(path)
    assert [(one.trial, one.choice) for one in found] == [(1, "A"), (2, "B")]
    assert foreign == 0


PLAIN = answer().plain()
FOREIGN = (
    "no JSON", "[1]", "null", '"x"', "{}", "[" * 100_000, '{"format": "dlpo-tui pair"}',
    json.dumps({**PLAIN, "version": 2}),
    json.dumps({**PLAIN, "choice": "C"}),
    json.dumps({**PLAIN, "trial": "1"}),
    json.dumps({**PLAIN, "trial": True}),
    json.dumps({**PLAIN, "a": None}),
    json.dumps({**PLAIN, "seconds": float("nan")}),
    json.dumps({**PLAIN, "clip_a": "/etc/passwd"}),
    json.dumps({**PLAIN, "clip_a": "../../secret.flac"}),
    json.dumps({name: value for name, value in PLAIN.items() if name != "prompt"}),
)  # fmt: skip


@pytest.mark.parametrize("line", FOREIGN, ids=range(len(FOREIGN)))
def test_a_foreign_line_is_counted_and_nothing_more(path: Path, line: str) -> None:
    append(path, answer(1).plain())
    with path.open("a") as file:
        file.write(f"{line}\n\n")
    append(path, answer(3).plain())
    found, foreign = read(path)
    assert [one.trial for one in found] == [1, 3]
    assert foreign == 1


def test_a_key_of_a_later_program_does_no_harm(path: Path) -> None:
    append(path, {**answer().plain(), "mood": "calm"})
    assert read(path) == ([answer()], 0)


# --- the export -------------------------------------------------------------------


def test_a_preference_is_prompt_chosen_rejected(path: Path) -> None:
    append(path, answer(1, "B").plain())
    append(path, answer(2, "neither").plain())
    append(path, answer(3, "A").plain())
    done = export([path])
    first, second = done.rows
    folder = path.parent
    assert (first["prompt"], first["seconds"]) == (answer().prompt, 7.25)
    assert first["chosen"] == str(folder / "pairs/1-b.flac")
    assert first["rejected"] == str(folder / "pairs/1-a.flac")
    assert first["chosen_voice"] == {
        "path": str(folder / "checkpoints/update-000010.safetensors"),
        "sha256": "bb" * 32, "timesteps": 6, "schedule": {"kind": "respaced"},
    }  # fmt: skip
    assert first["rejected_voice"]["path"] == "bundled"
    assert second["chosen"] == str(folder / "pairs/3-a.flac")
    assert second["chosen_voice"]["sha256"] == "aa" * 32
    assert second["noise"] == {"seed": 1234, "place": 2}
    assert (done.neither, done.silent, done.foreign) == (1, 0, {})
    json.dumps(done.rows, allow_nan=False)


def test_a_run_that_was_moved_is_found_where_it_is_now(path: Path, tmp_path: Path) -> None:
    append(path, answer().plain())
    moved = path.parent.rename(tmp_path / "elsewhere")
    (row,) = export([moved / "pairs.jsonl"]).rows
    assert row["chosen"] == str(moved / "pairs/1-b.flac")


def test_what_has_no_clip_any_more_or_is_foreign_is_left_out_and_counted(path: Path) -> None:
    append(path, answer(1).plain())
    append(path, answer(2).plain())
    with path.open("a") as file:
        file.write("torn\n{}\n")
    (path.parent / "pairs/1-a.flac").unlink()
    done = export([path])
    assert [row["trial"] for row in done.rows] == [2]
    assert (done.silent, done.foreign) == (1, {path: 2})


def test_an_answer_counts_once_whatever_it_is_reached_by(path: Path, tmp_path: Path) -> None:
    append(path, answer().plain())
    other = Sitting(**{**{n: getattr(SITTING, n) for n in SITTING.__slots__}, "sitting": "other"})
    append(path, replace(answer(), sitting=other).plain())
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert list(files([path.parent, path, copy])) == [path, copy]
    assert len(export([path, copy]).rows) == 2


def test_where_there_is_nothing_is_one_sentence(path: Path, tmp_path: Path) -> None:
    for source, told in (
        (path.parent, "nothing was heard blind there; see compare --blind"),
        (tmp_path / "away", "there is no .*away; name a run's folder, or a file of answers"),
    ):
        with pytest.raises(PairsError, match=told):
            list(files([source]))
    append(path, answer().plain())
    with pytest.raises(PairsError, match=r"did you mean .*run\?"):
        list(files([tmp_path]))
    with pytest.raises(PairsError, match="cannot be read"):
        read(tmp_path)


def test_the_clips_lie_beside_the_file_under_its_name() -> None:
    assert human_pairs.clips_folder(Path("r/pairs.jsonl")) == Path("r/pairs")
    assert human_pairs.clips_folder(Path("rep-pairs.jsonl")) == Path("rep-pairs")
