"""`compare --blind` in a real terminal, from the first pair to the report."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from terminals import Terminal, breaking
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.commands import compare
from engine import human_pairs
from tests.voices import write_voice

QUICK = ("--prompts", "texts.txt", "--steps", "2", "--models", "loudness", "--order", "5")


@pytest.fixture(autouse=True)
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_voice(Path("a.safetensors"))
    write_voice(Path("b.safetensors"), seed=1)
    Path("texts.txt").write_text("No.\nWait.\nGo on.\n")


def blind(*arguments: str, before: str = "") -> Terminal:
    ask = ("compare", "a.safetensors", "b.safetensors", "--blind", *QUICK, *arguments)
    return Terminal(*ask, before=before)


def test_a_whole_test_ends_in_the_preference_and_the_table(tmp_path: Path) -> None:
    at = blind("--report", "rep")
    at.until("0/3")
    for number in range(1, 4):
        at.press("12x")
        at.until(f"{number}/3")
    at.until("every pair is answered")
    at.press("\r")
    at.until("shows the scores")
    at.press("\r")
    assert at.end() == 0
    told = at.plain()
    assert "blind  3 pairs" in told
    assert "95 %" in told
    assert told.count("would settle it") >= 2, "on the screen and above the table"
    assert "loudness" in told[told.index("blind  3 pairs") :]
    listening = json.loads(Path("rep/scores.json").read_text())["listening"]
    assert (listening["answered"], listening["trials"], listening["order_seed"]) == (3, 3, 5)
    assert [row["preferred"] for row in listening["answers"]] == [
        row["x"] for row in listening["answers"]
    ]
    assert sum(listening["preferred"].values()) == 3
    page = Path("rep/index.md").read_text()
    assert "## Heard blind" in page
    assert "3 of 3 pairs" in page
    assert Path("rep-pairs.jsonl").is_file(), told[-3000:]
    assert f"answers {tmp_path / 'rep-pairs.jsonl'}" in told.replace("\r\n", ""), told[-3000:]
    rows = [json.loads(line) for line in Path("rep-pairs.jsonl").read_text().splitlines()]
    assert [(r["prompt"], r["x"], r["choice"]) for r in rows] == [
        (r["text"], r["x"], r["preferred"]) for r in listening["answers"]
    ]
    assert len(list(Path("rep-pairs").iterdir())) == 6


def test_a_terminal_that_is_killed_loses_no_answer() -> None:
    write_voice(Path("runs/q/checkpoints/update-000003.safetensors"), seed=2)
    Path("runs/q/events.jsonl").touch()
    at = Terminal("compare", "a.safetensors", "runs/q", "--blind", *QUICK)
    at.until("0/3")
    at.press("12x")
    at.until("1/3")
    at.press("12y")
    at.until("2/3")
    at.press("\x7f")
    at.until("pair 2 once more")
    at.press("12=")
    at.until("pair 2: no difference")
    at.process.kill()
    at.end()
    answers, foreign = human_pairs.read(Path("runs/q/pairs.jsonl"))
    assert [(one.trial, one.choice) for one in answers] == [
        (1, answers[0].x), (2, "neither"),
    ]  # fmt: skip
    assert foreign == 0
    assert answers[0].sitting.b.path == "checkpoints/update-000003.safetensors"
    (row,) = human_pairs.export([Path("runs/q/pairs.jsonl")]).rows
    assert row["prompt"] == answers[0].prompt
    assert row["seconds"] > 0


def test_where_no_run_and_no_report_is_named_nothing_is_written() -> None:
    at = blind()
    at.until("the answers go into no file")
    at.until("0/3")
    at.press("12x")
    at.until("1/3")
    at.press("qq")
    assert at.end() == 0
    assert sorted(path.name for path in Path().iterdir()) == [
        "a.safetensors", "b.safetensors", "texts.txt",
    ]  # fmt: skip


def test_a_test_that_is_ended_early_keeps_its_answers(tmp_path: Path) -> None:
    at = blind("--report", "rep", "--json")
    at.until("0/3")
    at.press("12=")
    at.until("1/3")
    at.press("q")
    at.until("1 of 3 answers count")
    at.press("q")
    assert at.end() == 0
    listening = json.loads(Path("rep/scores.json").read_text())["listening"]
    assert listening["preferred"] == {"a": 0, "neither": 1, "b": 0}
    assert listening["share_a"] is None
    (line,) = re.findall(r'^\{"a".*\}', at.plain().replace("\r", ""), re.M)
    assert json.loads(line)["listening"] == listening


def test_leaving_without_an_answer_reports_nothing() -> None:
    at = blind("--report", "rep")
    at.until("0/3")
    at.press("q")
    assert at.end() == 130
    assert "left without an answer: nothing is reported" in at.plain()
    assert not list(Path().glob("*rep*"))


def test_a_terminal_that_is_gone_ends_it(tmp_path: Path) -> None:
    at = blind("--report", "rep")
    at.until("0/3")
    os.close(at.master)
    assert at.process.wait(60) == 130


def test_a_widget_that_breaks_loses_no_answer(tmp_path: Path) -> None:
    at = blind("--report", "rep", before=breaking("pair 1: "))
    at.until("0/3")
    at.press("12x")
    assert at.end() == 1
    told = at.plain().replace("\r\n", "")
    (log,) = re.findall(r"the answers before are kept; why is in (\S+\.log)", told)
    assert "a widget is broken" in Path(log).read_text()
    Path(log).unlink()
    assert json.loads(Path("rep/scores.json").read_text())["listening"]["answered"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("c.safetensors", "b.safetensors"), "there is no checkpoint c.safetensors; did you mean"),
        (("a.safetensors", "b.safetensors", "--models", "loudnes"), "did you mean 'loudness'?"),
        (("a.safetensors", "b.safetensors", "--report", "texts.txt"), "is there already"),
    ],
)
def test_what_can_be_known_before_is_refused_before_the_screen(
    arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(compare, "sys", SimpleNamespace(stdin=terminal, stderr=terminal))
    result = CliRunner().invoke(cli.app, ["compare", "--blind", *arguments])
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_what_is_known_after_it_ends_it_in_one_sentence() -> None:
    write_voice(Path("b.safetensors"), ("ben",))
    at = blind()
    assert at.end() == 2
    assert "have no speaker in common" in at.plain().replace("\r\n", "")
    assert "Traceback" not in at.plain()


def test_without_a_terminal_there_is_nobody_to_listen() -> None:
    ask = ["compare", "a.safetensors", "b.safetensors", "--blind"]
    result = CliRunner().invoke(cli.app, ask)
    assert result.exit_code == 2
    assert result.stderr == "dlpo-tui: --blind needs a terminal: there is nobody here to listen\n"
