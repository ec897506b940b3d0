"""Sessions as processes of their own: so many at a time, heard event by event, stopped in order.

Knows how to start, hear and stop them; what they are for, its caller does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TypeAlias

from engine import messages as m
from engine import plain_json


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    command: tuple[str, ...]
    """Prints events as lines of JSON, as `dlpo-tui run --json` does."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside the parent's."""
    ready: Callable[[], None] = lambda: None
    """What has to be done just before it starts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    finished: bool
    sentence: str = ""
    """Why not; empty for one that was stopped, or never begun."""


Hear: TypeAlias = Callable[[str, m.Event], None]
"""Told a child's name and an event of its session."""
Left: TypeAlias = Callable[[str, Outcome], None]
"""Told a child's name and what became of it."""


class Children:
    """Runs children; `stop` may be called while `run` does, from a signal handler too.

    What it tells, it tells from several threads, but never from two at once. The children do not
    get the terminal's interrupts themselves: a first `stop` asks each to save and end, a second
    one kills. A child that is killed loses the update in flight.
    """

    def __init__(self, at_once: int, hear: Hear, left: Left) -> None:
        self.at_once, self.hear, self.left = at_once, hear, left
        self.telling = threading.Lock()
        self.alive: dict[str, subprocess.Popen[bytes]] = {}
        self.stops = 0

    def run(self, children: Sequence[Child]) -> dict[str, Outcome]:
        """Every child to its end, or to that of a stop."""
        with ThreadPoolExecutor(self.at_once) as pool:
            ends = {child.name: pool.submit(self.one, child) for child in children}
        return {name: end.result() for name, end in ends.items()}

    def one(self, child: Child) -> Outcome:
        if self.stopped():
            return Outcome(False)
        child.ready()
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(  # noqa: S603 (our own command line, without a shell)
                child.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told,
                env={**os.environ, **child.environment}, start_new_session=True,
            )  # fmt: skip
            self.alive[child.name] = process
            if self.stopped():  # since it was asked for, and before this one could be told
                self.tell(process)
            try:
                ended = self.listen(child.name, process)
                code = process.wait()
            finally:
                del self.alive[child.name]
                if process.poll() is None:
                    process.kill()
                    process.wait()
            told.seek(0)
            done = outcome(code, ended, told.read().decode(errors="replace"))
        if self.stopped():
            done = Outcome(done.finished)
        with self.telling:
            self.left(child.name, done)
        return done

    def listen(self, name: str, process: subprocess.Popen[bytes]) -> m.SessionEnded | None:
        """Hears a child until it says no more; how its session ended, if it says that."""
        assert process.stdout is not None
        ended = None
        with process.stdout as lines:
            for event in events(lines):
                with self.telling:
                    self.hear(name, event)
                if isinstance(event, m.SessionEnded):
                    ended = event
        return ended

    def stopped(self) -> bool:
        return self.stops > 0

    def stop(self) -> None:
        """Asks every child to save and end; the second time, kills."""
        self.stops += 1
        for process in list(self.alive.values()):
            self.tell(process)

    def tell(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGINT if self.stops == 1 else signal.SIGKILL)


def events(lines: IO[bytes]) -> Iterator[m.Event]:
    """The events among a child's lines; what a library prints between them is left out."""
    for line in lines:
        with suppress(ValueError):
            yield m.from_json(plain_json.parse(line))  # type: ignore[misc]  # a session says no commands


def outcome(code: int, ended: m.SessionEnded | None, told: str) -> Outcome:
    """What became of a child: by its session's words, else its last on stderr, else its code."""
    if code == 0 and ended is not None and ended.reason == "finished":
        return Outcome(True)
    if ended is not None and ended.reason == "stopped":
        return Outcome(False)
    if ended is not None and ended.error:
        return Outcome(False, ended.error)
    if code < 0:
        name = signal.Signals(-code).name
        why = ", as a system does where memory is short" if code == -signal.SIGKILL else ""
        return Outcome(False, f"its process was ended by {name}{why}")
    said = [line.strip() for line in told.splitlines() if line.strip()]
    own = [line.removeprefix("dlpo-tui: ") for line in said if line.startswith("dlpo-tui: ")]
    return Outcome(False, (own or said or [f"its process ended with code {code}"])[-1])
