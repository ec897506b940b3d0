from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.commands import compare
from engine import checkpoint
from engine.comparison import Comparison, Side, tabulate
from engine.evaluation import Evaluation
from engine.messages import Column
from engine.profile import ScheduleSpec
from engine.rewards import registry
from engine.rewards.base import Scores
from tests.voices import tiny_model, write_voice

Call = Callable[..., Result]
QUICK = ("--prompts", "texts.txt", "--steps", 2, "--models", "loudness")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small lose more to waiting for a second thread than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in a folder with two voices and three prompts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_voice(Path("a.safetensors"), ("anna", "ben"))
    write_voice(Path("b.safetensors"), ("ben",), seed=1)
    Path("texts.txt").write_text("No.\nWait.\nGo on.\n")
    return lambda *arguments: CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(result: Result) -> str:
    """Exit code 2, one sentence on stderr, nothing on stdout, nothing written."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dlpo-tui: ")
    assert not list(Path().glob("*rep*"))
    return line


def test_the_table_is_on_stdout_and_the_rest_is_not(call: Call) -> None:
    result = call("compare", "a.safetensors", "b.safetensors", *QUICK, "--report", "rep")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:2] == ["A  a.safetensors  2 timesteps", "B  b.safetensors  2 timesteps"]
    assert lines[2] == "3 prompts, speaker ben, seed 1234"
    assert any(line.startswith("loudness ") for line in lines)
    assert max(map(len, lines)) <= 80
    assert result.stderr == "report rep/index.md\n"
    assert len(list(Path("rep/clips").iterdir())) == 6


def test_json_is_one_object_and_a_repeat_gives_the_same(call: Call) -> None:
    ask = ("compare", "a.safetensors", "b.safetensors", *QUICK, "--json", "--most", 2)
    one, two, other = call(*ask), call(*ask), call(*ask, "--seed", 1)
    assert one.exit_code == 0, one.output
    told = json.loads(one.stdout)
    assert [p["text"] for p in told["prompts"]] == ["No.", "Wait."]
    assert (told["speaker"], told["seed"]) == ("ben", 1234)
    assert one.stdout == two.stdout
    assert told["scores"] != json.loads(other.stdout)["scores"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("b.safetensors", "--speaker", "ana"), "did you mean"),
        (("b.safetensors", "--speaker", "anna"), "b.safetensors has no speaker 'anna'"),
        (("away.safetensors",), "there is no checkpoint away.safetensors"),
        (("b.safetensors", "--prompts", "away.txt"), "there are no prompts away.txt"),
        (("b.safetensors", "--models", "loudnes"), "did you mean 'loudness'?"),
        (("fixed.safetensors",), "leave --steps out"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    call: Call, arguments: tuple[str, ...], told: str
) -> None:
    model = tiny_model()
    card = checkpoint.Card(model.config, ("anna",), {"schedule": {"kind": "manual8"}})
    checkpoint.save(Path("fixed.safetensors"), model, card)
    ask = ("compare", "a.safetensors", arguments[0], *QUICK, *arguments[1:], "--report", "rep")
    assert told in refused(call(*ask))


def test_a_report_never_covers_what_is_there(call: Call) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("kept")
    ask = ("compare", "a.safetensors", "a.safetensors", *QUICK, "--report", "mine")
    assert "mine is there already" in refused(call(*ask))
    assert Path("mine/notes.txt").read_text() == "kept"


def test_a_default_score_that_is_not_here_is_left_out_aloud_and_a_named_one_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        registry, "missing", lambda name: "" if name == "loudness" else f"no {name}"
    )
    assert [model.name for model in compare.load_models([], "cpu")] == ["loudness"]
    assert capsys.readouterr().err == "left out: no distillmos\nleft out: no intelligibility\n"
    with pytest.raises(ValueError, match="no distillmos"):
        compare.load_models(["loudness,distillmos"], "cpu")


# --- the table ------------------------------------------------------------------

COLUMNS = (
    Column("distillmos", "MOS 1-5", True),
    Column("wer", "share of words", False),
    Column("loudness", "LUFS", None),
    Column("clipping", "share", False),
)
A = torch.tensor([[1.0, 0.50, -30.0, 0.0], [2.0, 0.60, -31.0, 0.0], [3.0, 0.70, -32.0, 0.0]])
B = torch.tensor([[1.5, 0.75, -20.0, 0.0], [2.6, 0.50, -21.1, 0.0], [3.4, 0.72, -22.2, 0.0]])


@pytest.fixture
def done() -> Comparison:
    def side(source: str, values: torch.Tensor) -> Side:
        scores = Scores(COLUMNS, values, ())
        return Side(source, ScheduleSpec(), 10, (1.0,) * 3, Evaluation((), scores))

    long = "runs/quickstart-20260101-120000/checkpoints/update-000020.safetensors"
    return tabulate(side("bundled", A), side(long, B), "LJ", 1.0, 7, 22050, ("x", "y", "z"))


def drawn(done: Comparison, width: int) -> list[str]:
    out = io.StringIO()
    compare.draw(done, Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_is_whole_at_every_width(done: Comparison, width: int) -> None:
    lines = drawn(done, width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 3 + 1 + 5 + 1 + 1
    (path,) = (line for line in lines if line.startswith("B  "))
    assert path.endswith("update-000020.safetensors  10 timesteps")
    assert all("…" not in line for line in lines if line != path)


def test_a_wide_table_writes_intervals_out_and_says_who_is_better(done: Comparison) -> None:
    rows = {line.split()[0]: " ".join(line.split()) for line in drawn(done, 80)[5:9]}
    assert rows["distillmos"] == (
        "distillmos high 2.000 2.500 +0.500 +0.252 to +0.748 0:3 B better"
    )
    assert rows["wer"].startswith("wer low 0.600 0.657 +0.057 -0.")
    assert rows["wer"].endswith(" 2:1")
    assert rows["loudness"].endswith(" – differs")
    assert rows["clipping"].endswith(" 0:0")


def test_a_narrow_table_marks_with_a_star(done: Comparison) -> None:
    lines = drawn(done, 60)
    rows = {line.split()[0]: line.split() for line in lines[5:9]}
    assert rows["distillmos"][-4:] == ["+0.500", "±0.248", "0:3", "*"]
    assert rows["wer"][-1] == "2:1"
    assert lines[-1] == "*: the 95 % interval of B - A leaves out 0"
