"""A session in a process of its own, behind a socket: `python -m engine.remote RUN`.

What `dlpo-tui run --detach` starts. The run's folder lies ready, with its profile; the socket
listens before anything heavy is loaded, so that a terminal may attach at once. What is printed
goes where the starter sends it, the run's session.log.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine import endings
from engine import messages as m
from engine.allocator import keep_memory
from engine.journal import Journal, profile_of
from engine.reopening import reopen
from engine.serving import Served, Server

if TYPE_CHECKING:
    from engine.launch import Launched
    from engine.session import Session

READY, BEGUN, REFUSED = "ready", "begun", "refused "
"""First words of what the starter is told, a line each."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.remote", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN")
    parser.add_argument("--resume", action="store_true", help="go on with it")
    parser.add_argument("--tell", type=int, help="file descriptor that the starter listens to")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.captureWarnings(True)
    say = starter(options.tell)
    try:
        server = Server(options.folder)
    except (ValueError, OSError) as error:
        say(f"{REFUSED}{error}")
        print(f"dlpo-tui: {error}", file=sys.stderr)
        return 2
    say(READY)
    return serve(server, options.folder, options.resume, say)


def serve(server: Server, folder: Path, resume: bool, say: Callable[[str], None]) -> int:
    """The session from its loading to its end; the exit code of `dlpo-tui run`."""
    ends: list[m.SessionEnded] = []

    def hear(event: m.Event) -> None:
        if isinstance(event, m.SessionEnded):
            ends.append(event)

    try:
        session = opened(server, folder, resume, hear)
    except (ValueError, OSError) as error:
        say(f"{REFUSED}{error}")
        print(f"dlpo-tui: {error}", file=sys.stderr)
        return 2
    endings.obey(session.commands)
    say(BEGUN)
    session.run()
    (end,) = ends
    return 2 if end.refused else int(end.reason == "failed")


def opened(server: Server, folder: Path, resume: bool, hear: m.Emit) -> Served:
    """The session, served; where it cannot be, its journal and whoever is attached are told.

    Errors: ValueError, one sentence; OSError.
    """
    keep_memory()

    def open_here(emit: m.Emit) -> Session | Launched:
        before = None
        try:
            if resume:
                settings, before = reopen(folder)
            else:
                from engine import preflight

                settings = profile_of(folder)
                preflight.check(settings)
            from engine.launch import open_session

            return open_session(settings, folder, emit, before)
        except (ValueError, OSError) as error:
            end = m.SessionEnded(0, "failed", str(error), refused=True)
            if not resume:  # a run that was something stays as it is, its journal too
                with suppress(ValueError, OSError), closing(Journal(folder)) as journal:
                    journal.write(end)
            emit(end)
            raise

    return Served(server, hear, open_here)


def starter(descriptor: int | None) -> Callable[[str], None]:
    """What tells the starter a line; one that has gone its way hears nothing."""

    def say(text: str) -> None:
        if descriptor is not None:
            with suppress(OSError):
                os.write(descriptor, text.encode() + b"\n")

    return say


if __name__ == "__main__":
    sys.exit(main())
