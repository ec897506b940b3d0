"""Every wrong input ends in one sentence and exit code 2, and leaves the folder as it was."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import Result
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from dlpo_tui import app, cli
from dlpo_tui.bridge import Bridge
from dlpo_tui.commands import run
from engine import checkpoint, files
from engine.endings import ENDINGS
from tests.voices import SPEECH, SPOKEN, tiny_model, write_corpus, write_profile, write_voice

Call = Callable[..., Result]
NAME, SENTENCE = next(iter(SPOKEN.items()))


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
    """A folder with a voice, a corpus and a profile that are fine, and much that is not."""
    folder = tmp_path_factory.mktemp("bad-input")
    write_profile(folder, write_voice(folder / "voice.safetensors", ("anna", "ben")))
    write_corpus(folder / "corpus")
    (folder / "runs").mkdir()
    (folder / "folder.wav").mkdir()
    broken_files(folder)
    broken_voices(folder)
    broken_corpora(folder)
    return folder


def broken_files(folder: Path) -> None:
    for name, content in {
        "note": b"a note",
        "comments.txt": b"# nothing\n\n",
        "latin.txt": b"caf\xe9\n",
        "silent.txt": "Go on.\n😀\n".encode(),
        "latin.toml": b'name = "caf\xe9"\n',
        "open.toml": b"[train\n",
        "toy.toml": b'device = { device = "cpu", threads = 1 }\n',
    }.items():
        (folder / name).write_bytes(content)


def broken_voices(folder: Path) -> None:
    with safe_open(folder / "voice.safetensors", "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    key = "decoder.ublock_preconv.conv1d.bias"

    def voice(name: str, changes: dict[str, str], **sizes: int) -> None:
        told = {**metadata, "config": json.dumps({**config, **sizes}), **changes}
        save_file(tensors, folder / f"{name}.safetensors", told)

    voice("vast", {}, u_pre=2**40)
    voice("deep", {}, encoder_layers=10**9)
    voice("garbled", {"config": "{no json"})
    voice("knobless", {"about": '{"knobs": 5}'})
    save_file({**tensors, key: tensors[key] * float("nan")}, folder / "nan.safetensors", metadata)
    whole = (folder / "voice.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.safetensors").write_bytes(b"")
    torch.save({"state_dict": {}}, folder / "posing.safetensors")


def broken_corpora(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "corpus/clips.jsonl").read_text().splitlines()]
    for name, changes in {
        "elsewhere": {"audio_start": 10**9},
        "before": {"audio_start": -300},
        "unspoken": {"ids": [10**6] * len(rows[0]["ids"])},
        "unknown": {"mood": "calm"},
    }.items():
        shutil.copytree(folder / "corpus", folder / name)
        lines = [json.dumps(row) + "\n" for row in ({**rows[0], **changes}, *rows[1:])]
        (folder / name / "clips.jsonl").write_text("".join(lines))
    shutil.copytree(folder / "corpus", folder / "short")
    os.truncate(folder / "short/audio.i16", 1000)

    good, hz = soundfile.read(SPEECH / f"{NAME}.flac", dtype="float32")
    flac = (SPEECH / f"{NAME}.flac").read_bytes()
    recordings: dict[str, Callable[[Path], Any]] = {
        "slow": lambda path: soundfile.write(path, good[::2], 8000),
        "nothing": lambda path: soundfile.write(path, good[:0], hz),
        "hollow": lambda path: path.write_bytes(b""),
        "torn": lambda path: path.write_bytes(flac[:3000]),
        "hushed": lambda path: soundfile.write(path, np.stack([good * 0] * 2, axis=1), hz),
    }
    for name, write in recordings.items():
        (folder / "raw" / name / "wavs").mkdir(parents=True)
        write(folder / "raw" / name / "wavs" / ("a.flac" if name == "torn" else "a.wav"))
        (folder / "raw" / name / "metadata.csv").write_text(f"a|{SENTENCE}|{SENTENCE}\n")
    for name, table in {
        "columns": b"a\n",
        "outside": b"../../note|Go on.|Go on.\n",
        "latin": b"a|caf\xe9|caf\xe9\n",
        "bare": b"",
    }.items():
        shutil.copytree(folder / "raw" / "slow", folder / "raw" / name)
        (folder / "raw" / name / "metadata.csv").write_bytes(table)


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in the folder."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("DLPO_TUI_UTMOS", "away.pt")
    return lambda *arguments: CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def untouched(place: Path) -> Iterator[None]:
    """Nothing is written, half or whole."""
    before = contents(place)
    yield
    assert contents(place) == before


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused(result: Result) -> str:
    """Exit code 2 and one sentence on stderr."""
    assert result.exit_code == 2, f"{result.output} {result.exception!r}"
    assert "Traceback" not in result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("dlpo-tui: ")
    return line


# --- a session ------------------------------------------------------------------

UNSEEN = "name sentences that are not trained on"
DAMAGED = "prepare the corpus again"
DATA = "train.penalty_source=data"

BEFORE_IT_OPENS = [
    ("voice.checkpoint=voise.safetensors", "voise.safetensors", "did you mean voice.safetensors?"),
    ("voice.checkpoint=corpus", "corpus is a folder", "name a .safetensors file, or: bundled"),
    ("voice.checkpoint=cut.safetensors", "cut.safetensors", "no whole safetensors file"),
    ("voice.checkpoint=empty.safetensors", "empty.safetensors", "no whole safetensors file"),
    ("voice.checkpoint=note", "note is", "no whole safetensors file"),
    ("voice.checkpoint=posing.safetensors", "posing.safetensors is a pickled", "dlpo-tui convert"),
    ("voice.checkpoint=garbled.safetensors", "garbled.safetensors", "model config: not JSON"),
    ("voice.checkpoint=vast.safetensors", "vast.safetensors", "above 0 and at most 100,000"),
    ("voice.checkpoint=deep.safetensors", "deep.safetensors", "above 0 and at most 100,000"),
    ("prompts.train=away.txt", "away.txt", "name a file, or one of: bundled"),
    ("prompts.train=folder.wav", "folder.wav", "no prepared corpus"),
    ("prompts.evaluation=comments.txt", "comments.txt", "write one a line, without #"),
    ("prompts.train=latin.txt", "latin.txt", "not UTF-8"),
    ("prompts.train=short", "short/audio.i16", DAMAGED),
    ("prompts.evaluation=train.txt", "prompts.evaluation is in prompts.train", UNSEEN),
    ("reward.models={lodness=1.0}", "'lodness'", "did you mean 'loudness'?"),
    ("reward.models={utmos=1.0}", "DLPO_TUI_UTMOS names away.pt", "there is no such file"),
    ("reward.models={loudness=nan}", "models.loudness", "a finite number, not nan"),
    ("judges.models=['loudness']", "loudness is named as both", "judge must not be the reward"),
    ("judges.models=['lodness']", "'lodness'", "did you mean 'loudness'?"),
    ("device.device=tpu", "'tpu'", "write auto, cpu, cuda"),
    ("device.device=cuda:63", "'cuda:63'", "device.device = 'auto'"),
    ("device.threads=-3", "device.threads", "between 0 (every core) and 1024"),
    ("rollout.batch=1" + 9 * "0", "rollout.batch", "between 1 and 10,000"),
    ("voice.checkpoint=" + 300 * "x", "File name too long", "x"),
    ("prompts.train=" + 300 * "x", "File name too long", "x"),
    ("name=a\x1b[2J", "name takes a text without control", "a\\x1b[2J"),
    ("runs=note", "note/tiny-", 'name another place with --set runs="..."'),
]
"""What is changed, what is named, and the hint: all known before a model is loaded."""

CORPORA = [
    ("away", "away", "no prepared corpus"),
    ("raw/slow", "raw/slow", "has not been prepared yet"),
    ("short", "short/audio.i16", "1,000 bytes and its clips need"),
    ("elsewhere", "elsewhere/clips.jsonl, line 1", DAMAGED),
    ("before", "before/clips.jsonl, line 1", DAMAGED),
    ("unspoken", "unspoken/clips.jsonl, line 1", DAMAGED),
    ("unknown", "unknown/clips.jsonl, line 1", DAMAGED),
]

ONLY_ONCE_OPEN = [
    ("voice.speaker=bem", "'bem'", "did you mean 'ben'?"),
    ("voice.checkpoint=nan.safetensors", "nan.safetensors", "not finite"),
    ("prompts.train=silent.txt", "'😀'", "no word to pronounce"),
    ("rollout.sigma_min=1e9", "1e+09", "lower rollout.sigma_min"),
    ("prompts.max_seconds=1e-9", "prompts.max_seconds = 1e-09", "the shortest takes"),
]
"""Known only when the voice is loaded, and yet before anything has begun."""


def set_each(changes: tuple[str, ...]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.mark.parametrize(("change", "named", "hint"), BEFORE_IT_OPENS + ONLY_ONCE_OPEN)
def test_a_session_without_a_screen(call: Call, change: str, named: str, hint: str) -> None:
    told = refused(call("run", "tiny.toml", "--headless", "--set", change))
    assert named in told
    assert hint in told


@pytest.mark.parametrize(("corpus", "named", "hint"), CORPORA)
def test_recorded_speech(call: Call, corpus: str, named: str, hint: str) -> None:
    changes = set_each((DATA, f"prompts.corpus={corpus}"))
    told = refused(call("run", "tiny.toml", "--headless", *changes))
    assert named in told
    assert hint in told


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A terminal, and in the screen's place a user who leaves when the session has ended."""
    shown: list[Path] = []

    def leave(bridge: Bridge, folder: Path) -> int:
        shown.append(folder)
        assert bridge.join(20)
        bridge.drain()
        return 1

    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(run, "sys", SimpleNamespace(stdin=terminal, stderr=terminal))
    monkeypatch.setattr(app, "run_app", leave)
    return shown


@pytest.mark.parametrize(("change", "named", "hint"), [*BEFORE_IT_OPENS[::4], *ONLY_ONCE_OPEN[::2]])
def test_a_session_under_a_screen_that_never_began(
    call: Call, screen: list[Path], change: str, named: str, hint: str
) -> None:
    """What loads torch to be found out is looked for behind the first paint."""
    told = refused(call("run", "tiny.toml", "--set", change))
    assert named in told
    assert hint in told
    assert not any(folder.exists() for folder in screen)


# --- the other commands ---------------------------------------------------------

SAY = ("--text", "Go.", "--steps", "1", "--out")


@pytest.mark.parametrize(
    ("arguments", "named", "hint"),
    [
        (("run", "."), ". is a folder", "name a TOML file, such as latin.toml"),
        (("run", "latin.toml"), "latin.toml", "not UTF-8 text"),
        (("run", "open.toml"), "open.toml", "not valid TOML"),
        (("run", "tiny.toml", "--set", "seed=1" + 5000 * "["), "seed", "takes a whole number"),
        (("run", "--resume", "away"), "there is no run away", "such as runs/NAME-DATE"),
        (("run", "--resume", "corpus"), "corpus holds no profile.toml", "not the folder of a run"),
        (("run", "--resume", "corpus", "tiny.toml"), "--resume", "leave out PROFILE"),
        (("run", "--from", "away.safetensors"), "away.safetensors", "no checkpoint"),
        (("run", "--from", "voice.safetensors"), "voice.safetensors", "name a profile too"),
        (("run", "--from", "knobless.safetensors"), "knobless.safetensors", "no table"),
        (("listen", "nan.safetensors", *SAY, "a.wav"), "nan.safetensors", "take an earlier one"),
        (("listen", "vast.safetensors", *SAY, "a.wav"), "vast.safetensors", "at most 100,000"),
        (
            ("listen", "away.safetensors", *SAY, "folder.wav"),
            "folder.wav",
            "it is a folder; name a file",
        ),
        (
            ("listen", "away.safetensors", *SAY, "note/a.wav"),
            "note",
            "a file is where a folder should",
        ),
        (("compare", "voice.safetensors", "nan.safetensors"), "nan.safetensors", "not finite"),
        (
            ("compare", "bundled", "bundled", "--prompts", "comments.txt"),
            "comments.txt",
            "one a li",
        ),
        (("compare", "bundled", "bundled", "--report", "note"), "note is there", "a new folder"),
        (("convert", "note"), "note is no checkpoint", "torch's begin as a zip"),
        (("fetch", "utmoss"), "'utmoss'", "did you mean 'utmos'?"),
        (("prepare", "raw/slow", "--out", "p"), "the first, a", "8,000 Hz is below 16,000 Hz"),
        (("prepare", "raw/nothing", "--out", "p"), "the first, a", "holds no audio samples"),
        (("prepare", "raw/hollow", "--out", "p"), "the first, a", "not audio that can be read"),
        (("prepare", "raw/torn", "--out", "p"), "No clip could be used", "the first, a"),
        (("prepare", "raw/hushed", "--out", "p"), "No clip could be used", "the first, a"),
        (("prepare", "raw/columns", "--out", "p"), "1 no text", "metadata.csv has no text for it"),
        (("prepare", "raw/outside", "--out", "p"), "../../note", "in wavs"),
        (("prepare", "raw/latin", "--out", "p"), "metadata.csv, line 1", "not UTF-8"),
        (("prepare", "raw/bare", "--out", "p"), "metadata.csv", "is empty"),
        (("prepare", "raw/slow", "--out", "note"), "note", "cannot be made"),
        (("prepare", "raw"), "raw", "there is one in raw/bare"),
        (("pretrain", "short", "toy.toml"), "short/audio.i16", DAMAGED),
        (("pretrain", "elsewhere", "toy.toml"), "elsewhere/clips.jsonl", DAMAGED),
        (("pretrain", "corpus", "tiny.toml"), "tiny.toml", "unknown key"),
        (
            ("pretrain", "corpus", "toy.toml", "--set", "start=nan.safetensors"),
            "nan.",
            "not finite",
        ),
        (("pretrain", "corpus", "toy.toml", "--set", "device.threads=-1"), "threads", "every core"),
        (("profiles", "check", "latin.toml"), "latin.toml", "not UTF-8 text"),
        (("doctor", "--device", "tpu"), "'tpu'", "write auto, cpu, cuda"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_a_command(call: Call, arguments: tuple[str, ...], named: str, hint: str) -> None:
    told = refused(call(*arguments))
    assert named in told
    assert hint in told


# --- a disk that is full, and one that may not be written -----------------------

FULL = (errno.ENOSPC, "No space left on device a.flac; make room, or name another place")
CLOSED = (errno.EACCES, "Permission denied a.flac; name a place that you may use")


@pytest.mark.parametrize(
    ("place_of_failure", "failure"),
    [
        ((Path, "write_bytes"), FULL),
        ((files, "sync"), FULL),
        ((files.os, "replace"), FULL),
        ((files, "fresh_mode"), CLOSED),
    ],
    ids=["write", "fsync", "rename", "no permission"],
)
def test_a_clip_that_cannot_be_written(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    place_of_failure: tuple[Any, str],
    failure: tuple[int, str],
) -> None:
    code, sentence = failure

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(*place_of_failure, fail)
    result = call("listen", "voice.safetensors", "--text", "Go.", "--steps", 1, "--out", "a.flac")
    assert refused(result) == f"dlpo-tui: {sentence}"


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow past 20 kB: to who writes it, much like a full disk.

    Held no longer than the write at hand: the limit is the whole process's, pytest's own log too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_voice_that_the_disk_has_no_room_for(tmp_path: Path) -> None:
    model = tiny_model()
    with pytest.raises(OSError, match="File too large") as caught, small_disk():
        checkpoint.save(tmp_path / "a.safetensors", model, checkpoint.Card(model.config, ("x",)))
    assert files.told(caught.value).endswith("a.safetensors; make room, or name another place")
    assert list(tmp_path.iterdir()) == []


def test_runs_that_may_not_be_written(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", fail)
    told = refused(call("run", "tiny.toml", "--headless"))
    assert "runs/tiny-" in told
    assert told.endswith(
        'cannot be made (Permission denied); name another place with --set runs="..."'
    )
