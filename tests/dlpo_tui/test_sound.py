"""Sound: what is played is the clip, byte for byte; without a device there is a sentence."""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from dlpo_tui import sound
from dlpo_tui.sound import Silent, Speaker

RATE = 22050
ALSA = Path("/usr/share/alsa/alsa.conf")
needs_alsa = pytest.mark.skipif(
    not (ctypes.util.find_library("portaudio") and ALSA.exists()),
    reason="needs libportaudio2 and ALSA's configuration",
)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    noise = np.random.default_rng(3).uniform(-0.8, 0.8, RATE // 2)
    path = tmp_path / "clip.wav"
    soundfile.write(path, noise, RATE, subtype="PCM_16")
    return path


def played(tmp_path: Path, code: str) -> np.ndarray:
    """What a program sends to a device that is a file; PortAudio reads its settings once."""
    raw = tmp_path / "played.raw"
    config = tmp_path / "asound.conf"
    config.write_text(
        ALSA.read_text()
        + '\npcm.!default { type plug slave.pcm "f" }\n'
        + f'pcm.f {{ type file slave.pcm "null" file "{raw}" format "raw" }}\n'
        + "ctl.!default { type null }\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ALSA_CONFIG_PATH": str(config), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.fromfile(raw, dtype=np.float32)


def without_silence(samples: np.ndarray) -> np.ndarray:
    heard = np.flatnonzero(samples)
    return samples[heard[0] : heard[-1] + 1]


@needs_alsa
def test_the_bytes_played_are_the_clip(tmp_path: Path, clip: Path) -> None:
    code = f"""
from pathlib import Path
from dlpo_tui.sound import Speaker
speaker = Speaker({{}})
speaker.play(Path({str(clip)!r}))
assert speaker.wait(30)
assert not speaker.describe(), speaker.describe()
speaker.close()
"""
    heard = played(tmp_path, code)
    expected, _ = soundfile.read(clip, dtype="float32")
    got = without_silence(heard)
    assert np.array_equal(got, without_silence(expected))
    tail = len(heard) - np.flatnonzero(heard)[-1]
    assert tail >= sound.TAIL_SECONDS * RATE


@needs_alsa
def test_playing_from_the_middle(tmp_path: Path, clip: Path) -> None:
    code = f"""
from pathlib import Path
from dlpo_tui.sound import Speaker
speaker = Speaker({{}})
speaker.play(Path({str(clip)!r}), 0.25)
assert speaker.wait(30)
speaker.close()
"""
    got = without_silence(played(tmp_path, code))
    expected, _ = soundfile.read(clip, dtype="float32")
    assert np.array_equal(got, without_silence(expected[round(0.25 * RATE) :]))


@needs_alsa
def test_the_command_line_plays_to_the_end(tmp_path: Path) -> None:
    wave = [0.5, -0.25, 0.125, 0.5]
    code = f"""
import json, numpy
from dlpo_tui.sound import play_and_wait
play_and_wait(numpy.array(json.loads({json.dumps(wave)!r})), {RATE})
"""
    assert without_silence(played(tmp_path, code)).tolist() == wave


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    speaker = Speaker({})
    speaker.play(tmp_path / "none.wav")
    assert speaker.wait(30)
    assert speaker.describe() == f"there is no file at {tmp_path / 'none.wav'}"
    assert speaker.playing() is None
    speaker.close()


class PortAudioError(Exception):
    """Named as sounddevice names it."""


@pytest.mark.parametrize(
    ("error", "environment", "told"),
    [
        (PortAudioError("Error querying device -1"), {}, "no sound device: the clip is at "),
        (OSError("PortAudio library not found"), {}, "no sound library (PortAudio): "),
        (ValueError("odd"), {}, "no sound (ValueError): "),
        (PortAudioError(), {"SSH_CONNECTION": "x"}, "no sound device over SSH: the clip is at "),
    ],
)
def test_without_a_device_the_path_is_told(
    monkeypatch: pytest.MonkeyPatch,
    clip: Path,
    error: Exception,
    environment: dict[str, str],
    told: str,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(sound, "sound", refuse)
    monkeypatch.setattr(sound, "relist_devices", lambda: None)
    speaker = Speaker(environment)
    for _ in range(2):
        speaker.play(clip)
        assert speaker.wait(30)
        assert speaker.describe().startswith(told)
        assert str(clip) in speaker.describe()
    speaker.stop()
    assert speaker.describe() == ""
    speaker.close()


def test_a_device_that_vanishes_within_a_clip_is_told_and_one_that_comes_back_is_found(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    relisted, there = [], [False]

    def pulled_out(samples: np.ndarray, rate: int, wanted: object, *rest: object) -> None:
        heard = rest[-1]
        heard(0.1)  # type: ignore[operator]
        if not there[0]:
            raise PortAudioError("Unanticipated host error [PaErrorCode -9999]")

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace())
    monkeypatch.setattr(sound, "sound", pulled_out)
    monkeypatch.setattr(sound, "relist_devices", lambda: relisted.append(1))
    speaker = Speaker({})
    speaker.play(clip)
    assert speaker.wait(30)
    assert speaker.playing() is None
    assert speaker.position() is None
    assert speaker.describe().startswith("no sound device: the clip is at ")
    there[0] = True
    speaker.play(clip)
    assert speaker.wait(30)
    assert speaker.describe() == ""
    assert relisted == [1]
    speaker.close()


def test_a_newer_wish_ends_the_older(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    import threading

    started, heard = threading.Event(), []

    def endless(samples: np.ndarray, rate: int, wanted: object, *_: object) -> None:
        heard.append(rate)
        started.set()
        while wanted():  # type: ignore[operator]
            pass

    monkeypatch.setattr(sound, "sound", endless)
    speaker = Speaker({})
    speaker.play(clip)
    assert started.wait(30)
    started.clear()
    assert speaker.playing() == clip
    speaker.play(clip)
    assert started.wait(30)
    speaker.stop()
    assert speaker.wait(30)
    assert heard == [RATE, RATE]
    assert speaker.playing() is None
    speaker.close()


def test_silence_is_a_player_too(tmp_path: Path) -> None:
    silent = Silent("no sound over SSH")
    silent.play(tmp_path / "a.wav")
    assert silent.describe() == f"no sound over SSH: the clip is at {tmp_path / 'a.wav'}"
    silent.stop()
    assert silent.describe() == ""
    assert silent.playing() is None
    silent.close()


def test_play_and_wait_raises_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PortAudioError("Error querying device -1")

    monkeypatch.setattr(sound, "sound", refuse)
    with pytest.raises(OSError, match="no sound device: save the clip to a file instead"):
        sound.play_and_wait(np.zeros(4), RATE)


@needs_alsa
@pytest.mark.parametrize(
    ("settings", "factor"),
    [("volume = 50", 0.5), ("volume = 150", 1.5), ("volume = 0", 0.0), ("muted = True", 0.0)],
)
def test_volume_multiplies_and_cuts_off_at_full_scale(
    tmp_path: Path, clip: Path, settings: str, factor: float
) -> None:
    code = f"""
from pathlib import Path
from dlpo_tui.sound import Speaker
speaker = Speaker({{}})
speaker.{settings}
speaker.play(Path({str(clip)!r}))
assert speaker.wait(30)
speaker.close()
"""
    heard = played(tmp_path, code)
    samples, _ = soundfile.read(clip, dtype="float32")
    if factor == 0.0:
        assert not heard.any()
        return
    expected = np.clip(samples * np.float32(factor), -1, 1)
    assert np.array_equal(without_silence(heard), without_silence(expected))


@needs_alsa
def test_a_device_by_name_and_one_that_is_not_there(tmp_path: Path, clip: Path) -> None:
    code = f"""
from pathlib import Path
from dlpo_tui.devices import outputs
from dlpo_tui.sound import Speaker
names = [one.name for one in outputs()]
assert "default" in names, names
speaker = Speaker({{}}, device="defualt")
speaker.play(Path({str(clip)!r}))
assert speaker.wait(30)
assert speaker.describe().startswith("no sound device 'defualt'"), speaker.describe()
speaker.device = "default"
speaker.play(Path({str(clip)!r}))
assert speaker.wait(30)
assert not speaker.describe(), speaker.describe()
speaker.close()
"""
    expected, _ = soundfile.read(clip, dtype="float32")
    assert np.array_equal(without_silence(played(tmp_path, code)), without_silence(expected))


def test_steps_of_volume_stay_within_its_ends() -> None:
    assert [sound.louder(v, by) for v, by in ((100, 1), (145, 1), (5, -1), (150, 1))] == [
        110, 150, 0, 150,
    ]  # fmt: skip


class Paced:
    """A device that holds a tenth of a second, and a clock that only its blocks move."""

    latency = 0.1
    now = 0.0

    def __init__(self, rate: int, **settings: object) -> None:
        self.rate = rate

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, frames: np.ndarray) -> None:
        Paced.now += len(frames) / self.rate

    def abort(self) -> None:
        pass


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(OutputStream=Paced))
    monkeypatch.setattr(Paced, "now", 0.0)


def test_what_the_device_still_holds_is_not_heard(paced: None) -> None:
    told: list[float] = []
    sound.sound(np.zeros(RATE // 2), RATE, lambda: True, heard=told.append)
    assert told[0] == pytest.approx(sound.BLOCK_SECONDS - 0.1, abs=1e-3)
    assert np.diff(told) == pytest.approx(sound.BLOCK_SECONDS, abs=1e-3)
    assert told[-1] == pytest.approx(0.5 + sound.TAIL_SECONDS - 0.1, abs=sound.BLOCK_SECONDS)


def test_the_position_counts_from_the_files_beginning(
    paced: None, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = Speaker({})
    seen: list[float | None] = []
    write = Paced.write

    def noted(self: Paced, frames: np.ndarray) -> None:
        seen.append(speaker.position())
        write(self, frames)

    monkeypatch.setattr(Paced, "write", noted)
    monkeypatch.setattr(sound.time, "monotonic", lambda: Paced.now)
    speaker.play(clip, 0.25)
    assert speaker.wait(30)
    assert seen[0] is None, "nothing is heard before the first block"
    assert seen[1] == pytest.approx(0.25)
    assert seen[4] == pytest.approx(0.25 + 4 * sound.BLOCK_SECONDS - 0.1, abs=2e-3)
    assert speaker.position() is None
    assert Silent().position() is None
    speaker.close()
