"""`dlpo-tui runs`: a line a run, quickly, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import scenes
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.commands.runs import table
from engine import messages as m
from engine.journal import Journal
from engine.run_states import RunState
from tests.audience import Played, Watching

ROOT = Path(__file__).parents[3]
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, ["runs", *map(str, arguments)])


def write(folder: Path, *events: m.Event) -> None:
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text("[train]\nupdates = 20\n")
    journal = Journal(folder)
    for event in events:
        journal.write(event)
    journal.close()


def test_every_run_has_its_line(call: Call) -> None:
    kept = [e for e in scenes.running(12) if not isinstance(e, m.PhaseProgressed)]
    write(Path("runs/one-20260102-030405"), *kept, m.SessionEnded(12, "failed", "the GPU is gone"))
    played = Played(Path("runs/two-20260102-030405"))
    played.happen(*kept)
    at = Watching(played, "ann@here/3")
    at.until(lambda: at.attachment.link.attached == 1)
    result = call()
    at.leave()
    played.end()
    assert result.exit_code == 0
    two, one = result.stdout.splitlines()
    assert two.split()[:3] == ["two-20260102-030405", "running", "12/?"]
    assert two.endswith("ann@here/3*")
    assert one.split()[:3] == ["one-20260102-030405", "failed", "12/20"]
    assert one.endswith("the GPU is gone")
    rewards = [event.stats.reward for event in kept if isinstance(event, m.UpdateFinished)]
    assert rewards[-1] is not None
    assert one.split()[3] == f"{rewards[-1].mean:.3f}"


def test_json_has_a_line_a_run(call: Call) -> None:
    write(Path("here/one"), m.SessionEnded(0, "stopped"))
    write(Path("here/two"))
    result = call("here", "--json")
    rows = {row["name"]: row for row in map(json.loads, result.stdout.splitlines())}
    assert rows["one"]["state"] == "stopped"
    assert rows["one"]["folder"] == "here/one"
    assert rows["two"]["state"] == "crashed"
    assert rows["two"]["updates"] == 20
    assert abs(rows["two"]["at"] - time.time()) < 600


def test_no_run_and_no_folder(call: Call) -> None:
    none = call()
    assert (none.exit_code, none.stdout) == (0, "")
    assert "dlpo-tui run PROFILE starts one" in none.stderr
    Path("empty").mkdir()
    assert "there is no run in empty" in call("empty").stderr
    away = call("away")
    assert away.exit_code == 2
    assert away.stderr.count("\n") == 1
    assert "there is no folder away" in away.stderr


def test_columns_stand_below_each_other() -> None:
    def run(name: str, update: int, state: str) -> RunState:
        return RunState(name, Path(name), state, update, 100, 3.5, 0.0)  # type: ignore[arg-type]

    lines = [
        line.plain for line in table([run("a", 5, "running"), run("longer", 100, "paused")], 60)
    ]
    assert lines == [
        "a       running    5/100  3.500  60 s ago",
        "longer  paused   100/100  3.500  60 s ago",
    ]
    assert table([], 0.0) == []


def test_200_runs_are_listed_without_torch_and_without_reading_them_all(tmp_path: Path) -> None:
    kept = [e for e in scenes.running(30) if not isinstance(e, m.PhaseProgressed)]
    write(tmp_path / "runs/run-0", *kept)
    text = (tmp_path / "runs/run-0/events.jsonl").read_bytes()
    for number in range(1, 200):
        folder = tmp_path / f"runs/run-{number}"
        folder.mkdir()
        (folder / "events.jsonl").write_bytes(text)
    code = """
import io, sys
from pathlib import Path
read = [0]
class Counting(io.FileIO):
    def readinto(self, buffer):
        done = super().readinto(buffer); read[0] += done or 0; return done
    def readall(self):
        done = super().readall(); read[0] += len(done); return done
opened = io.open
def opening(self, mode="r", *rest, **named):
    if mode == "rb" and self.name == "events.jsonl":
        return io.BufferedReader(Counting(str(self)))
    return opened(self, mode, *rest, **named)
Path.open = opening
from typer.testing import CliRunner
from dlpo_tui import cli
done = CliRunner().invoke(cli.app, ["runs"])
assert done.exit_code == 0, done.output
print(len(done.stdout.splitlines()), read[0], "torch" in sys.modules, "textual" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, read, torch, textual = done.stdout.split()
    assert (int(count), torch, textual) == (200, "False", "False")
    assert 0 < int(read) < 200 * 20_000 < 200 * len(text)
