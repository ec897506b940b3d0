"""What every version of this program has written can be read; what a later one wrote is refused."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from engine import checkpoint, journal, resume
from engine.checkpoint import CheckpointError
from engine.journal import JournalError, replay
from engine.messages import Knobs
from engine.reopening import folder_of

GOLDEN = Path(__file__).parent / "data" / "golden"


def names(kind: str) -> list[str]:
    return sorted(path.name for path in GOLDEN.glob(f"{kind}-*.gz"))


def unpacked(name: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.decompress((GOLDEN / name).read_bytes()))
    return path


def test_there_is_a_file_of_every_version() -> None:
    for kind, newest in (
        ("journal", journal.FORMAT_VERSION),
        ("state", resume.FORMAT_VERSION),
        ("voice", checkpoint.VERSION),
    ):
        found = [int(name.split("-")[1].split(".")[0]) for name in names(kind)]
        assert found == list(range(1, newest + 1)), kind


@pytest.mark.parametrize("name", names("journal"))
def test_a_journal_replays(name: str, tmp_path: Path) -> None:
    unpacked(name, tmp_path / "events.jsonl")
    now = replay(tmp_path)
    assert now.started is not None
    assert (now.started.run, now.started.parent) == ("quick", "other, update 3")
    assert now.clips[0].prompt == "Fête.\u2028Two."
    assert now.history[0][1].seconds == {"rollout": 1.0}
    assert now.evaluations[0][1]["wer"] is None
    assert now.ended is not None
    assert now.ended.error == "the disk is full"
    if name.startswith("journal-1"):
        assert [update for update, _ in now.history] == [1, 2]
        assert now.knobs == Knobs(alpha=2.5)
        assert [mark.kind for mark in now.marks] == ["knob", "alarm", "checkpoint"]
    else:
        assert [update for update, _ in now.history] == [1]
        assert now.knobs == Knobs(alpha=2.5, learning_rate=5e-6)
        assert [mark.kind for mark in now.marks][-2:] == ["rollback", "knob"]
        measured = [("optimise", 6)] if name >= "journal-3" else []
        sizes = [(one.phase, one.size) for one in now.microbatches]
        assert sizes == [("rollout", 4), *measured]


@pytest.mark.parametrize("name", names("state"))
def test_a_state_is_read(name: str, tmp_path: Path) -> None:
    state = resume.read(unpacked(name, tmp_path / "update-000007.safetensors"))
    assert (state.update, state.skipped) == (7, 2)
    assert state.statistics == {"Fête.": [0.1, 1 / 3]}
    assert state.policy["w"].tolist() == [0.0, 1.0, 2.0]
    assert state.optimizer["0.exp_avg"].tolist() == [1.0, 1.0, 1.0]
    assert state.identity == {"training prompts": "abc"}
    assert state.first is not None
    assert bool(state.first.isnan()[0, 0])


@pytest.mark.parametrize("name", names("voice"))
def test_a_voice_is_read(name: str, tmp_path: Path) -> None:
    voice = checkpoint.load(unpacked(name, tmp_path / "voice.safetensors"))
    assert voice.card.speakers == ("anna",)
    assert voice.card.about == {"update": 7}
    weight = voice.model.state_dict()["decoder." + next(iter(voice.model.decoder.state_dict()))]
    expected = (torch.arange(weight.numel()) % 7).view(weight.shape) / 100
    torch.testing.assert_close(weight, expected)


# --- from the future ------------------------------------------------------------


def test_a_later_journal_is_refused_by_its_version(tmp_path: Path) -> None:
    path = unpacked(names("journal")[-1], tmp_path / "events.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    for row in rows:
        if "format_version" in row:
            row["format_version"] = 9
    rows.insert(1, {"kind": "VoiceSang", "update": 0})  # which this program does not know
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    newest = journal.FORMAT_VERSION
    with pytest.raises(
        JournalError, match=rf"of format version 9; .* to version {newest}: open it"
    ):
        replay(tmp_path)


def test_a_journal_that_a_later_program_went_on_with_is_refused(tmp_path: Path) -> None:
    path = unpacked("journal-1.jsonl.gz", tmp_path / "events.jsonl")
    row = {"kind": "SessionResumed", "update": 2, "updates": 9, "knobs": {}, "format_version": 9}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(JournalError, match="of format version 9"):
        replay(tmp_path)


def test_a_later_state_is_refused_although_an_older_one_stands_beside_it(tmp_path: Path) -> None:
    place = folder_of(tmp_path)
    older = unpacked("state-1.safetensors.gz", place / "update-000007.safetensors")
    shutil.copy(older, place / "start.safetensors")
    with safe_open(older, "pt") as file:
        told = json.loads(file.metadata()["state"])
    told["format_version"] = 9
    save_file(
        {"w": torch.ones(1)}, place / "update-000008.safetensors", {"state": json.dumps(told)}
    )
    with pytest.raises(
        JournalError, match=r"update-000008.* is a state of format version 9; .* go"
    ):
        resume.newest(tmp_path)
    (place / "update-000008.safetensors").unlink()
    assert resume.newest(tmp_path).update == 7


def test_a_later_voice_is_refused_by_its_version(tmp_path: Path) -> None:
    path = unpacked(names("voice")[-1], tmp_path / "voice.safetensors")
    with safe_open(path, "pt") as file:
        told = {**file.metadata(), "version": "9"}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, told)
    with pytest.raises(
        CheckpointError, match=r"says it is dlpo-tui voice version 9; .*open it with"
    ):
        checkpoint.load(path)
