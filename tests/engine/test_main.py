from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine import messages as m
from engine.__main__ import main
from engine.journal import events
from tests.voices import write_corpus, write_profile, write_voice


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """A program owns its process: what it sets there is put back."""
    threads = torch.get_num_threads()
    handling = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    yield
    torch.set_num_threads(threads)
    for number, handler in handling.items():
        signal.signal(number, handler)


def test_a_session_runs_and_every_event_is_a_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    assert main(["run", str(profile), "--set", "train.updates=1"]) == 0
    events = [m.from_json(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert isinstance(events[-1], m.SessionEnded)
    assert events[-1].reason == "finished"
    started = next(event for event in events if isinstance(event, m.SessionStarted))
    kept = json.loads((Path(started.folder) / "profile.json").read_text())
    assert kept["train"]["updates"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_told_to_go_ends_in_a_saved_state(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, object]] = []
    signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup

    def say(data: dict[str, object]) -> None:
        said.append(data)
        if data["kind"] == "UpdateFinished":
            signal.raise_signal(number)

    monkeypatch.setattr("engine.__main__.say", say)
    profile = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    assert main(["run", str(profile), "--set", "train.updates=9"]) == 0
    end = m.from_json(said[-1])
    assert end == m.SessionEnded(1, "stopped")
    started = next(m.from_json(d) for d in said if d["kind"] == "SessionStarted")
    assert isinstance(started, m.SessionStarted)
    assert (Path(started.folder) / "checkpoints/update-000001.safetensors").is_file()


def test_what_nohup_has_ignored_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    profile = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    assert main(["run", str(profile), "--set", "train.updates=1"]) == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


def test_pretraining_makes_a_voice_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    start = write_voice(tmp_path / "start.safetensors")
    profile = tmp_path / "pretrain.toml"
    profile.write_text(
        f'start = "{start}"\nbatch = 2\nwindow_frames = 4\nsteps = 2\nevaluate_every = 1\n'
        "device.threads = 1\n"
    )
    call = ["pretrain", str(corpus), str(profile), "--out", str(tmp_path / "out")]
    assert main(call) == 0
    assert main([*call, "--set", "steps=3"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["step"] for row in rows if "step" in row] == [1, 2, 3]
    assert {"resumed_at": 2} in rows
    voice = checkpoint.load(rows[-1]["voice"])
    assert voice.card.about["optimizer_steps"] == 3


def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "there is no profile" in told.err


def test_the_engine_needs_no_library_of_the_screen() -> None:
    code = (
        "import sys\n"
        "for name in ('textual', 'typer', 'rich', 'click', 'tomli_w', 'sounddevice'):\n"
        "    sys.modules[name] = None\n"
        "import engine.__main__, engine.session, engine.pretrain, engine.prepare\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_second_session_in_a_folder_is_refused_and_harms_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    heard: list[dict[str, object]] = []

    def say(data: dict[str, object]) -> None:
        heard.append(data)
        if data["kind"] == "UpdateFinished" and not codes:
            (folder,) = (tmp_path / "runs").iterdir()
            codes.append(main(["run", "--resume", str(folder)]))

    monkeypatch.setattr("engine.__main__.say", say)
    profile = write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    assert main(["run", str(profile)]) == 0
    assert codes == [2]
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "is at work in another process; wait for its end, or stop it there" in told
    (folder,) = (tmp_path / "runs").iterdir()
    kept = [m.to_json(event) for event in events(folder)]
    assert kept == [data for data in heard if data["kind"] != "PhaseProgressed"]
    assert heard[-1]["reason"] == "finished"
