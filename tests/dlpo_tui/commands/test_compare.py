from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
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
from engine.preference import Preference, Trial
from engine.profile import ScheduleSpec
from engine.rewards import registry
from engine.rewards.base import Scores
from tests.voices import tiny_model, write_voice

pytestmark = pytest.mark.usefixtures("one_thread")

Call = Callable[..., Result]
QUICK = ("--prompts", "texts.txt", "--steps", 2, "--models", "loudness")


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
    few = "3 prompts cannot tell the two apart: with 2 scores it takes 7 for p to fall below 0.05"
    assert result.stderr == f"{few}\nreport rep/index.md\n"
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


def test_a_run_is_compared_by_its_checkpoint_and_the_table_names_the_file(call: Call) -> None:
    for update in (1, 12):
        write_voice(Path(f"runs/q/checkpoints/update-{update:06d}.safetensors"), ("ben",), update)
    for run, stem in (("runs/q", "update-000012"), ("runs/q@1", "update-000001")):
        result = call("compare", "a.safetensors", run, *QUICK, "--most", 1)
        assert result.exit_code == 0, result.output
        line = f"B  runs/q/checkpoints/{stem}.safetensors  2 timesteps"
        assert result.stdout.splitlines()[1] == line
    (Path("runs/r/checkpoints")).mkdir(parents=True)
    told = refused(call("compare", "runs/r", "a.safetensors", *QUICK))
    assert told.startswith("dlpo-tui: the run runs/r has no checkpoint yet; a session writes one")


def test_a_page_is_one_file_with_the_clips_in_it(call: Call) -> None:
    ask = ("compare", "a.safetensors", "b.safetensors", *QUICK)
    result = call(*ask, "--page", "deep/page.html")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1].startswith("page deep/page.html (0.")
    words = Path("deep/page.html").read_text("utf-8")
    assert words.count("<audio ") == 6
    assert "b.safetensors" in words
    assert [path.name for path in Path("deep").iterdir()] == ["page.html"]
    for path, told in (("page.txt", "page.txt must end in .html"), ("deep", "must end in .html")):
        assert told in refused(call(*ask, "--page", path))
    Path("folder.html").mkdir()
    assert "it is a folder; name a file" in refused(call(*ask, "--page", "folder.html"))


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
PROMPTS = 8
UP = torch.tensor([0.3, 0.4, 0.5, 0.6, 0.7, 0.4, 0.5, 0.6])
A = torch.stack([
    torch.arange(PROMPTS) / 5 + 1, torch.full((PROMPTS,), 0.6), torch.full((PROMPTS,), -31.0),
    torch.zeros(PROMPTS),
], dim=1)  # fmt: skip
B = A + torch.stack([UP, torch.tensor([0.25, -0.1] * 4), 10 + UP, torch.zeros(PROMPTS)], dim=1)


@pytest.fixture
def done() -> Comparison:
    def side(source: str, values: torch.Tensor) -> Side:
        scores = Scores(COLUMNS, values, ())
        return Side(source, ScheduleSpec(), 10, (1.0,) * PROMPTS, Evaluation((), scores))

    long = "runs/quickstart-20260101-120000/checkpoints/update-000020.safetensors"
    return tabulate(side("bundled", A), side(long, B), "LJ", 1.0, 7, 22050, tuple("stuvwxyz"))


def drawn(done: Comparison, width: int) -> list[str]:
    out = io.StringIO()
    compare.draw(done, Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_is_whole_at_every_width(done: Comparison, width: int) -> None:
    lines = drawn(done, width)
    assert max(map(len, lines)) <= width
    assert len(lines) == 3 + 1 + 5 + 1 + 2
    (path,) = (line for line in lines if line.startswith("B  "))
    assert path.endswith("update-000020.safetensors  10 timesteps")
    assert all("…" not in line for line in lines if line != path)
    assert lines[-2:] == [
        "95 %: bootstrap over the prompts (BCa)",
        "p: sign-flip test, Holm over 4 scores; marked below 0.05",
    ]


def rows_of(lines: list[str]) -> dict[str, str]:
    return {line.split()[0]: " ".join(line.split()) for line in lines[5:9]}


def test_a_wide_table_says_who_is_better_in_words(done: Comparison) -> None:
    rows = rows_of(drawn(done, 120))
    interval = done.rows[0].difference
    span = f"{interval.low:+.3f} to {interval.high:+.3f}"
    # The smallest p of eight pairs, 2 / 256, times four scores.
    assert rows["distillmos"] == f"distillmos high 1.700 2.200 +0.500 {span} 0.031 0:8 B better"
    assert rows["wer"].startswith("wer low 0.600 0.675 +0.075 -0.")
    assert rows["wer"].endswith(" 4:4")
    assert rows["loudness"].endswith(" – differs")
    assert rows["clipping"].endswith(" 1.000 0:0")


def test_a_narrower_one_by_a_letter(done: Comparison) -> None:
    at_80, at_60 = rows_of(drawn(done, 80)), rows_of(drawn(done, 60))
    assert at_80["distillmos"].startswith("distillmos high 1.700 2.200 +0.500 +0.")
    assert at_80["distillmos"].endswith(" 0.031 0:8 B")
    assert at_60["distillmos"].startswith("distillmos 1.70 2.20 +0.50 +0.")
    assert at_60["distillmos"].endswith(" 0.031 B")
    assert at_60["loudness"].endswith(" 0.031 ≠")


def test_long_names_leave_the_means_out_before_anything_is_cut(done: Comparison) -> None:
    long = replace(done.rows[0], column=Column("nisqa_discontinuity", "MOS 1-5", True))
    lines = drawn(replace(done, rows=(long, *done.rows[1:])), 60)
    assert max(map(len, lines)) <= 60
    assert lines[4].split() == ["score", "B", "-", "A", "95", "%", "p"]
    assert rows_of(lines)["nisqa_discontinuity"].startswith("nisqa_discontinuity +0.50 +0.")


def test_one_score_needs_no_correction_and_none_no_footnote(done: Comparison) -> None:
    one = drawn(replace(done, rows=done.rows[:1]), 60)
    assert one[-1] == "p: sign-flip test; marked below 0.05"
    assert "p:" not in "\n".join(drawn(replace(done, rows=()), 60))


def test_a_preference_ends_in_what_is_still_needed() -> None:
    out = io.StringIO()
    heard = Preference(tuple(Trial(i, "A") for i in range(9)), ("A", "B", "B", "", "B"), 1)
    compare.draw_preference(heard, Console(file=out, width=60, highlight=False))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == [
        "blind  5 of 9 pairs  which was X was drawn for each",
        "A better 1   no difference 1   B better 3",
        "A preferred in 1 of 4 decided: 25 %",
        "95 % interval 1 % to 81 %, p = 0.625",
        "about 20 more pairs would settle it, if choices go on so",
        "exact binomial interval; exact two-sided sign test",
        "",
    ]
