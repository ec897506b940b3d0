"""RUN and RUN@NAME: which file they stand for, and what is said where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.run_voices import RunVoiceError, run_of, voice_file


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose checkpoints were written in another order than their names."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/q-1")
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "events.jsonl").touch()
    names = (
        "update-000100",
        "update-000002",
        "update-000100-best_of-all",
        "update-000009-snapshot",
    )
    for second, name in enumerate(names):
        path = folder / f"checkpoints/{name}.safetensors"
        path.touch()
        os.utime(path, (1000 + second, 1000 + second))
    (folder / "checkpoints/.update-000200.77.part.safetensors").touch()
    return str(folder)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("", "update-000100-best_of-all"),
        ("@100", "update-000100-best_of-all"),
        ("@2", "update-000002"),
        ("@000002", "update-000002"),
        ("@update-000100", "update-000100"),
        ("@update-000100.safetensors", "update-000100"),
        ("@best_of all", "update-000100-best_of-all"),
        ("@best_of-all", "update-000100-best_of-all"),
        ("@snapshot", "update-000009-snapshot"),
    ],
)
def test_a_run_stands_for_a_checkpoint(run: str, name: str, stem: str) -> None:
    assert voice_file(run + name) == f"runs/q-1/checkpoints/{stem}.safetensors"


def test_what_is_no_run_stays_as_it_is(run: str) -> None:
    Path("me@home.safetensors").touch()
    for source in ("bundled", "away.safetensors", "me@home.safetensors"):
        assert voice_file(source) == source


def test_a_folder_with_an_at_is_a_run_too(run: str) -> None:
    Path(run).rename("runs/q@home")
    assert voice_file("runs/q@home").endswith("update-000100-best_of-all.safetensors")
    assert voice_file("runs/q@home@2") == "runs/q@home/checkpoints/update-000002.safetensors"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("runs", "runs is a folder of runs; name one, such as runs/q-1"),
        ("runs/q-1/checkpoints", "is a folder, but not of a run; name a .safetensors file, a run"),
        ("runs/q-2@best", "there is no run runs/q-2; RUN@NAME is a checkpoint of a run"),
        ("runs/q-1@snapshoot", "has no checkpoint 'snapshoot'; did you mean 'snapshot'?"),
        (
            "runs/q-1@55",
            "runs/q-1 has no checkpoint '55'; it has update-000100-best_of-all, update-000100, "
            "update-000009-snapshot and 1 more",
        ),
    ],
)
def test_what_cannot_be_found_is_one_sentence(run: str, source: str, told: str) -> None:
    with pytest.raises(RunVoiceError) as caught:
        voice_file(source)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_without_a_checkpoint_says_when_one_comes(run: str) -> None:
    for path in Path(run, "checkpoints").iterdir():
        if not path.name.startswith("."):
            path.unlink()
    with pytest.raises(RunVoiceError, match=r"the run runs/q-1 has no checkpoint yet; a session"):
        voice_file(run)


def test_the_run_of_a_file_is_the_folder_with_the_journal(run: str) -> None:
    folder = Path(run).absolute()
    assert run_of(Path(run)) == folder
    assert run_of(Path(run, "checkpoints/update-000002.safetensors")) == folder
    assert run_of(Path(run, "checkpoints/mine/a.safetensors")) is None, "too far in"
    assert run_of(Path("runs")) is None
    assert run_of(Path("a.safetensors")) is None
