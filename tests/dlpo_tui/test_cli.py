from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli, console
from dlpo_tui.commands import run
from dlpo_tui.lines import Lines
from engine import audio, checkpoint, journal, launch
from engine import messages as m
from engine import profile as profiles
from engine.endings import ENDINGS
from engine.model.config import ModelConfig
from engine.session import Session
from tests.voices import (
    SPEECH,
    SPOKEN,
    tiny_config,
    tiny_model,
    write_corpus,
    write_profile,
    write_voice,
)

Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """A command owns its process: what it sets there is put back."""
    threads = torch.get_num_threads()
    handling = {n: signal.getsignal(n) for n in (signal.SIGINT, *ENDINGS)}
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    torch.set_num_threads(threads)
    for number, handler in handling.items():
        signal.signal(number, handler)
    logging.captureWarnings(False)
    root.setLevel(level)
    for added in set(root.handlers) - set(handlers):
        root.removeHandler(added)
        added.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_profile(folder, write_voice(folder / "voice.safetensors", ("anna", "ben")))
    return folder


@pytest.fixture
def profile(place: Path) -> Path:
    return place / "tiny.toml"


@pytest.fixture
def voice(place: Path) -> Path:
    return place / "voice.safetensors"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(result: Result) -> str:
    """Exit code 2 and one sentence on stderr, nothing on stdout."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dlpo-tui: ")
    return line


SHORT = ("--set", "train.updates=1", "--set", "evaluation.every=0")


# --- run ------------------------------------------------------------------------


def test_a_headless_session_prints_lines_and_says_what_to_do_next(
    call: Call, profile: Path
) -> None:
    result = call("run", profile, "--headless", *SHORT, "--set", "runs=here")
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()
    assert any(line.startswith("update    1  reward ") for line in told)
    assert told[-1] == "update    1   finished"
    (folder,) = Path("here").iterdir()
    assert f"run    {folder}" in result.stderr
    assert f"listen dlpo-tui listen {folder}/checkpoints/update-000001.safetensors" in result.stderr
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "profile.toml", "events.jsonl", "samples", "checkpoints", "resume", "session.log"
    }  # fmt: skip
    resolved = profiles.load(folder / "profile.toml")
    assert resolved == profiles.load(profile, [*SHORT[1::2], "runs=here"])
    saved = checkpoint.load(folder / "checkpoints/update-000001.safetensors")
    assert saved.card.about["profile"] == resolved.hash()


def test_json_gives_every_event_and_nothing_else_on_stdout(call: Call, profile: Path) -> None:
    result = call("run", profile, "--json", *SHORT, "--set", "runs=here")
    assert result.exit_code == 0, result.output
    events = [m.from_json(json.loads(line)) for line in result.stdout.splitlines()]
    assert isinstance(events[-1], m.SessionEnded)
    kept = [event for event in events if not isinstance(event, m.PhaseProgressed)]
    (folder,) = Path("here").iterdir()
    assert kept == list(journal.events(folder))
    assert len(kept) < len(events)


def test_a_session_that_fails_exits_with_1_and_says_why(
    call: Call, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: Session) -> int:
        raise RuntimeError("the GPU is gone")

    monkeypatch.setattr(Session, "one_update", lost)
    result = call("run", profile, "--headless", "--set", "runs=here")
    assert result.exit_code == 1
    assert "dlpo-tui: the session failed: RuntimeError: the GPU is gone" in result.stderr
    assert list(Path("here").iterdir())
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.updatse=3", "unknown key 'updatse'; did you mean 'updates'?"),
        ("train.updates=0", "train.updates is at least 1"),
        ("train.updates", "--set takes KEY=VALUE"),
    ],
)
def test_a_bad_profile_is_one_sentence_and_makes_no_folder(
    call: Call, profile: Path, change: str, told: str
) -> None:
    assert told in refused(call("run", profile, "--headless", "--set", "runs=x", "--set", change))
    assert not Path("x").exists()


def test_a_missing_profile_is_one_sentence_with_the_nearest(call: Call, profile: Path) -> None:
    told = refused(call("run", profile.with_name("tinny.toml"), "--headless"))
    assert told.endswith(f"did you mean {profile}?")


def test_runs_that_cannot_be_written_are_one_sentence(call: Call, profile: Path) -> None:
    Path("file").write_text("no folder")
    told = refused(call("run", profile, "--headless", "--set", "runs=file"))
    assert "cannot be made" in told


def test_what_nohup_has_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run.stop_on_interrupt(lambda command: None)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT)


def test_a_terminal_that_is_closed_is_told_of_twice_and_stops_once() -> None:
    code = (
        "import signal\nfrom dlpo_tui.commands import run\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # these tests may run under nohup
        "sent = []\nrun.stop_on_interrupt(sent.append)\n"
        "signal.raise_signal(signal.SIGHUP); signal.raise_signal(signal.SIGHUP)\n"
        "print(len(sent))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n", "what goes into a file or a pipe goes on"
    assert done.stderr == "stopping and saving; once more to end at once\n"


def test_the_first_interrupt_asks_for_a_stop_and_the_second_ends_at_once() -> None:
    sent: list[m.Command] = []
    interrupted = run.stop_on_interrupt(sent.append)
    assert not interrupted
    signal.raise_signal(signal.SIGINT)
    assert sent == [m.Stop()]
    assert interrupted
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert sent == [m.Stop()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_session_saves_and_exits_with_130(
    number: signal.Signals, call: Call, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = Lines.show

    def interrupting(self: Lines, event: m.Event) -> None:
        show(self, event)
        if isinstance(event, m.UpdateFinished):
            signal.raise_signal(number)

    monkeypatch.setattr(Lines, "show", interrupting)
    result = call(
        "run", profile, "--headless", "--set", "runs=here", "--set", "train.updates=9",
        "--set", "train.save_every=9",
    )  # fmt: skip
    assert result.exit_code == 130, result.output
    assert "stopping and saving; once more to end at once" in result.stderr
    (folder,) = Path("here").iterdir()
    assert journal.replay(folder).ended == m.SessionEnded(1, "stopped")
    assert (folder / "checkpoints/update-000001.safetensors").is_file()


# --- over several devices -------------------------------------------------------

SPREAD = ("--set", "distributed.devices=2")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (m.SessionEnded(1, "finished"), 0),
        (m.SessionEnded(1, "failed", "a reward is away"), 1),
        (m.SessionEnded(0, "failed", "no such voice", refused=True), 2),
    ],
)
def test_what_the_first_of_several_processes_says_is_shown(
    call: Call, profile: Path, monkeypatch: pytest.MonkeyPatch, end: m.SessionEnded, code: int
) -> None:
    said = [json.dumps(m.to_json(event)) for event in (m.Noticed(0, "info", "ready"), end)]
    stand_in = [sys.executable, "-c", f"print({said[0]!r})\nprint({said[1]!r})"]
    monkeypatch.setattr(launch, "command", lambda profile: stand_in)
    result = call("run", profile, "--headless", *SPREAD, "--set", "runs=here")
    assert result.exit_code == code, result.output
    assert "update    0   ready" in result.stdout
    assert end.error in result.stderr
    assert len(list(Path("here").iterdir())) == (code != 2)


def test_devices_that_are_not_there_are_one_sentence_and_leave_no_run(
    call: Call, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    nccl = ("--set", "distributed.backend='nccl'", "--set", "runs=here")
    told = refused(call("run", profile, "--headless", *SPREAD, *nccl))
    assert "needs as many GPUs with nccl" in told
    assert not list(Path("here").iterdir())


# --- listen ---------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_listen_writes_what_was_asked_for(call: Call, voice: Path, suffix: str) -> None:
    out = Path("deep") / f"clip.{suffix}"
    result = call("listen", voice, "--text", "Go on.", "--out", out, "--steps", 2)
    assert result.exit_code == 0, result.output
    wave, rate = audio.read(out)
    assert rate == 22050
    assert 0.05 < len(wave) / rate < 1.0
    assert f"{len(wave) / rate:.2f} s of {voice} in {out}" in result.stderr
    assert result.stdout == ""


def test_listen_is_deterministic_and_takes_speaker_pace_and_seed(call: Call, voice: Path) -> None:
    def spoken(*options: object) -> torch.Tensor:
        out = Path("clip.wav")
        arguments = ("listen", voice, "--text", "Go on.", "--out", out, "--steps", 2, *options)
        result = call(*arguments)
        assert result.exit_code == 0, result.output
        return audio.read(out)[0]

    usual = spoken()
    assert torch.equal(spoken("--speaker", "anna", "--seed", 0), usual)
    assert not torch.equal(spoken("--speaker", "ben"), usual)
    assert not torch.equal(spoken("--seed", 1), usual)
    assert len(spoken("--pace", 2)) > 1.5 * len(usual)


def test_without_a_file_a_clip_is_played(
    call: Call, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlpo_tui import sound

    played: list[tuple[int, int]] = []
    monkeypatch.setattr(sound, "play_and_wait", lambda wave, rate: played.append((len(wave), rate)))
    assert call("listen", voice, "--text", "Go on.", "--steps", 2).exit_code == 0
    ((samples, rate),) = played
    assert rate == 22050
    assert samples % 300 == 0


@pytest.mark.parametrize(
    "about",
    [
        {"kind": "betas", "betas": [1e-4, 0.1, 0.9], "timesteps": 10},
        {"kind": "manual8", "betas": [], "timesteps": 10},
        {"kind": "respaced", "timesteps": 3, "sampler": "ddim", "eta": 1},
    ],
    ids=lambda about: about["kind"],
)
def test_a_checkpoint_speaks_by_the_schedule_it_was_trained_on(
    call: Call, tmp_path: Path, about: dict
) -> None:
    model = tiny_model()
    card = checkpoint.Card(model.config, ("anna",), {"schedule": about})
    checkpoint.save(tmp_path / "trained.safetensors", model, card)
    say = ("listen", "trained.safetensors", "--text", "Go.", "--out", "a.wav")
    if about["kind"] != "respaced":
        told = refused(call(*say, "--steps", 2))
        assert f"of kind {about['kind']}, whose timesteps are not free" in told
        assert not Path("a.wav").exists()
    result = call(*say, *(("--steps", 2) if about["kind"] == "respaced" else ()))
    assert result.exit_code == 0, result.output
    assert audio.read("a.wav")[0].std() > 0


def test_a_schedule_that_cannot_be_read_is_one_sentence(call: Call, tmp_path: Path) -> None:
    model = tiny_model()
    card = checkpoint.Card(model.config, ("anna",), {"schedule": {"kind": "cosine", "x": 1}})
    checkpoint.save(tmp_path / "odd.safetensors", model, card)
    assert "odd.safetensors" in refused(
        call("listen", "odd.safetensors", "--text", "Go.", "--out", "a.wav")
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "say what to speak: --text"),
        (("--text", "Go.", "--speaker", "bem"), "has no speaker 'bem'; did you mean 'ben'?"),
        (("--text", "..."), "..."),
        (("--text", "Go.", "--out", "clip.mp3", "--steps", "1"), "must end in .flac or .wav"),
    ],
)
def test_listen_refuses_what_it_cannot_do_in_one_sentence(
    call: Call, voice: Path, options: tuple[str, ...], told: str
) -> None:
    assert told in refused(call("listen", voice, *options))


def test_listen_to_what_is_no_voice_is_one_sentence(call: Call, tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "model.ckpt")
    assert "is a pickled checkpoint" in refused(call("listen", "model.ckpt", "--text", "Go."))
    assert "there is no checkpoint" in refused(call("listen", "away.safetensors", "--text", "Go."))


@pytest.mark.parametrize("option", [("--steps", "0"), ("--pace", "9"), ("--seed", "x")])
def test_an_option_out_of_range_is_a_usage_error(
    call: Call, voice: Path, option: tuple[str, str]
) -> None:
    result = call("listen", voice, "--text", "Go.", *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


# --- prepare and pretrain -------------------------------------------------------


def test_prepare_refuses_a_folder_that_is_no_corpus(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(call("prepare", "empty", "--out", "x"))
    assert "away" in refused(call("prepare", "away"))
    assert not Path("prepared").exists()


def test_prepare_makes_a_corpus_to_pretrain_on(call: Call, tmp_path: Path) -> None:
    name, text = next(iter(SPOKEN.items()))
    (tmp_path / "mine" / "wavs").mkdir(parents=True)
    sound = (SPEECH / f"{name}.flac").read_bytes()
    (tmp_path / "mine" / "wavs" / f"{name}.flac").write_bytes(sound)
    (tmp_path / "mine" / "metadata.csv").write_text(f"{name}|{text}|{text}\n")
    result = call("prepare", "mine", "--speaker", "kathleen", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["speaker"], report["kept"]) == ("kathleen", 1)
    assert "kathleen: 1 clips" in result.stderr
    assert (tmp_path / "prepared" / "mine" / "clips.jsonl").is_file()


def test_pretrain_trains_goes_on_and_makes_a_voice_that_speaks(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelConfig, "narrow", tiny_config)
    write_corpus(tmp_path / "corpus")
    Path("toy.toml").write_text(
        'name = "toy"\nsteps = 2\nbatch = 2\nwindow_frames = 8\nevaluate_every = 1\n'
        'device = { device = "cpu", threads = 1 }\n'
    )
    result = call("pretrain", "corpus", "toy.toml", "--json")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["held_out"] > 0 for row in rows)
    voice = Path("pretrained/toy/voice.safetensors")
    assert f"voice {voice}" in result.stderr

    result = call("pretrain", "corpus", "toy.toml", "--set", "steps=3")
    assert result.exit_code == 0, result.output
    assert "going on at optimizer step 2" in result.stderr
    assert "step      3" in result.stderr
    assert checkpoint.load(voice).card.about["optimizer_steps"] == 3
    spoken = call("listen", voice, "--text", "Go on.", "--out", "clip.wav", "--steps", 1)
    assert spoken.exit_code == 0, spoken.output


@pytest.mark.parametrize(
    ("corpus", "change", "told"),
    [
        ("away", "steps=1", "There is no prepared corpus in away"),
        ("corpus", "stpes=1", "unknown key 'stpes'; did you mean 'steps'?"),
        ("corpus", "start=away.safetensors", "there is no checkpoint away.safetensors"),
    ],
)
def test_pretrain_refuses_what_it_cannot_do_in_one_sentence(
    call: Call, tmp_path: Path, corpus: str, change: str, told: str
) -> None:
    write_corpus(tmp_path / "corpus")
    Path("toy.toml").write_text('device = { device = "cpu", threads = 1 }\n')
    assert told in refused(call("pretrain", corpus, "toy.toml", "--set", change))


# --- the program ----------------------------------------------------------------


def test_without_a_command_the_commands_are_shown(call: Call) -> None:
    result = call()
    assert result.exit_code == 2
    for command in ("run", "listen", "prepare", "pretrain"):
        assert command in result.output


def test_an_unknown_command_is_a_usage_error(call: Call) -> None:
    assert call("rnu").exit_code == 2


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ValueError("it is off"), 2, "dlpo-tui: it is off"),
        (FileNotFoundError(2, "No such file", "a.wav"), 2, "dlpo-tui: No such file a.wav"),
        (OSError("odd"), 2, "dlpo-tui: odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_input_are_one_sentence_and_an_exit_code(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(console.typer.Exit) as caught, console.one_sentence():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().err == f"{told}\n"


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), console.one_sentence():
        raise ZeroDivisionError
