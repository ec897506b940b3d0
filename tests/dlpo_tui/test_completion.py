"""What a shell offers, and that nothing heavy is loaded for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlpo_tui import completion

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("profiles/a.toml", "profiles/paper/b.toml", "mine/c.toml", "profiles/note.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("runs/a-1", "runs/a-2", "runs/more/b-1", "elsewhere/c-1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "events.jsonl").touch()
    (tmp_path / "runs/empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["profiles/a.toml", "profiles/paper/b.toml"]),
        ("profiles/p", ["profiles/paper/b.toml"]),
        ("mine/", ["mine/c.toml"]),
        ("nowhere/x", []),
    ],
)
def test_profiles_are_offered(here: Path, typed: str, offered: list[str]) -> None:
    assert completion.profile(typed) == offered


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["runs/a-2", "runs/a-1", "runs/more/b-1"]),
        ("runs/more/", ["runs/more/b-1"]),
        ("elsewhere/", ["elsewhere/c-1"]),
    ],
)
def test_runs_are_offered_the_newest_first(here: Path, typed: str, offered: list[str]) -> None:
    assert completion.run(typed) == offered


def test_a_shell_gets_them_without_torch_or_a_screen(here: Path) -> None:
    code = """
import sys
sys.argv = ["dlpo-tui"]
from dlpo_tui.cli import app
try:
    app(prog_name="dlpo-tui")
except SystemExit:
    pass
heavy = [name for name in ("torch", "numpy", "textual") if name in sys.modules]
assert not heavy, heavy
"""
    words = {"COMP_WORDS": "dlpo-tui replay runs/m", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **words, "_DLPO_TUI_COMPLETE": "complete_bash", "PYTHONPATH": str(ROOT)},
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["runs/more/b-1"]
