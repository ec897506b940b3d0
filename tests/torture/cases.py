"""One bad input and what must become of it: a sentence, code 2, and a folder as it was."""

from __future__ import annotations

import json
import logging
import os
import signal
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from engine.endings import ENDINGS

PATIENCE_SECONDS = 60.0
USAGE, DONE = 2, 0


@dataclass(frozen=True, slots=True)
class Case:
    """A command line, run in the ground's folder."""

    name: str
    arguments: tuple[str, ...]
    code: int = USAGE
    """DONE for what is odd but fine: it must be shown, and nothing of it obeyed."""
    says: str = ""
    """A part of what is told."""
    environment: dict[str, str] = field(default_factory=dict)
    may_change: tuple[str, ...] = ()
    """Names of files that a refusal may leave a word in: a run's log and journal."""


@dataclass(slots=True)
class Tally:
    """What went wrong, by kind; all of it has to be nothing."""

    inputs: int = 0
    faults: dict[str, list[str]] = field(
        default_factory=lambda: {
            kind: []
            for kind in (
                "tracebacks", "wrong exit codes", "no one sentence", "half-written files",
                "escapes", "too slow",
            )
        }
    )  # fmt: skip

    @property
    def clean(self) -> bool:
        return not any(self.faults.values())

    def lines(self) -> Iterator[str]:
        yield f"inputs {self.inputs}"
        for kind, names in self.faults.items():
            yield f"{kind} {len(names)}"
            yield from (f"    {name}" for name in names)

    def add(self, case: Case, found: dict[str, str]) -> None:
        self.inputs += 1
        for kind, what in found.items():
            self.faults[kind].append(f"{case.name}: {what}")


class TooSlow(Exception):
    """A command that did not come back."""


def judge(case: Case, ground: Path) -> dict[str, str]:
    """Runs the case; kind of fault -> what was seen."""
    before = contents(ground)
    with owned_process(case):
        result = CliRunner().invoke(cli.app, list(case.arguments))
    found = dict(faults(case, result))
    after = contents(ground)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    if case.code == USAGE:
        changed = {name for name in changed if Path(name).name not in case.may_change}
        if changed:
            found["half-written files"] = ", ".join(sorted(changed)[:5])
    return found


def faults(case: Case, result: Result) -> Iterator[tuple[str, str]]:
    """What is wrong with an answer, but for files."""
    if isinstance(result.exception, TooSlow):
        yield "too slow", f"longer than {PATIENCE_SECONDS:g} s"
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        yield "tracebacks", repr(result.exception)[:300]
    elif "Traceback" in result.output:
        yield "tracebacks", result.output[-300:]
    elif result.exit_code != case.code:
        yield "wrong exit codes", f"{result.exit_code} {result.output[-300:]!r}"
    elif case.code == USAGE and not sentence(result.stderr):
        yield "no one sentence", f"{result.stderr[:300]!r}"
    elif case.says not in result.output:
        yield "no one sentence", f"{case.says!r} is not in {result.output[-300:]!r}"
    typed = "Usage:" in result.output  # typer shows what was typed, its directions of writing too
    if obeyed := [c for c in result.output if c != "\n" and not harmless(c, typed)]:
        yield "escapes", f"{obeyed[:3]!a} in {result.output[:200]!a}"


def sentence(told: str) -> bool:
    """Whether it is one line of ours, or the command line's own usage and why."""
    own = [line for line in told.splitlines() if line.startswith("dlpo-tui: ")]
    if told.lstrip().startswith("Usage:"):
        return "rror" in told
    return len(own) == 1 and told.splitlines()[-1] == own[0] and len(own[0]) > len("dlpo-tui: ok")


def harmless(character: str, typed: bool) -> bool:
    """Whether no terminal does anything at it but show it."""
    kinds = ("Zs", "Cf") if typed else ("Zs",)
    return character.isprintable() or unicodedata.category(character) in kinds


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder, with its size and when it was changed."""
    found = {}
    for top, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(top, name)
            about = os.lstat(path)
            size = about.st_size if name in names else 0
            changed = about.st_mtime_ns if name in names else 0
            found[os.path.relpath(path, folder)] = (size, changed)
    return found


@contextmanager
def owned_process(case: Case) -> Iterator[None]:
    """A command owns its process: what it sets there is put back; and it has to come back."""
    numbers = (signal.SIGINT, signal.SIGALRM, *ENDINGS)
    handling = {number: signal.getsignal(number) for number in numbers}
    root, threads = logging.getLogger(), torch.get_num_threads()
    handlers, level = list(root.handlers), root.level
    environment = {name: os.environ.get(name) for name in case.environment}
    os.environ.update(case.environment)

    def late(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handling.items():
            signal.signal(number, handler)
        for name, value in environment.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        torch.set_num_threads(threads)
        logging.captureWarnings(False)
        root.setLevel(level)
        for added in set(root.handlers) - set(handlers):
            root.removeHandler(added)
            added.close()


def deep(opening: str, closing: str = "") -> str:
    """Text that nests deeper than any reader goes."""
    return opening * 100_000 + closing * 100_000


def nested_json() -> str:
    return deep("[", "]")


def as_json(**row: object) -> str:
    return json.dumps(row)
