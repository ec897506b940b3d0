"""What a process does around its session; whole ones run in test_launch.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import pytest

from engine import journal, launch_note, worker
from engine import messages as m
from engine.launch_note import Note
from engine.profile import Profile
from engine.worker import HANDED, Asked, asked, obey_lines, settle, verdict
from tests.voices import write_profile, write_voice


@pytest.fixture(autouse=True)
def by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job-7")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    monkeypatch.delenv(HANDED, raising=False)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))


def test_what_a_launcher_hands_over_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = Profile(name="handed", seed=3)
    told = {"folder": str(tmp_path), "profile": journal.plain(profile)}
    monkeypatch.setenv(HANDED, json.dumps(told))
    assert asked(None, None, []) == Asked(profile, tmp_path, True)


def test_a_new_run_is_made_once_and_found_when_all_start_again(tiny: Path) -> None:
    new = asked(tiny, None, ["train.updates=3"])
    assert (new.settings.train.updates, new.run, new.handed) == (3, None, False)
    folder, ended = settle(new, (1, 2))
    assert ended is None
    assert launch_note.read(folder) == Note("job-7", (1, 2))
    assert journal.profile_of(folder) == new.settings
    (folder / "events.jsonl").write_text("of a start that came to nothing\n")
    again = asked(tiny, None, ["train.updates=3"])
    assert again.run == folder
    assert settle(again, (3, 4)) == (folder, None)
    assert launch_note.read(folder) == Note("job-7", (3, 4))
    assert not (folder / "events.jsonl").exists()
    assert asked(tiny, None, ["train.updates=4"]).run is None


def test_what_has_ended_is_not_begun_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = settle(asked(tiny, None, []), (1,))
    launch_note.end(folder, 1)
    assert asked(tiny, None, []).run is None  # a launch of its own may have the same name
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert settle(asked(tiny, None, []), (2,)) == (folder, 1)
    assert launch_note.read(folder) == Note("job-7", (1,), 1)


def test_a_rank_says_its_last_word_and_is_gone_before_the_interpreter_ends() -> None:
    """A thread cut off inside C++ at that end aborts the process, and all ranks begin again."""
    code = (
        "import atexit, sys\n"
        "from engine.worker import vanish\n"
        "atexit.register(print, 'torn down')\n"
        "sys.stdout.write('the end')\n"
        "vanish(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("the end", "", 3)


def test_a_rank_that_failed_ends_as_rank_0_says_and_starts_again_where_it_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert verdict(run, []) == 2  # refused: its folder is gone
    launch_note.write(run, Note("job-7", (1,)))
    assert verdict(run, [15]) == 1  # told to go: all start again
    monkeypatch.setattr(worker, "VERDICT_SECONDS", 0.01)
    assert verdict(run, []) == 1
    launch_note.end(run, 0)
    assert verdict(run, []) == 0


def test_commands_come_as_lines_and_their_end_is_a_stop() -> None:
    lines = [m.to_json(m.Pause()), m.to_json(m.Noticed(0, "info", "no command")), ["nothing"]]
    reading, writing = os.pipe()
    os.write(writing, "".join(json.dumps(line) + "\n" for line in lines).encode() + b"{torn")
    os.close(writing)
    commands: SimpleQueue[m.Command] = SimpleQueue()
    obey_lines(commands, reading)
    os.close(reading)
    assert [commands.get() for _ in range(commands.qsize())] == [m.Pause(), m.Stop()]
