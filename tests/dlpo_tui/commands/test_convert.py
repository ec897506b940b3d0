from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from tests.lightning import HPARAMETERS, write_checkpoint
from tests.voices import tiny_model

pytestmark = pytest.mark.usefixtures("one_thread")

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in a folder with one checkpoint of two speakers, model.ckpt."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    settings = HPARAMETERS | {"data": {"lang": "eng", "speakers": ["anna", "ben"]}}
    write_checkpoint(Path("model.ckpt"), tiny_model(speakers=2).state_dict(), settings)
    return lambda *arguments: CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(result: Result) -> str:
    """Exit code 2, one sentence on stderr, nothing on stdout, no file that was not there."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("dlpo-tui: ")
    assert {p.suffix for p in Path().iterdir()} <= {".ckpt", ".txt"}
    return line


def test_a_converted_voice_is_one_that_listen_plays(call: Call) -> None:
    result = call("convert", "model.ckpt")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("voice model.safetensors: a WaveGrad 2, ")
    assert result.stderr.endswith(" parameters, anna, ben\n")
    heard = ("--text", "Go on.", "--steps", 1)
    spoken = call("listen", "model.safetensors", *heard, "--speaker", "ben", "--out", "clip.wav")
    assert spoken.exit_code == 0, spoken.output
    wave, rate = soundfile.read("clip.wav")
    assert rate == 22050
    assert len(wave) > 0.05 * rate
    assert abs(wave).max() > 0


def test_names_and_place_are_the_users_to_choose(call: Call) -> None:
    names = ("--speakers", "Ann", "--speakers", "Ben")
    result = call("convert", "model.ckpt", "--out", "new/voice.safetensors", *names)
    assert result.exit_code == 0, result.output
    assert "voice new/voice.safetensors: " in result.stderr
    assert result.stderr.endswith("Ann, Ben\n")


def test_a_voice_is_replaced_only_by_force(call: Call) -> None:
    assert call("convert", "model.ckpt").exit_code == 0
    again = call("convert", "model.ckpt")
    assert again.exit_code == 2
    assert "dlpo-tui: model.safetensors exists already" in again.stderr
    assert call("convert", "model.ckpt", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("away.ckpt",), "there is no checkpoint away.ckpt"),
        (("note.txt",), "note.txt is no checkpoint"),
        (("short.ckpt",), "short.ckpt is a torch checkpoint that is cut short"),
        (("hostile.ckpt",), "hostile.ckpt asks for "),
        (("model.ckpt", "--out", "voice.wav"), "voice.wav must end in .safetensors"),
        (("model.ckpt", "--speakers", "x"), "the voice has 2 speakers"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence_and_leaves_nothing(
    call: Call, arguments: tuple[str, ...], told: str
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, ("touch trap.wav",)

    Path("note.txt").write_text("a note")
    Path("short.ckpt").write_bytes(Path("model.ckpt").read_bytes()[:9999])
    torch.save({"state_dict": {}, "callbacks": Hostile()}, "hostile.ckpt")
    assert told in refused(call("convert", *arguments))


def test_a_checkpoint_that_listen_refuses_says_how_to_convert_it(call: Call) -> None:
    told = refused(call("listen", "model.ckpt", "--text", "Go."))
    assert told.endswith("; dlpo-tui convert model.ckpt makes one of it safely")
