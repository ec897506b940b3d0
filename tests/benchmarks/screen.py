"""What the screen costs, as JSON: start, first paint, keys while training runs, throughput.

    python tests/benchmarks/screen.py [--pairs 3] [--updates 4] [--keys 100] [--profile FILE]

Everything is measured from outside, through a pseudo-terminal of 120 x 40 that a real
`dlpo-tui run` draws on. Throughput comes in pairs, headless and with the screen in turn, each
from its own journal's seconds a phase and from the wall clock between the first and the last
update. Informational: figures differ by machine, so no test compares them with anything.
"""

from __future__ import annotations

import argparse
import atexit
import fcntl
import json
import math
import os
import pty
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from dlpo_tui.cli import main; main()"]
QUIET_SECONDS = 0.15
"""Without output before the next key is pressed."""
WATCHED_SECONDS = 30.0
"""How long what the screen costs is watched; about one update."""
ESCAPES = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>78]")


class Terminal:
    """A program on a pseudo-terminal; what it writes is read by a thread, with its time."""

    def __init__(self, arguments: list[str], columns: int = 120, rows: int = 40) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        atexit.register(self.process.kill)  # a benchmark that is cut off leaves no session behind
        self.seen = b""
        self.looking = True
        """False: what comes is read and dropped, as a terminal that nobody searches does."""
        self.written = 0
        self.last = self.began
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            with self.changed:
                self.seen += data if self.looking else b""
                self.written += len(data)
                self.last = time.perf_counter()
                self.changed.notify_all()

    def until(self, told: str, timeout: float = 300.0) -> float:
        """Waits for a text; the time at which it stood there. RuntimeError where it never does."""
        with self.changed:
            found = self.changed.wait_for(lambda: told.encode() in self.plain(), timeout)
            if not found:
                raise RuntimeError(f"{told!r} never came; the last was {self.plain()[-400:]!r}")
            return self.last

    def plain(self) -> bytes:
        return ESCAPES.sub(b"", self.seen)

    def forget(self) -> None:
        with self.changed:
            self.seen = b""

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def settle(self) -> None:
        """Waits until nothing was written for a moment, five seconds at most."""
        limit = time.perf_counter() + 5
        while time.perf_counter() < min(self.last + QUIET_SECONDS, limit):
            time.sleep(0.02)

    def close(self) -> int:
        code = self.process.wait(120)
        os.close(self.master)
        return code


def quantile(values: list[float], share: float) -> float:
    """By nearest rank: the least value that this share of all does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def help_seconds(runs: int = 7) -> dict[str, float]:
    """Wall time of `dlpo-tui --help` as a process."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([*PROGRAM, "--help"], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    return {"median": round(statistics.median(taken), 3), "best": round(min(taken), 3)}


def started(profile: Path, runs: Path, updates: int) -> list[str]:
    return [
        "run", str(profile), "--set", f"runs={json.dumps(str(runs))}",
        "--set", f"train.updates={updates}", "--set", f"train.save_every={updates}",
    ]  # fmt: skip


def first_paint(profile: Path, runs: Path, times: int = 3) -> dict[str, float]:
    """From the start of the process to the screen's first line, torch not loaded yet."""
    taken = []
    for _ in range(times):
        screen = Terminal(started(profile, runs, 1))
        taken.append(screen.until("loading") - screen.began)
        screen.settle()
        screen.press("q")
        screen.close()
    return {"median": round(statistics.median(taken), 2), "best": round(min(taken), 2)}


def main_thread(pid: int) -> float:
    """Seconds of a core that a process's main thread has used: the screen's (Linux)."""
    path = Path(f"/proc/{pid}/task/{pid}/stat")
    if not path.exists():
        return math.nan
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def milliseconds(values: list[float]) -> dict[str, float]:
    figures = {
        "median_ms": statistics.median(values),
        "p90_ms": quantile(values, 0.9),
        "p99_ms": quantile(values, 0.99),
        "worst_ms": max(values),
    }
    return {name: round(value, 1) for name, value in figures.items()}


def keys(profile: Path, runs: Path, count: int) -> dict[str, Any]:
    """From a key to the last of its answer, while a session trains; in milliseconds.

    `?` opens the help, a whole page; `>` says the volume in one line.
    """
    screen = Terminal(started(profile, runs, 1000))
    screen.until("rollout")
    # What the first scores import holds the interpreter: it is still loading.
    screen.until("optimise", 600)
    taken: dict[str, list[float]] = {">": [], "?": []}
    light, page = (">", "110 %", "<"), ("?", "esc back", "\x1b")
    for key, answer, back in [light] * count + [page] * count:
        screen.settle()
        screen.forget()
        began = time.perf_counter()
        screen.press(key)
        taken[key].append(1e3 * (screen.until(answer) - began))
        screen.press(back)
        time.sleep(0.3)  # a lone escape is told from a sequence by what does not follow it
    began, before, used = time.perf_counter(), screen.written, main_thread(screen.process.pid)
    time.sleep(WATCHED_SECONDS)
    seconds = time.perf_counter() - began
    rate = (screen.written - before) / seconds
    share = (main_thread(screen.process.pid) - used) / seconds
    screen.press("q")
    screen.until("Stop training?")
    screen.press("x")
    code = screen.close()
    return {
        "pressed": count,
        **{key: milliseconds(values) for key, values in taken.items()},
        "bytes_a_second_while_training": round(rate),
        "share_of_a_core_that_the_screen_takes": round(share, 4),
        "exit_code": code,
    }


def journaled(runs: Path) -> dict[str, float]:
    """Of the newest run: seconds an update by its own count, phases only."""
    newest = max(runs.iterdir(), key=lambda folder: folder.stat().st_mtime)
    rows = [json.loads(line) for line in (newest / "events.jsonl").read_text().splitlines()]
    phases = [r["stats"]["seconds"] for r in rows if r["kind"] == "UpdateFinished"]
    # The first update pays for what is done once.
    return {name: statistics.fmean(p[name] for p in phases[1:]) for name in phases[0]}


def until_ended(runs: Path, timeout: float = 1800.0) -> None:
    """Waits for the end in the journal of the only run; RuntimeError where it never comes."""
    limit = time.perf_counter() + timeout
    while time.perf_counter() < limit:
        for path in runs.glob("*/events.jsonl"):
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - 400, 0))
                if b'"SessionEnded"' in file.read():
                    return
        time.sleep(1)
    raise RuntimeError(f"no session ended in {runs} within {timeout:g} s")


def throughput(profile: Path, runs: Path, pairs: int, updates: int) -> dict[str, Any]:
    """Headless and screen in turn; the screen's speed as a share of headless, pair by pair."""
    shares, seconds = [], []
    for number in range(pairs):
        own: dict[str, float] = {}
        for way in ("headless", "screen") if number % 2 == 0 else ("screen", "headless"):
            folder = runs / f"{way}-{number}"
            folder.mkdir()
            # Phases alone are counted, so nothing is spoken before and after them.
            arguments = [*started(profile, folder, updates + 1), "--set", "evaluation.every=0"]
            if way == "headless":
                subprocess.run([*PROGRAM, *arguments, "--headless"], check=True,
                               capture_output=True, cwd=ROOT)  # fmt: skip
            else:
                screen = Terminal(arguments)
                screen.until("loading")
                # To search all that was drawn at every repaint would take the cores from training.
                screen.looking = False
                until_ended(folder)
                time.sleep(1)  # the journal knows of the end before the screen does, and asks
                screen.press("q")
                screen.close()
            own[way] = sum(journaled(folder).values())
        seconds.append({way: round(value, 2) for way, value in own.items()})
        shares.append(own["headless"] / own["screen"])
        print(f"pair {number + 1} of {pairs}: {shares[-1]:.3f}", file=sys.stderr)
    return {
        "seconds_an_update": seconds,
        "share_of_headless": [round(share, 3) for share in shares],
        "mean": round(statistics.fmean(shares), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "quickstart.toml")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4, help="of each session, after the first")
    parser.add_argument("--keys", type=int, default=100)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report: dict[str, Any] = {"cores": os.cpu_count(), "help_seconds": help_seconds()}
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        for name in ("paint", "keys", "pairs"):
            (runs / name).mkdir()
        report["first_paint_seconds"] = first_paint(options.profile, runs / "paint")
        if options.keys:
            report["keys"] = keys(options.profile, runs / "keys", options.keys)
        if options.pairs:
            report["throughput"] = throughput(
                options.profile, runs / "pairs", options.pairs, options.updates
            )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
