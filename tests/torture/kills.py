"""Kills a session again and again, resumes it, and compares it with one that was never killed.

    python tests/torture/kills.py --kills 100

A real process of its own each time (`driver.py`), killed with SIGKILL at a seeded instant of its
own, such as half-way through a write, or from outside at a seeded moment; what resumes it may be
killed as well. At most the update in flight may be lost, the journal only grows, and at the end
weights, optimiser, statistics, clips and the fold of the journal are those of the unbroken run,
bit for bit. Prints a tally as JSON; exit code 1 where anything in it but kills is not 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

ROOT = Path(__file__).parents[2]
# A wheel among the dependencies installs a package called tests: ours is reached by folder.
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from voices import write_profile, write_voice  # noqa: E402

from engine import resume  # noqa: E402
from engine.files import sha256_of  # noqa: E402
from engine.journal import replay  # noqa: E402
from engine.messages import Snapshot  # noqa: E402
from engine.reopening import saved, start_path  # noqa: E402

DRIVER = Path(__file__).with_name("driver.py")
UPDATES = 6
CHANGES = (
    f"train.updates={UPDATES}", "train.inner_epochs=2", "train.save_every=2", "evaluation.every=2",
    "train.advantage=per_prompt", "prompts.most=1", "rollout.batch=2", "schedule.timesteps=2",
    "evaluation.prompts=1",
)  # fmt: skip
"""One prompt, so that its remembered rewards are enough for the per-prompt statistics at once."""
LINKS = 5
"""Kills of one session, one after the other, before it is let finish."""
PATIENCE_SECONDS = 1200.0
"""After which a process that nothing comes of is ended; machines may be slow."""
WRONG = ("lost updates", "lost events", "weights differing", "folds differing", "clips differing",
         "tracebacks", "refusals", "litter")  # fmt: skip
"""What the tally counts beside kills; all of it has to be 0."""


@dataclass
class Tally:
    """What came of it, counted from several threads."""

    counts: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    """A line for each thing that went wrong."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str, number: int = 1, told: str = "") -> None:
        with self.lock:
            self.counts[what] += number
            if told and number:
                self.told.append(f"{what}: {told}")

    @property
    def clean(self) -> bool:
        return not any(self.counts[what] for what in WRONG)

    def report(self) -> dict[str, Any]:
        return {**{what: self.counts[what] for what in ("kills", "at instants", "from outside",
                "sessions", "begun anew", "torn lines", *WRONG)}, "told": self.told}  # fmt: skip


@dataclass(frozen=True)
class Unbroken:
    """The session that nobody kills."""

    voice: Path
    folder: Path
    instants: int
    opens_after: float
    """Seconds until it says its first word."""
    seconds: float


def call(place: Path, at: int, *arguments: str) -> subprocess.Popen[str]:
    """One process of the driver, in the background; what it says goes to files beside `place`."""
    err = tempfile.TemporaryFile("w+", dir=place)  # noqa: SIM115 (read when the process has ended)
    process = subprocess.Popen(
        [sys.executable, str(DRIVER), str(at), "run", *arguments],
        stdout=subprocess.PIPE, stderr=err, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    process.told = err  # type: ignore[attr-defined]
    return process


def drained(process: subprocess.Popen[str], kill_after: float | None = None) -> tuple[int, str]:
    """Reads to the end; the exit code and what was said on stderr. Killed where a time is named."""
    timer = threading.Timer(PATIENCE_SECONDS if kill_after is None else kill_after, process.kill)
    timer.start()
    process.communicate()
    timer.cancel()
    with process.told as err:  # type: ignore[attr-defined]
        err.seek(0)
        return process.returncode, err.read()


def begin(place: Path, voice: Path) -> tuple[Path, tuple[str, ...]]:
    """A tiny profile of a voice, and what `run` takes to begin with it."""
    profile = write_profile(place, voice)
    changes = [part for change in CHANGES for part in ("--set", change)]
    return place / "runs", (str(profile), *changes)


def unbroken(place: Path) -> Unbroken:
    """Runs it once, whole; RuntimeError where that fails."""
    place.mkdir()
    # Once: what seeds its weights is the process's, and sessions are begun from several threads.
    voice = write_voice(place / "voice.safetensors", ("anna", "ben"))
    runs, arguments = begin(place, voice)
    began = time.monotonic()
    process = call(place, 0, *arguments)
    assert process.stdout is not None
    process.stdout.readline()
    opens_after = time.monotonic() - began
    code, told = drained(process)
    if code:
        raise RuntimeError(f"the session that nobody kills ended with {code}: {told}")
    (folder,) = runs.iterdir()
    instants = int(told.split()[-1])
    return Unbroken(voice, folder, instants, opens_after, time.monotonic() - began)


class Chain:
    """One session, killed LINKS times at most, then let finish."""

    def __init__(self, place: Path, whole: Unbroken, dice: random.Random, tally: Tally) -> None:
        place.mkdir()
        self.place, self.whole, self.dice, self.tally = place, whole, dice, tally
        self.runs, self.arguments = begin(place, whole.voice)
        self.folder: Path | None = None
        self.journal = b""
        """What had been written whole before the last kill."""

    def go(self, links: int = LINKS) -> None:
        self.tally.add("sessions")
        for _ in range(links):
            if self.link():
                break
        else:
            self.end()
        self.compare()

    def link(self) -> bool:
        """Runs or resumes the session towards a kill; True where it finished before."""
        if self.dice.random() < 0.75:
            at = self.dice.randint(1, max(int(self.whole.instants * self.left()), 20))
            code, told = drained(call(self.place, at, *self.next()))
            how = "at instants"
        else:
            opens, ends = self.whole.opens_after, self.whole.seconds
            after = self.dice.uniform(0.8 * opens, opens + (ends - opens) * self.left())
            code, told = drained(call(self.place, 0, *self.next()), after)
            how = "from outside"
        if code == 0:
            return True
        if code == -9:
            self.tally.add("kills")
            self.tally.add(how)
        self.inspect(code, told)
        ended = replay(self.folder).ended if self.folder else None
        return ended is not None and ended.reason == "finished"  # killed on its way out

    def end(self) -> None:
        """Lets it finish, beginning anew where the first process left nothing to go on from."""
        code, told = drained(call(self.place, 0, *self.next()))
        if code:
            self.inspect(code, told)
        self.tally.add("refusals", int(code != 0), told)

    def left(self) -> float:
        """Share of the session that has still to come."""
        return 1 - (replay(self.folder).update / UPDATES if self.folder else 0)

    def next(self) -> tuple[str, ...]:
        return ("--resume", str(self.folder)) if self.folder else self.arguments

    def inspect(self, code: int, told: str) -> None:
        """What a killed process has left behind."""
        self.tally.add("tracebacks", told.count("Traceback"), told)
        if code != -9:
            self.tally.add("refusals", 1, f"exit code {code}: {told}")
        folders = sorted(self.runs.iterdir()) if self.runs.is_dir() else []
        if not folders or not saved(folders[0]) or not start_path(folders[0]).is_file():
            lost = bool(folders and (folders[0] / "events.jsonl").is_file()
                        and replay(folders[0]).update)  # fmt: skip
            self.tally.add("lost updates", int(lost), "no state beside a finished update")
            shutil.rmtree(self.runs, ignore_errors=True)
            self.folder, self.journal = None, b""
            self.tally.add("begun anew")
            return
        (self.folder,) = folders
        text = (self.folder / "events.jsonl").read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        self.tally.add("torn lines", int(whole != text))
        self.tally.add("lost events", int(not whole.startswith(self.journal)), "a journal shrank")
        self.journal = whole
        now, state = replay(self.folder), resume.newest(self.folder)
        made = [u for u, stats in now.history if u > state.update and not stats.skipped]
        self.tally.add("lost updates", max(len(made) - 1, 0), f"{made} after state {state.update}")

    def compare(self) -> None:
        """The finished session with the one that nobody killed."""
        if self.folder is None:
            (self.folder,) = self.runs.iterdir()
        text = (self.folder / "events.jsonl").read_bytes()
        self.tally.add("lost events", int(not text.startswith(self.journal)), "a journal shrank")
        mine, theirs = self.folder, self.whole.folder
        self.tally.add("weights differing", *differing(mine, theirs))
        one, other = fold(mine), fold(theirs)
        apart = [name for name in one if one[name] != other[name]]
        self.tally.add("folds differing", len(apart), f"{self.place.name}: {apart}")
        clips = [{p.name: sha256_of(p) for p in (f / "samples").iterdir()} for f in (mine, theirs)]
        self.tally.add("clips differing", len(set(clips[0].items()) ^ set(clips[1].items())))
        litter = [str(path) for path in mine.rglob("*.part*")]
        self.tally.add("litter", len(litter), ", ".join(litter))


def differing(one: Path, other: Path) -> tuple[int, str]:
    """How many tensors and tables of the last state and of all checkpoints are not bit-equal."""
    states = [resume.newest(folder) for folder in (one, other)]
    wrong = int(states[0].statistics != states[1].statistics)
    wrong += int((states[0].update, states[0].skipped) != (states[1].update, states[1].skipped))
    names = [sorted(p.name for p in (f / "checkpoints").iterdir()) for f in (one, other)]
    wrong += int(names[0] != names[1])
    found = [{**prefixed("policy", s.policy), **prefixed("optimizer", s.optimizer)} for s in states]
    for name in set(names[0]) & set(names[1]):
        for tensors, folder in zip(found, (one, other), strict=True):
            with safe_open(folder / "checkpoints" / name, "pt") as file:
                tensors |= {f"{name}.{key}": file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    apart = [k for k in found[0].keys() | found[1].keys() if not same(found[0], found[1], k)]
    return wrong + len(apart), f"{one}: {apart[:3]}, {names}"


def prefixed(name: str, tensors: Any) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for key, value in tensors.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor], key: str) -> bool:
    return key in one and key in other and torch.equal(one[key], other[key])


def fold(folder: Path) -> dict[str, Any]:
    """What a screen shows of a run, without wall times, log lines and where it lies."""
    now = replay(folder)
    assert now.started is not None
    stats = [
        (u, replace(s, seconds=dict.fromkeys(s.seconds, 0.0), memory_bytes=None))
        for u, s in now.history
    ]
    started = replace(now.started, run="", folder="", voice="")
    now = replace(now, history=tuple(stats), started=started, log=())
    return {name: getattr(now, name) for name in Snapshot.__dataclass_fields__}


def campaign(place: Path, kills: int, seed: int, at_once: int = 1, links: int = LINKS) -> Tally:
    """Sessions until so many kills have been, `at_once` of them at a time."""
    tally, whole = Tally(), unbroken(place / "unbroken")
    numbers = iter(range(10 * kills + 10))
    lock = threading.Lock()

    def work() -> None:
        while tally.counts["kills"] < kills:
            with lock:
                number = next(numbers)
            chain = Chain(place / f"{number}", whole, random.Random(f"{seed} {number}"), tally)
            try:
                chain.go(min(links, kills - tally.counts["kills"]))
            except Exception as error:  # one chain's surprise is the campaign's finding
                tally.add("tracebacks", 1, f"{chain.place.name}: {error!r}")
            told = json.dumps({what: count for what, count in tally.counts.items() if count})
            print(told, file=sys.stderr, flush=True)
            if tally.clean:
                shutil.rmtree(chain.place)
            elif tally.counts["sessions"] > kills:
                return

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="a new folder that stays, to look into")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        tally = campaign(place, options.kills, options.seed, options.at_once)
    print(json.dumps({**tally.report(), "seconds": round(time.monotonic() - began)}, indent=1))
    return int(not tally.clean)


if __name__ == "__main__":
    sys.exit(main())
