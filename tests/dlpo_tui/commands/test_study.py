"""The command with sessions of tiny voices, in this process but for one test."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli, study_training
from dlpo_tui.children import Child, Outcome
from dlpo_tui.study_run import begin
from dlpo_tui.study_training import SIGNALS, stopping
from engine import journal
from engine import messages as m
from engine import profile as profiles
from engine.session import Session
from tests.voices import write_corpus, write_methods, write_voice

Call = Callable[..., Result]


class Here:
    """In the place of `Children`: every session in this process, one after another."""

    began: ClassVar[list[str]] = []
    spoil: Callable[[Session, str], None] = staticmethod(lambda session, name: None)

    def __init__(self, at_once: int, hear: Callable, left: Callable) -> None:
        self.hear, self.left, self.stops = hear, left, 0

    def run(self, children: Sequence[Child]) -> dict[str, Outcome]:
        ends = {}
        for child in children:
            if self.stops:
                return {**ends, child.name: Outcome(False)}
            child.ready()
            ends[child.name] = self.one(child)
            self.left(child.name, ends[child.name])
        return ends

    def one(self, child: Child) -> Outcome:
        *_, module, folder, threads = child.command
        assert (module, threads) == ("dlpo_tui.study_run", "1")
        Here.began.append(child.name)
        opening = begin(Path(folder))
        said: list[m.SessionEnded] = []

        def emit(event: m.Event) -> None:
            self.hear(child.name, event)
            if isinstance(event, m.SessionEnded):
                said.append(event)

        session = Session(opening.settings, opening.folder, emit, opening.before)
        Here.spoil(session, child.name)
        session.run()
        return Outcome(said[0].reason == "finished", said[0].error)

    def stop(self) -> None:
        self.stops += 1

    def stopped(self) -> bool:
        return self.stops > 0


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """A command owns its process: what it sets there is put back."""
    threads, root = torch.get_num_threads(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    torch.set_num_threads(threads)
    logging.captureWarnings(False)
    root.setLevel(level)
    for added in set(root.handlers) - set(handlers):
        root.removeHandler(added)
        added.close()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> type[Here]:
    monkeypatch.setattr(Here, "began", [])
    monkeypatch.setattr(Here, "spoil", staticmethod(lambda session, name: None))
    monkeypatch.setattr(study_training, "Children", Here)
    return Here


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`dlpo-tui study`, in a folder with three methods; loudness alone scores."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_methods(tmp_path, write_voice(tmp_path / "voice.safetensors", ("anna", "kathleen")))
    usual = ("study", "methods", "--out", "out", "--models", "loudness", "--set", "train.updates=1",
             "--set", "evaluation.every=0")  # fmt: skip
    return lambda *more: CliRunner().invoke(cli.app, [*usual, *map(str, more)])


def refused(result: Result) -> str:
    """Exit code 2, one sentence on stderr after what is going on, nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    *doing, line = result.stderr.splitlines()
    assert doing in ([], ["looking for what the profiles name"])
    assert line.startswith("dlpo-tui: ")
    return line


def table(folder: str = "out") -> dict:
    return dict(json.loads(Path(folder, "table.json").read_text()))


def test_all_methods_with_all_seeds_come_to_one_table(call: Call, here: type[Here]) -> None:
    corpus = write_corpus(Path("corpus"))
    result = call("--seeds", "0,1", "--recordings", corpus)
    assert result.exit_code == 0, result.output
    assert here.began == ["ddpo-0", "dlpo-0", "ddpo-1", "dlpo-1"]
    assert result.stdout.strip() == Path("out/table.md").read_text().strip()
    told = table()
    assert [row["name"] for row in told["methods"]] == ["base", "ddpo", "dlpo"]
    assert [row["seeds"] for row in told["methods"]] == [[], [0, 1], [0, 1]]
    assert [column["name"] for column in told["columns"]] == [
        "loudness", "clipping", "diffusion_loss",
    ]  # fmt: skip
    assert told["command"] == (
        "dlpo-tui study methods --out out --seeds 0,1 --set train.updates=1 --set "
        "evaluation.every=0 --recordings corpus --models loudness"
    )
    assert told["reward"] == dict.fromkeys(("base", "ddpo", "dlpo"), "loudness")
    (machine,) = told["machines"]
    assert machine.endswith("1 run at a time")
    dlpo = told["methods"][2]["scores"]["loudness"]
    assert dlpo["difference"]["count"] == 2
    assert dlpo["difference"]["mean"] != 0
    assert "dlpo-1  finished  (4 of 4 runs)" in result.stderr
    assert result.stderr.count("dlpo-1 speaks") == result.stderr.count("loudness scores base") == 1
    assert "table  out/table.md" in result.stderr
    resolved = profiles.load(Path("out/dlpo-1/profile.toml"))
    assert (resolved.seed, resolved.train.algorithm) == (1, "dlpo")


def test_a_second_call_draws_the_same_table_and_runs_nothing(
    call: Call, here: type[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("--seeds", "0").exit_code == 0
    before, journals = table(), [path.read_bytes() for path in Path("out").glob("*/events.jsonl")]
    here.began.clear()

    def never(name: str, device: object) -> None:
        raise AssertionError(f"{name} is loaded again")

    monkeypatch.setattr("engine.rewards.registry.load", never)
    result = call("--seeds", "0", "--json")
    assert result.exit_code == 0, result.output
    assert here.began == []
    assert "2 of 2 runs are finished already" in result.stderr
    assert json.loads(result.stdout) == table() == before
    assert [path.read_bytes() for path in Path("out").glob("*/events.jsonl")] == journals


def test_more_seeds_are_added_to_what_is_there(call: Call, here: type[Here]) -> None:
    assert call("--seeds", "0").exit_code == 0
    here.began.clear()
    result = call("--seeds", "0,4")
    assert result.exit_code == 0, result.output
    assert here.began == ["ddpo-4", "dlpo-4"]
    assert [row["seeds"] for row in table()["methods"]] == [[], [0, 4], [0, 4]]


def test_a_run_that_was_cut_off_goes_on_and_ends_as_if_it_never_was(
    call: Call, here: type[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = ("--seeds", "0", "--set", "train.updates=2")
    assert call(*longer, "--out", "whole").exit_code == 0

    def cut(session: Session, name: str) -> None:
        if name == "dlpo-0":
            after = session.one_update

            def once() -> int:
                if session.update == 1:
                    raise KeyboardInterrupt  # as a killed process: nothing is said or saved
                return after()

            monkeypatch.setattr(session, "one_update", once)

    monkeypatch.setattr(Here, "spoil", staticmethod(cut))
    result = call(*longer)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-2].startswith("go on  dlpo-tui study methods --out out ")
    assert not Path("out/table.md").exists()
    monkeypatch.setattr(Here, "spoil", staticmethod(lambda session, name: None))
    here.began.clear()
    result = call(*longer)
    assert result.exit_code == 0, result.output
    assert here.began == ["dlpo-0"]
    assert "1 of 2 runs are finished already" in result.stderr
    assert "dlpo-0  goes on after update 1" in result.stderr
    whole, again = table("whole"), table()
    assert [row["scores"] for row in again["methods"]] == [
        row["scores"] for row in whole["methods"]
    ]


def test_a_run_that_ended_before_its_first_state_begins_anew(call: Call, here: type[Here]) -> None:
    assert call("--seeds", "0").exit_code == 0
    for path in Path("out/ddpo-0/resume").iterdir():
        path.unlink()
    journal_of = Path("out/ddpo-0/events.jsonl")
    journal_of.write_text(journal_of.read_text().splitlines()[0] + "\n")
    here.began.clear()
    result = call("--seeds", "0")
    assert result.exit_code == 0, result.output
    assert here.began == ["ddpo-0"]
    assert "ddpo-0  ended before its first update, and begins anew" in result.stderr
    ended = journal.replay(Path("out/ddpo-0")).ended
    assert ended is not None
    assert ended.reason == "finished"


def test_a_run_that_fails_is_told_and_the_others_go_on(
    call: Call, here: type[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(session: Session, name: str) -> None:
        def lost() -> int:
            raise RuntimeError("the GPU is gone")

        if name == "ddpo-0":
            monkeypatch.setattr(session, "one_update", lost)

    monkeypatch.setattr(Here, "spoil", staticmethod(fail))
    result = call("--seeds", "0,1")
    assert result.exit_code == 1, result.output
    sentence = "ddpo-0 failed: RuntimeError: the GPU is gone"
    assert "ddpo-0  failed: RuntimeError: the GPU is gone  (1 of 4 runs)" in result.stderr
    assert [row["seeds"] for row in table()["methods"]] == [[], [1], [0, 1]]
    assert sentence in table()["notices"]
    assert f"- {sentence}" in result.stdout
    monkeypatch.setattr(Here, "spoil", staticmethod(lambda session, name: None))
    here.began.clear()
    assert call("--seeds", "0,1").exit_code == 0
    assert here.began == ["ddpo-0"]
    assert table()["notices"] == []


def test_an_interrupt_stops_the_runs_and_says_how_to_go_on(
    call: Call, here: type[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Here, "spoil", staticmethod(lambda session, name: signal.raise_signal(signal.SIGINT))
    )
    result = call("--seeds", "0")
    assert result.exit_code == 130
    told = result.stderr.splitlines()
    assert "stopping; each run saves where it is; once more to end at once" in told
    assert told[-2:] == [
        "go on  dlpo-tui study methods --out out --seeds 0 --set train.updates=1 --set "
        "evaluation.every=0 --models loudness",
        "interrupted",
    ]
    assert here.began == ["ddpo-0"]


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    stops: list[int] = []
    with stopping(lambda: stops.append(1)):
        for number in SIGNALS:
            signal.raise_signal(number)
    assert len(stops) == len(SIGNALS) == 3
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("methods/dpol.toml",), "there is no profile methods/dpol.toml; did you mean"),
        (("methods/dlpo.toml",), "methods/dlpo.toml and methods/dlpo.toml are both named dlpo"),
        (("--seeds", "one"), "--seeds takes whole numbers with commas between"),
        (("1",), "seeds are written with commas between: --seeds 0,1"),
        (("--set", "dplo:knobs.beta=2"), "did you mean dlpo?"),
        (("--set", "seed=2"), "name the seeds with --seeds"),
        (("--models", "loudnes"), "'loudnes'; did you mean 'loudness'?"),
        (("--recordings", "away"), "There is no prepared corpus in away"),
        (("--set", "voice.checkpoint=away.safetensors"), "there is no checkpoint away.safetensors"),
        (("--set", "voice.speaker=ana"), "has no speaker 'ana'; did you mean 'anna'?"),
        (("--set", "prompts.evaluation=train.txt"), "is in prompts.train as well"),
        (("--out", "methods"), "methods holds other things and no study"),
        (("--out", "voice.safetensors"), "voice.safetensors"),
    ],
)
def test_what_makes_no_study_is_one_sentence_and_leaves_no_folder(
    call: Call, here: type[Here], more: tuple[str, ...], told: str
) -> None:
    before = sorted(Path().rglob("*"))
    assert told in refused(call(*more))
    assert sorted(Path().rglob("*")) == before
    assert here.began == []


def test_another_studys_folder_is_refused_and_left_alone(call: Call, here: type[Here]) -> None:
    assert call("--seeds", "0").exit_code == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    told = refused(call("--seeds", "0", "--set", "dlpo:knobs.alpha=9"))
    assert "out holds another study: its dlpo has knobs.alpha = 1.0 and not 9.0" in told
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_the_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from engine.study.plan import Study, load_methods

    methods = write_methods(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    free, fixed = (
        Study(tmp_path / "out", load_methods([methods], [f"device.threads={count}"]), (0,)).runs[0]
        for count in (0, 3)
    )
    monkeypatch.setattr(study_training, "usable_cores", lambda: 8)
    for run, at_once, threads in ((free, 1, "8"), (free, 3, "2"), (free, 9, "1"), (fixed, 4, "3")):
        child = study_training.child(run, at_once)
        assert child.command[-2:] == (str(run.folder), threads)
        assert child.environment == {"OMP_NUM_THREADS": threads}


def test_with_real_processes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """One method, one update, a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    result = CliRunner().invoke(
        cli.app,
        ["study", "methods/dlpo.toml", "--out", "out", "--seeds", "3", "--models", "loudness",
         "--set", "train.updates=1", "--set", "evaluation.every=0"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = table()
    assert [(row["name"], row["seeds"], row["updates"]) for row in told["methods"]] == [
        ("base", [], 0), ("dlpo", [3], 1),
    ]  # fmt: skip
    assert told["methods"][1]["scores"]["loudness"]["difference"]["mean"] != 0
    (started,) = (e for e in journal.events(Path("out/dlpo-3")) if isinstance(e, m.SessionStarted))
    assert started.run == "dlpo-3"
