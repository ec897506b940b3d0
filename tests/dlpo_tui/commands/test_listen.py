"""`listen` in a real terminal: its screen, its ways out, its refusals."""

from __future__ import annotations

import ctypes.util
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import Result
from terminals import Terminal, breaking
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.sound import TAIL_SECONDS
from tests.voices import write_voice


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["listen", *map(str, arguments)])


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return str(write_voice(Path("a.safetensors")))


def test_a_sentence_is_said_and_the_screen_is_left(voice: str, tmp_path: Path) -> None:
    at = Terminal("listen", voice, "--steps", "2")
    at.until("a sentence; enter says it")
    at.until("ready")
    at.press("Go on.\r")
    at.until("0.14 s")
    at.press("\x11")
    assert at.end() == 0
    assert "Traceback" not in at.plain()
    assert list((tmp_path / "tmp").glob("dlpo-tui-listen-*")) == [], "its clips go with the screen"


def test_a_voice_that_is_not_there_is_refused_before_the_screen(voice: str) -> None:
    at = Terminal("listen", "b.safetensors")
    assert at.end() == 2
    assert "dlpo-tui: there is no checkpoint b.safetensors; did you mean" in at.plain()
    assert "sentence ─" not in at.plain()


def test_two_voices_that_cannot_go_together_are_refused_after_it(voice: str) -> None:
    write_voice(Path("b.safetensors"), ("ben",))
    at = Terminal("listen", voice, "--against", "b.safetensors")
    assert at.end() == 2
    assert "have no speaker in common" in at.plain().replace("\r\n", "")
    assert "Traceback" not in at.plain()


ALSA = Path("/usr/share/alsa/alsa.conf")


@pytest.mark.skipif(
    not (ctypes.util.find_library("portaudio") and ALSA.exists()),
    reason="needs libportaudio2 and ALSA's configuration",
)
def test_what_is_heard_is_what_is_saved_sample_by_sample(voice: str, tmp_path: Path) -> None:
    raw, config = tmp_path / "played.raw", tmp_path / "asound.conf"
    config.write_text(
        ALSA.read_text()
        + '\npcm.!default { type plug slave.pcm "f" }\n'
        + f'pcm.f {{ type file slave.pcm "null" file "{raw}" format "raw" }}\n'
        + "ctl.!default { type null }\n"
    )
    at = Terminal("listen", voice, "--steps", "2", environment={"ALSA_CONFIG_PATH": str(config)})
    at.until("ready")
    at.press("Go on.\r")
    at.until("0.14 s")
    at.press("\x13")
    at.until("Save the clip as")
    at.press("\r")
    at.until("0.14 s in go-on-seed0.wav")
    saved, rate = soundfile.read("go-on-seed0.wav", dtype="float32")
    whole = (len(saved) + TAIL_SECONDS * rate / 2) * saved.itemsize
    at.until_so(lambda: raw.exists() and raw.stat().st_size > whole)
    at.press("\x11")
    assert at.end() == 0
    heard = np.trim_zeros(np.fromfile(raw, dtype=np.float32))
    assert np.array_equal(heard, np.trim_zeros(saved))


def test_a_widget_that_breaks_is_one_sentence_and_a_log(voice: str) -> None:
    at = Terminal("listen", voice, before=breaking("type a sentence first"))
    at.until("a sentence; enter says it")
    at.press("\r")
    assert at.end() == 1
    told = at.plain().replace("\r\n", "")
    (log,) = re.findall(r"dlpo-tui: the screen failed; why is in (\S+\.log)", told)
    assert "a widget is broken" in Path(log).read_text()
    assert "Traceback" not in told


def test_without_a_terminal_it_needs_a_text(voice: str) -> None:
    result = call(voice)
    assert result.exit_code == 2
    assert result.stderr == "dlpo-tui: say what to speak: --text 'A sentence.'\n"


def test_a_text_and_another_voice_do_not_go_together(voice: str) -> None:
    result = call(voice, "--text", "Go.", "--against", voice)
    assert result.exit_code == 2
    assert "--against is for the screen" in result.stderr


@pytest.mark.parametrize("option", [("--eta", "2"), ("--eta", "-1"), ("--seed", "-1")])
def test_settings_that_cannot_be_are_usage_errors(voice: str, option: tuple[str, str]) -> None:
    assert call(voice, "--text", "Go.", *option).exit_code == 2
