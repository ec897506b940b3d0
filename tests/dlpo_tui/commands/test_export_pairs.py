"""`export-pairs`: JSON lines on stdout or in a file, what is left out on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from engine.human_pairs import Answer, Sitting, Voice, append

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command in a folder with a run in which three pairs were heard."""
    monkeypatch.chdir(tmp_path)
    voice = Voice("bundled", "aa" * 32, 6, {})
    sitting = Sitting("s", "anna", 1.0, 22050, 7, 5, voice, voice)
    for trial, choice in enumerate(("A", "neither", "B"), 1):
        clips = f"pairs/{trial}-a.flac", f"pairs/{trial}-b.flac"
        for clip in clips:
            Path("run", clip).parent.mkdir(parents=True, exist_ok=True)
            Path("run", clip).touch()
        answer = Answer(sitting, trial, "now", f"Fête {trial}.", trial, "A", choice, 1.0, *clips)
        append(Path("run/pairs.jsonl"), answer.plain())
    return lambda *told: CliRunner().invoke(cli.app, ["export-pairs", *map(str, told)])


def rows(lines: str) -> list[tuple[str, str, str]]:
    found = [json.loads(line) for line in lines.splitlines()]
    return [(r["prompt"], Path(r["chosen"]).name, Path(r["rejected"]).name) for r in found]


CHOSEN = [("Fête 1.", "1-a.flac", "1-b.flac"), ("Fête 3.", "3-b.flac", "3-a.flac")]


def test_preferences_go_to_stdout_and_the_rest_does_not(call: Call) -> None:
    result = call("run")
    assert result.exit_code == 0, result.output
    assert rows(result.stdout) == CHOSEN
    assert result.stderr == "preferences: 2; left out: 1 without a choice\n"
    assert all(Path(json.loads(x)["chosen"]).is_file() for x in result.stdout.splitlines())


def test_a_file_is_written_whole(call: Call) -> None:
    result = call("run", "run/pairs.jsonl", "--out", "deep/pairs.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert rows(Path("deep/pairs.jsonl").read_text("utf-8")) == CHOSEN
    assert "preferences: 2 in deep/pairs.jsonl; left out: 1 without" in result.stderr
    assert [path.name for path in Path("deep").iterdir()] == ["pairs.jsonl"]


def test_torn_and_foreign_lines_cost_one_sentence(call: Call) -> None:
    with Path("run/pairs.jsonl").open("a") as file:
        file.write('{"mine": 1}\n{"format": "dlpo-tui pa')
    Path("run/pairs/3-a.flac").unlink()
    result = call("run")
    assert result.exit_code == 0, result.output
    assert rows(result.stdout) == CHOSEN[:1]
    warned, told = result.stderr.splitlines()
    assert warned == (
        "run/pairs.jsonl: lines that are torn or no answers of a blind test, left out: 2"
    )
    assert told.endswith("left out: 1 without a choice, 1 whose clips are gone")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("away",), "there is no away"),
        ((".",), "did you mean run?"),
        (("run", "--out", "run/pairs.jsonl"), "run/pairs.jsonl is read from; name another file"),
        (("run", "--out", "run"), "name a file"),
        (("none.jsonl",), "there is no preference to export: 1 without a choice"),
        (("empty.jsonl",), "there is no preference to export\n"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    call: Call, arguments: tuple[str, ...], told: str
) -> None:
    before = Path("run/pairs.jsonl").read_bytes()
    Path("none.jsonl").write_bytes(before.splitlines(keepends=True)[1])
    Path("empty.jsonl").touch()
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert Path("run/pairs.jsonl").read_bytes() == before
