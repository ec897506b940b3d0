"""A session of very many updates with its screen, watched for whatever grows: JSON.

    python tests/torture/soak.py --updates 10000

The tiniest session there is, so that 10,000 updates take half an hour and not a week, under the
real screen in a pseudo-terminal. Every so many updates its process is looked at from outside:
resident memory, open files, threads, what the journal holds and how long it takes to be folded
again, clips on the disk. The verdict is per figure; exit code 1 where one is not what it should be.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# A wheel among the dependencies installs a package called tests: ours is reached by folder.
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from voices import write_profile, write_voice  # noqa: E402

from engine.journal import replay  # noqa: E402
from engine.thinning import MOST  # noqa: E402

PROGRAM = [sys.executable, "-c", "from dlpo_tui.cli import main; main()"]
QUIET_SECONDS = 120.0
"""Without an update before the session is given up for dead."""
FEWEST = 8
"""Samples of memory below which nothing is said of its slope."""
GROWTH_MIB = 10.0
"""Resident memory that 10,000 updates may add once the session is warm."""


class Watched:
    """A program on a pseudo-terminal of 120 x 40; what it draws is read and dropped."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT),
                 "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.drawn, self.last = 0, b""

    def draw(self, seconds: float) -> bool:
        """Reads what comes for so long; False once the program has ended."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    return False
                self.drawn, self.last = self.drawn + len(data), data
        return self.process.poll() is None

    def figures(self) -> dict[str, float]:
        """Of the process as the kernel tells them."""
        at = Path(f"/proc/{self.process.pid}")
        told = dict(line.split(":", 1) for line in (at / "status").read_text().splitlines())
        return {
            "rss_mib": int(told["VmRSS"].split()[0]) / 1024,
            "handles": len(list((at / "fd").iterdir())),
            "threads": int(told["Threads"]),
        }

    def leave(self) -> None:
        """Ends it with the key for it; SIGTERM where that is not heard."""
        os.write(self.master, b"q")
        for _ in range(30):
            if not self.draw(1.0):
                break
        else:
            self.process.terminate()
        self.process.wait(60)
        os.close(self.master)


class Progress:
    """Counts updates in a journal that grows."""

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.updates, self.ended = path, 0, 0, False

    def read(self) -> int:
        """Finished updates so far."""
        with self.path.open("rb") as file:
            file.seek(self.at)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.at += len(whole)
        self.updates += whole.count(b'"kind": "UpdateFinished"')
        self.ended = self.ended or b'"kind": "SessionEnded"' in whole
        return self.updates


def opened(folder: Path) -> dict[str, float]:
    """How long the journal takes to be folded, and what a snapshot of it holds."""
    began = time.perf_counter()
    now = replay(folder)
    return {
        "replay_seconds": time.perf_counter() - began,
        "history": len(now.history),
        "evaluations": len(now.evaluations),
        "marks": len(now.marks),
        "clips": len(now.clips),
    }


def soak(place: Path, updates: int, every: int, changes: Sequence[str]) -> dict[str, Any]:
    """Runs it; every sample and the whole time. RuntimeError where it ends otherwise than asked."""
    profile = write_profile(place, write_voice(place / "voice.safetensors"))
    own = (f"train.updates={updates}", "train.save_every=500", "evaluation.every=20",
           "train.samples_kept=100", *changes)  # fmt: skip
    began = time.monotonic()
    screen = Watched(["run", str(profile), *(part for one in own for part in ("--set", one))])
    try:
        samples = watch(screen, place / "runs", every)
        seconds = time.monotonic() - began
    finally:
        screen.leave()
    (folder,) = (place / "runs").iterdir()
    now = replay(folder)
    if now.ended is None or now.ended.reason != "finished" or now.update != updates:
        raise RuntimeError(
            f"it ended after update {now.update}: {now.ended}; {screen.last[-400:]!r}"
        )
    return {"seconds": round(seconds), "drawn_bytes": screen.drawn, "samples": samples}


def watch(screen: Watched, runs: Path, every: int) -> list[dict[str, float]]:
    """A sample each `every` updates, until the session has ended."""
    progress: Progress | None = None
    samples: list[dict[str, float]] = []
    heard = time.monotonic()
    while True:
        alive = screen.draw(0.25)
        found = list(runs.glob("*/events.jsonl"))
        progress = progress or (Progress(found[0]) if found else None)
        before = progress.updates if progress else 0
        done = progress.read() if progress else 0
        heard = time.monotonic() if done > before else heard
        if progress and progress.ended:
            return samples
        if not alive or time.monotonic() - heard > QUIET_SECONDS:
            raise RuntimeError(f"nothing came after update {done}: {screen.last[-400:]!r}")
        if progress and done // every > len(samples):
            samples.append(sample(screen, progress))


def sample(screen: Watched, progress: Progress) -> dict[str, float]:
    folder = progress.path.parent
    clips = list((folder / "samples").glob("update-*"))
    return {
        "update": progress.updates,
        **screen.figures(),
        "journal_bytes": progress.path.stat().st_size,
        "rollout_clips": len(clips),
        "states": len(list((folder / "resume").glob("update-*"))),
        **opened(folder),
    }


def verdict(samples: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Figure -> what was found and whether that is flat, or bounded, or in proportion.

    The first quarter is left out: there the session loads, and its memory finds its size. Of
    memory only what comes after update MOST counts, when a snapshot's curves are full; None where
    the soak was too short for that.
    """
    warm = samples[len(samples) // 4 :]
    half = len(warm) // 2

    def column(name: str) -> list[float]:
        return [one[name] for one in warm]

    def flat(name: str) -> dict[str, Any]:
        early, late = max(column(name)[:half]), max(column(name)[half:])
        return {"found": [early, late], "flat": late <= early}

    def bounded(name: str, most: float) -> dict[str, Any]:
        return {"found": max(column(name)), "most": most, "bounded": max(column(name)) <= most}

    full = [one for one in warm if one["update"] > MOST]
    grown = 10_000 * slope(
        [s["update"] for s in full or warm], [s["rss_mib"] for s in full or warm]
    )
    share = [one["journal_bytes"] / one["update"] for one in warm]
    ratio = share[-1] / share[0]
    return {
        "rss_mib": {
            "found": [round(column("rss_mib")[0], 1), round(column("rss_mib")[-1], 1)],
            "per_10000_updates": round(grown, 1),
            "flat": grown <= GROWTH_MIB if len(full) >= FEWEST else None,
        },
        "handles": flat("handles"),
        "threads": flat("threads"),
        "states": flat("states"),
        "rollout_clips": bounded("rollout_clips", 4 * 101),
        "history": bounded("history", MOST),
        "evaluations": bounded("evaluations", MOST),
        "clips": bounded("clips", 2000),
        "journal_bytes_an_update": {
            "found": [round(share[0]), round(share[-1])],
            "in_proportion": 0.9 <= ratio <= 1.1,
        },
        "replay_seconds": {
            "found": [
                round(column("replay_seconds")[0], 2),
                round(column("replay_seconds")[-1], 2),
            ],
            "a_1000_updates": round(1000 * slope(column("update"), column("replay_seconds")), 3),
        },
    }


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The median of the slopes between all pairs (Theil and Sen), which outliers do not move."""
    pairs = ((i, j) for i in range(len(x)) for j in range(i))
    return statistics.median((y[i] - y[j]) / (x[i] - x[j]) for i, j in pairs)


def fine(told: dict[str, dict[str, Any]]) -> bool:
    return all(value is not False for row in told.values() for value in row.values())


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        every = max(options.updates // options.samples, 1)
        done = soak(Path(folder), options.updates, every, options.changes)
    told = verdict(done["samples"])
    say(json.dumps({"updates": options.updates, **done, "verdict": told}, indent=1))
    return int(not fine(told))


if __name__ == "__main__":
    sys.exit(main())
