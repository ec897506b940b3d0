from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine import journal, launch_note
from engine.launch_note import Note
from engine.profile import Profile


@pytest.fixture(autouse=True)
def first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job-7")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")


def run(runs: Path, name: str, note: Note, profile: Profile) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(json.dumps(journal.plain(profile)))
    launch_note.write(folder, note)
    return folder


def test_a_note_comes_back_and_an_end_is_added(tmp_path: Path) -> None:
    assert launch_note.read(tmp_path) is None
    launch_note.end(tmp_path, 0)  # of what was never begun: nothing
    assert launch_note.read(tmp_path) is None
    launch_note.write(tmp_path, Note("job-7", (3, 4)))
    assert launch_note.read(tmp_path) == Note("job-7", (3, 4))
    launch_note.end(tmp_path, 1)
    assert launch_note.read(tmp_path) == Note("job-7", (3, 4), 1)
    launch_note.path(tmp_path).write_text('{"launch": ')
    assert launch_note.read(tmp_path) is None


def test_a_launch_is_named_by_its_rendezvous_or_by_its_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert launch_note.key() == "job-7"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert launch_note.key().endswith(f"-{os.getppid()}")


def test_only_a_launch_that_was_started_again_ends_by_the_note(
    tmp_path: Path, again: Callable[[], None]
) -> None:
    launch_note.write(tmp_path, Note("job-7", (3,), 1))
    assert launch_note.ended(tmp_path, "job-7") is None  # another launch of the same name
    assert launch_note.ended(tmp_path, "job-7", sure=True) == 1
    again()
    assert launch_note.ended(tmp_path, "job-7") == 1
    assert launch_note.ended(tmp_path, "job-8") is None


def test_a_launch_finds_the_run_it_was_at_work_on(
    tmp_path: Path, again: Callable[[], None]
) -> None:
    profile = Profile(runs=str(tmp_path))
    assert launch_note.earlier(tmp_path / "none", "job-7", profile) is None
    run(tmp_path, "of-another", Note("job-8", (1,)), profile)
    run(tmp_path, "of-another-profile", Note("job-7", (1,)), replace(profile, seed=1))
    run(tmp_path, "ended", Note("job-7", (1,), 0), profile)
    assert launch_note.earlier(tmp_path, "job-7", profile) is None
    lost = run(tmp_path, "lost", Note("job-7", (1,)), profile)
    assert launch_note.earlier(tmp_path, "job-7", profile) == lost
    again()  # then an end, too, is this launch's own
    for name, seconds in (("lost", 10), ("ended", 20)):
        os.utime(launch_note.path(tmp_path / name), (seconds, seconds))
    assert launch_note.earlier(tmp_path, "job-7", profile) == tmp_path / "ended"
