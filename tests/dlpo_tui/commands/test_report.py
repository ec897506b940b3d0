"""`dlpo-tui report`: what it says, what it refuses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
import scenes
import tomli_w
from typer.testing import CliRunner

from dlpo_tui.cli import app
from engine.journal import Journal, create, plain
from engine.profile import Profile


@pytest.fixture
def run(tmp_path: Path) -> Path:
    profile = Profile(name="a", runs=str(tmp_path / "runs"))
    folder = create(profile, tomli_w.dumps(plain(profile)), datetime(2026, 3, 4, 12, 5, 6))
    journal = Journal(folder)
    for event in scenes.finished():
        journal.write(event)
    journal.close()
    return folder


def test_a_page_is_written_into_the_run_or_where_it_is_asked_for(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(run)])
    assert done.exit_code == 0, done.stderr
    assert f"report {run / 'report.html'} (" in done.stderr.replace("\n", "")
    assert "clips are without sound" in done.stderr
    words = (run / "report.html").read_text("utf-8")
    assert "40 of 100 updates: finished" in words
    assert "No [bold]markup[/bold] in here, please." in words
    out = tmp_path / "new" / "a.html"
    assert CliRunner().invoke(app, ["report", str(run), "--out", str(out)]).exit_code == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "there is no run nowhere"),
        (["RUN", "--out", "a.txt"], "a.txt must end in .html"),
        (["RUN", "--out", "FOLDER.html"], "s a directory"),
        (["RUN/.."], "is a folder of runs; name one, such as"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    run: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "f.html").mkdir()
    places = {"RUN": str(run), "FOLDER.html": str(tmp_path / "f.html"), "RUN/..": str(run.parent)}
    done = CliRunner().invoke(app, ["report", *(places.get(a, a) for a in arguments)])
    assert done.exit_code == 2
    assert told in done.stderr.replace("\n", " ")
    assert not (run / "report.html").exists()
