"""`python -m engine`, killed by SIGKILL at its n-th instant; what it runs is the real thing.

    python tests/torture/driver.py N run PROFILE ...

Instants are the event said, the fsync, the rename and the removal that come next, and the middle of
every write: half a line of the journal, half a state, checkpoint or clip is on the disk then. N = 0
kills never, and the last line on stderr tells how many instants there were.

The session is made to run away: with the learning rate it begins with, no update from the third
on has a finite loss. It goes back, halves the rate and finishes, so kills fall into that, too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import engine.__main__ as program
from engine import checkpoint, journal, resume, session
from engine.rl.update import Optimised, Problem

RUNS_AWAY_ABOVE = 6e-4
"""Learning rate; the campaign's profile begins with 1e-3."""
FROM_UPDATE = 2
"""Finished updates before the first that is spoilt."""


class Fate:
    """Counts instants, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, 0

    def due(self) -> bool:
        self.seen += 1
        return self.seen == self.at

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with an instant before each call."""

        def call(*arguments: Any, **named: Any) -> Any:
            if self.due():
                self.kill()
            return function(*arguments, **named)

        return call

    def within(self, write: Callable[..., Any], place: int) -> Callable[..., Any]:
        """A function that writes a file, the argument at `place`, with an instant in it."""

        def call(*arguments: Any, **named: Any) -> Any:
            due = self.due()
            done = write(*arguments, **named)
            if due:
                path = Path(arguments[place])
                os.truncate(path, path.stat().st_size // 2)
                self.kill()
            return done

        return call


class TornFile:
    """A journal's file with an instant in the middle of each line."""

    def __init__(self, file: Any, fate: Fate) -> None:
        self.file, self.fate = file, fate
        self.flush, self.fileno, self.close = file.flush, file.fileno, file.close

    def write(self, text: str) -> None:
        if self.fate.due():
            self.file.write(text[: len(text) // 2])
            self.file.flush()
            self.fate.kill()
        self.file.write(text)


def haunt(fate: Fate) -> None:
    """Puts an instant wherever a session says something or touches the disk."""
    os.fsync, os.replace, os.unlink = map(fate.before, (os.fsync, os.replace, os.unlink))
    program.say = fate.before(program.say)
    resume.save_file = fate.within(resume.save_file, 1)
    checkpoint.save_file = fate.within(checkpoint.save_file, 1)
    Path.write_bytes = fate.within(Path.write_bytes, 0)  # type: ignore[method-assign]
    opened = journal.Journal.__init__

    def opening(self: journal.Journal, folder: Path) -> None:
        opened(self, folder)
        self.file = TornFile(self.file, fate)

    journal.Journal.__init__ = opening  # type: ignore[method-assign]


def run_away() -> None:
    """Spoils what `RUNS_AWAY_ABOVE` and `FROM_UPDATE` say."""
    sane = session.optimise

    def optimise(policies: Any, optimizer: Any, problem: Problem, *rest: Any) -> Optimised:
        rate = optimizer.param_groups[0]["lr"]
        if rate > RUNS_AWAY_ABOVE and problem.identity[1] >= FROM_UPDATE:
            problem = replace(problem, advantage=problem.advantage * float("nan"))
        return sane(policies, optimizer, problem, *rest)

    session.optimise = optimise


if __name__ == "__main__":
    fate = Fate(int(sys.argv[1]))
    run_away()
    haunt(fate)
    code = program.main(sys.argv[2:])
    print(f"instants {fate.seen}", file=sys.stderr)
    sys.exit(code)
