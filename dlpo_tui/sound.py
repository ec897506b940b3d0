"""Hearing a clip: one worker thread, one device; without a device, a sentence instead."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

log = logging.getLogger(__name__)

TAIL_SECONDS = 0.2
"""Silence after a clip: closing a device throws away the last 50-60 ms that it was given."""
BLOCK_SECONDS = 0.05
"""How soon a stop, or another volume, is heard."""
LATENCY_SECONDS = 0.15
"""What the device holds ahead: training keeps this thread waiting for longer than its default."""
PATIENCE_SECONDS = 5.0
"""How long leaving waits for a device: a library may take seconds to load the first time."""
LOUDEST, STEP = 150, 10
"""Volume in per cent: past 100 the clip is amplified, and cut off at full scale."""


class Sound(Protocol):
    """What the screen needs of a player; every method returns at once."""

    volume: int
    """Per cent, 0 to LOUDEST."""
    muted: bool
    device: str
    """Name of the output device; empty: the default one."""

    def play(self, path: Path, start: float = 0.0) -> None:
        """Plays an audio file from `start` seconds on, in place of what sounds now."""

    def stop(self) -> None:
        """Silence."""

    def playing(self) -> Path | None:
        """The file that sounds, or is about to."""

    def position(self) -> float | None:
        """Seconds of that file heard so far, from its beginning; None where nothing sounds."""

    def describe(self) -> str:
        """What a person should know about the last wish; empty where it simply plays."""

    def close(self) -> None:
        """Silence, and the device given back."""


class Silent:
    """Plays nothing and says where the file lies."""

    def __init__(self, why: str = "no sound") -> None:
        self._why, self._said = why, ""
        self.volume, self.muted, self.device = 100, False, ""

    def play(self, path: Path, start: float = 0.0) -> None:
        self._said = f"{self._why}: the clip is at {path}"

    def stop(self) -> None:
        self._said = ""

    def playing(self) -> Path | None:
        return None

    def position(self) -> float | None:
        return None

    def describe(self) -> str:
        return self._said

    def close(self) -> None:
        pass


class Speaker:
    """An output device, opened for each clip in a thread of its own.

    A wish is numbered: the worker leaves a clip as soon as a newer wish exists, so neither
    a stop nor another clip ever waits for the device.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, device: str = "", volume: int = 100
    ) -> None:
        self.device, self.volume, self.muted = device, volume, False
        self._remote = bool(environment.get("SSH_CONNECTION"))
        self._wishes: SimpleQueue[tuple[int, Path, float] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._newest = 0
        self._path: Path | None = None
        self._heard: tuple[float, float] | None = None
        """Seconds of the file that had been heard, and the clock then."""
        self._said = ""
        self._stale = False
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()

    def play(self, path: Path, start: float = 0.0) -> None:
        with self._lock:
            self._newest += 1
            self._path, self._heard, self._said = path, None, ""
            self._idle.clear()
            self._wishes.put((self._newest, path, start))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sound", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._newest += 1
            self._path, self._said = None, ""

    def playing(self) -> Path | None:
        return self._path

    def position(self) -> float | None:
        path, heard = self._path, self._heard
        if path is None or heard is None:
            return None
        seconds, clock = heard
        return seconds + min(time.monotonic() - clock, 2 * BLOCK_SECONDS)

    def describe(self) -> str:
        return self._said

    def close(self) -> None:
        self.stop()
        self._wishes.put(None)
        if self._thread is not None:
            self._thread.join(PATIENCE_SECONDS)

    def wait(self, timeout: float | None = None) -> bool:
        """Until every wish is played or given up; True where that is so."""
        return self._idle.wait(timeout)

    def _work(self) -> None:
        while (wish := self._wishes.get()) is not None:
            number, path, start = wish
            said = ""
            try:
                self._sound(number, path, start)
            except Exception as error:
                # Whatever a driver raises, training goes on without sound.
                log.warning("no sound: %r", error)
                said = self._excuse(error, path)
                self._stale = "sounddevice" in sys.modules
            with self._lock:
                if number == self._newest:
                    self._path, self._said = None, said
                if self._wishes.empty():
                    self._idle.set()

    def _sound(self, number: int, path: Path, start: float) -> None:
        if number != self._newest:
            return
        import soundfile

        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        # After the file is read: a file that is missing should be told of as such.
        if self._stale:
            relist_devices()
            self._stale = False
        rest = samples[round(start * rate) :]

        def heard(seconds: float) -> None:
            if number == self._newest:
                self._heard = start + max(seconds, 0.0), time.monotonic()

        sound(rest, rate, lambda: number == self._newest, self.gain, self.device, heard)

    def gain(self) -> float:
        """What audio samples are multiplied by."""
        return 0.0 if self.muted else self.volume / 100

    def _excuse(self, error: Exception, path: Path) -> str:
        if isinstance(error, FileNotFoundError) or not path.exists():
            return f"there is no file at {path}"
        where = " over SSH" if self._remote else ""
        return f"{excuse(error)}{where}: the clip is at {path}"


def speaker() -> Speaker:
    """The speaker that the user's settings ask for."""
    from dlpo_tui import config

    return Speaker(device=config.in_use.device, volume=config.in_use.volume)


def louder(volume: int, by: int) -> int:
    """A volume `by` steps up or down, within 0 and LOUDEST."""
    return min(max(volume + by * STEP, 0), LOUDEST)


def sound(
    samples: Any,
    rate: int,
    wanted: Callable[[], bool],
    gain: Callable[[], float] = lambda: 1.0,
    device: str = "",
    heard: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Plays (frames,) or (frames, channels) at `rate` hz until done, or not wanted any more.

    `gain` is asked for every block; what it lifts past full scale is cut off there. `heard` is
    told after every block for how long it has sounded: what the device still holds is not heard.
    """
    import numpy
    import sounddevice

    from dlpo_tui.devices import named

    frames = numpy.asarray(samples, dtype="float32")
    frames = frames.reshape(len(frames), -1)
    tail = numpy.zeros((round(TAIL_SECONDS * rate), frames.shape[1]), dtype="float32")
    frames = numpy.concatenate([frames, tail])
    block = max(round(BLOCK_SECONDS * rate), 1)
    with sounddevice.OutputStream(
        rate,
        channels=frames.shape[1],
        dtype="float32",
        device=named(device),
        latency=LATENCY_SECONDS,
    ) as stream:
        for at in range(0, len(frames), block):
            if not wanted():
                stream.abort()
                return
            stream.write(numpy.clip(frames[at : at + block] * numpy.float32(gain()), -1.0, 1.0))
            heard((at + block) / rate - stream.latency)


def relist_devices() -> None:
    """PortAudio lists the devices once; one that has come or gone since needs this."""
    import sounddevice

    sounddevice._terminate()
    sounddevice._initialize()


def play_and_wait(samples: Any, rate: int) -> None:
    """Plays (frames,) at `rate` hz to its end; OSError, one sentence, where nothing can sound."""
    try:
        sound(samples, rate, lambda: True)
    except Exception as error:
        raise OSError(f"{excuse(error)}: save the clip to a file instead") from error


def excuse(error: Exception) -> str:
    """Why nothing sounds, in a few words."""
    from dlpo_tui.devices import DeviceError

    if isinstance(error, DeviceError):
        return str(error)
    kinds = {"OSError": "no sound library (PortAudio)", "PortAudioError": "no sound device"}
    return kinds.get(type(error).__name__, f"no sound ({type(error).__name__})")
