from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import scenes
from click.testing import Result
from journals import write_run
from typer.testing import CliRunner

from dlpo_tui import cli
from engine.messages import from_json

HERE = Path(__file__).parents[1]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["replay", *map(str, arguments)])


def test_a_pipe_gets_the_lines_and_how_it_ended(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", scenes.running(12), '{"kind": "Upd')
    result = call(run)
    assert result.exit_code == 0
    assert result.stdout.count("reward ") >= 12
    first, last = result.stderr.splitlines()
    assert first == "no terminal here: plain lines, as with --headless"
    assert last == f"replay cut off after update 12; dlpo-tui run --resume {run} goes on"


def test_json_gives_the_journal_back(tmp_path: Path) -> None:
    events = scenes.finished()
    result = call(write_run(tmp_path / "run", events), "--json")
    assert [from_json(json.loads(line)) for line in result.stdout.splitlines()] == events
    assert result.stderr == "replay finished after 40 updates\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ru",), "did you mean"),
        (("away/run",), "there is no run"),
        (("file",), "is a file; name a run's folder"),
        (("empty",), "holds no events.jsonl"),
        ((".",), "is a folder of runs; name one, such as run"),
        (("broken",), "line 1: "),
        (("run", "--headless", "--at", "3"), "--at is for the screen"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("run"), scenes.running(2))
    Path("file").write_text("")
    Path("empty").mkdir()
    write_run(Path("sub/broken"), [])
    if arguments == ("broken",):
        Path("sub/broken").rename("broken")
        Path("broken/events.jsonl").write_text("nonsense\n{}\n")
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("dlpo-tui: ")
    assert told in line


PROGRAM = """
import asyncio, sys
from pathlib import Path
from conftest import Noted
from dlpo_tui.replaying import Replay
from dlpo_tui.replay_app import ReplayApp

async def main():
    replay = Replay(Path(sys.argv[1]))
    assert replay.join(30)
    app = ReplayApp(replay, Noted(), Path(sys.argv[1]))
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in range(6):
            app.tick()
        await pilot.press("p", "alt+left", "a", "escape", "question_mark", "escape")
        await pilot.pause()
        assert app.replay.now.update == 39, app.replay.now.update
    print("torch" in sys.modules)

asyncio.run(main())
"""


def test_the_screen_never_loads_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", scenes.finished())
    where = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run)],
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "False", done.stderr


def test_the_lines_never_load_torch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", scenes.finished())
    code = (
        "import sys; from typer.testing import CliRunner; from dlpo_tui import cli; "
        f"r = CliRunner().invoke(cli.app, ['replay', {str(run)!r}]); "
        "print(r.exit_code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "0 False"
