from __future__ import annotations

import io
import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from dlpo_tui import surroundings

GOOD = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "en_GB.UTF-8"}


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((120, 40)))


@pytest.mark.parametrize(
    ("environment", "state", "told", "mend"),
    [
        (GOOD, "ok", "120 x 40, TERM xterm-256color, colours: truecolor", ""),
        ({"TERM": "xterm-256color"}, "ok", "colours: 256", ""),
        ({"TERM": "vt100"}, "note", "TERM vt100", "COLORTERM=truecolor"),
        ({"TERM": "dumb"}, "note", "TERM dumb", "--headless"),
        ({}, "note", "TERM unset", "--headless"),
    ],
)
def test_a_terminal_is_judged_by_its_environment(
    environment: dict[str, str], state: str, told: str, mend: str
) -> None:
    found = surroundings.terminal(environment)
    assert found.state == state
    assert told in found.told
    assert mend in found.mend
    assert (found.values["columns"], found.values["rows"]) == (120, 40)


@pytest.mark.parametrize("size", [(79, 40), (80, 23)])
def test_a_terminal_too_small_for_the_screen_is_a_note(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size(size))
    found = surroundings.terminal(GOOD)
    assert found.state == "note"
    assert "80 x 24" in found.mend


@pytest.mark.parametrize(("encoding", "state"), [("utf-8", "ok"), ("ascii", "note")])
def test_the_screens_signs_are_shown_where_the_locale_has_them(
    encoding: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    found = surroundings.glyphs({"LC_ALL": "", "LANG": "en_GB"})
    assert found.state == state
    assert (surroundings.GLYPHS in found.told) == (state == "ok")
    assert found.values["locale"] == "en_GB"
    assert ("UTF-8" in found.mend) == (state == "note")


# --- sound ----------------------------------------------------------------------


def test_a_default_output_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(query_devices=lambda kind: {"name": f"Loudspeaker ({kind})"})
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    found = surroundings.sound({})
    assert (found.state, found.told) == ("ok", "Loudspeaker (output)")
    assert found.values["mode"] == "device"
    assert surroundings.sound({"SSH_CONNECTION": "1"}).told.endswith(" over SSH")


@pytest.mark.parametrize(
    ("error", "told", "mend"),
    [
        (OSError("PortAudio library not found"), "no PortAudio library", "libportaudio2"),
        (RuntimeError("Error querying device -1"), "no output device", "connect one"),
    ],
)
def test_without_sound_clips_are_heard_from_files(
    error: Exception, told: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def query(kind: str) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(query_devices=query))
    found = surroundings.sound({})
    assert found.state == "note"
    assert found.told.startswith(f"saved file: {told}")
    assert mend in found.mend
    assert found.values["mode"] == "saved file"


def test_sounddevice_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert surroundings.sound({}).mend == "pip install sounddevice"
