"""Real sound in real time: the app in tmux, its keys, a null sink, and what was heard there.

`python tests/tools/realtime_sound.py` starts a private pulseaudio with a null sink, records
its monitor, opens the session's screen in tmux, presses `p`, and tells the correlation of the
recording with the clip: exit code 0 from 0.99 on. Needs pulseaudio, parec, tmux, libportaudio2
and ALSA's pulse plugin (Debian: pulseaudio pulseaudio-utils tmux libportaudio2
libasound2-plugins).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
RATE, SECONDS = 22050, 2.0
ENOUGH = 0.99
PATIENCE_SECONDS = 40
NEEDED = ("pulseaudio", "pactl", "parec", "tmux")


def show(folder: Path) -> int:
    """The session's screen over a scripted session whose newest clip is noise."""
    sys.path.insert(0, str(ROOT / "tests/dlpo_tui"))
    import scenes

    from dlpo_tui.app import run_app

    bridge, session = scenes.scripted(scenes.running())
    newest = scenes.fold(session.events).clips[-1]
    clip = folder / newest.path
    clip.parent.mkdir(parents=True)
    soundfile.write(clip, noise(), RATE, subtype="PCM_16")
    return run_app(bridge, folder)


def noise() -> np.ndarray:
    """(S,) of noise below 4 kHz, which no resampler changes."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(round(RATE * SECONDS)))
    spectrum[round(4000 * SECONDS) :] = 0
    wave = np.fft.irfft(spectrum)
    return wave / np.abs(wave).max() * 0.7


def record(base: Path) -> np.ndarray:
    """(S,) heard at the null sink between pressing `p` and leaving."""
    env = surroundings(base)
    server = subprocess.Popen(
        ["pulseaudio", "-n", "--exit-idle-time=-1", "--disallow-exit", f"-F{base / 'pulse.pa'}"],
        env=env, stdout=subprocess.DEVNULL, stderr=(base / "pulse.log").open("w"),
    )  # fmt: skip
    raw = base / "heard.raw"
    tmux = ["tmux", "-S", str(base / "tmux"), "-f", os.devnull]
    recorder = None
    try:
        wait_for(lambda: pactl(env, "info"), "pulseaudio")
        recorder = subprocess.Popen(
            ["parec", "-d", "null.monitor", "--format=s16le", f"--rate={RATE}", "--channels=1",
             "--latency-msec=50"],
            env=env, stdout=raw.open("wb"),
        )  # fmt: skip
        app = shlex.join([sys.executable, __file__, "--app", str(base / "run")])
        subprocess.run(
            [*tmux, "new-session", "-d", "-x", "100", "-y", "30", app], env=env, check=True
        )
        wait_for(lambda: "clips · 320" in screen(tmux), "the screen", tmux)
        press(tmux, "p")
        wait_for(lambda: "♪" in screen(tmux), "the mark of a clip that sounds", tmux)
        wait_for(lambda: "♪" not in screen(tmux), "the end of the clip")
        time.sleep(1.0)
        press(tmux, "q", "x")
        wait_for(lambda: not alive(tmux), "the app's end")
    finally:
        for process in (recorder, server):
            if process is not None:
                process.terminate()
                process.wait(10)
        if alive(tmux):
            subprocess.run([*tmux, "kill-server"], check=False)
    return np.fromfile(raw, dtype="<i2") / 32768


def surroundings(base: Path) -> dict[str, str]:
    """A private home with ALSA sent to pulse, and a server with one null sink."""
    (base / "home").mkdir()
    (base / "runtime").mkdir(mode=0o700)
    (base / "home/.asoundrc").write_text(
        "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
    )
    (base / "pulse.pa").write_text(
        "load-module module-native-protocol-unix\n"
        f"load-module module-null-sink sink_name=null rate={RATE} channels=1 format=s16le\n"
        "set-default-sink null\n"
    )
    env = {**os.environ, "HOME": str(base / "home"), "XDG_RUNTIME_DIR": str(base / "runtime")}
    env |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    env.pop("SSH_CONNECTION", None)
    return env


def pactl(env: dict[str, str], *words: str) -> bool:
    done = subprocess.run(["pactl", *words], env=env, capture_output=True, check=False)
    return done.returncode == 0


def screen(tmux: list[str]) -> str:
    done = subprocess.run(
        [*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=False
    )
    return done.stdout


def press(tmux: list[str], *keys: str) -> None:
    for key in keys:
        subprocess.run([*tmux, "send-keys", key], check=True)
        time.sleep(0.5)


def alive(tmux: list[str]) -> bool:
    return subprocess.run([*tmux, "has-session"], capture_output=True, check=False).returncode == 0


def wait_for(holds: object, what: str, tmux: list[str] | None = None) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():  # type: ignore[operator]
        if time.monotonic() > end:
            shown = screen(tmux) if tmux else ""
            raise SystemExit(f"{shown}{what} did not come within {PATIENCE_SECONDS} s")
        time.sleep(0.1)


def correlation(clip: np.ndarray, heard: np.ndarray) -> tuple[float, float]:
    """Pearson's r at the best place, and that place in seconds."""
    size = 1 << (len(heard) + len(clip)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(clip, size).conj(), size)
    at = int(cross[: max(len(heard) - len(clip), 1)].argmax())
    return float(np.corrcoef(clip, heard[at : at + len(clip)])[0, 1]), at / RATE


def main() -> int:
    if sys.argv[1:2] == ["--app"]:
        return show(Path(sys.argv[2]))
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        print(f"needs {', '.join(missing)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as base:
        heard = record(Path(base))
    if len(heard) < RATE * SECONDS:
        print(f"only {len(heard) / RATE:.2f} s were heard", file=sys.stderr)
        return 1
    found, at = correlation(noise(), heard)
    print(f"correlation {found:.4f} with what was heard {at:.2f} s into the recording")
    return 0 if found >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
