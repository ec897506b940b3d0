"""Starts a session in a process of its own and lets it go; knows its folder alone, no torch."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

READY_SECONDS = 20.0
"""For an interpreter to start and a socket to listen; on a busy machine that takes its time."""
PATIENCE_SECONDS = 1.5
"""How long a session that has started is waited for, should it refuse what it was given."""
READY, REFUSED = "ready", "refused "
"""What its process tells, as `engine.remote` says it."""


class Refused(ValueError):
    """A session that did not start; one sentence."""


def detach(folder: Path, resume: bool = False) -> None:
    """Returns when the session's socket listens and it has had a moment to refuse its input.

    Errors: Refused.
    """
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "engine.remote", str(folder), "--tell", str(theirs)]
    log_path = folder / "session.log"
    began = log_path.stat().st_size if log_path.exists() else 0
    try:
        with log_path.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 (our own command line, without a shell)
                command + ["--resume"] * resume, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(theirs,),
            )  # fmt: skip
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as told:
        word = next_line(told.fileno(), READY_SECONDS)
        silence = word is None
        if word == READY:  # then that it began, that it will not, or nothing for a while
            word = next_line(told.fileno(), PATIENCE_SECONDS)
    if silence:
        process.kill()  # nothing has been opened yet
        process.wait()
        raise Refused(f"the session did not start within {READY_SECONDS:.0f} s; see {log_path}")
    if word is not None and word.startswith(REFUSED):
        process.wait()
        raise Refused(word.removeprefix(REFUSED))
    if word == "":
        process.wait()
        raise Refused(f"the session's process ended at its start: {last_word(log_path, began)}")
    process.returncode = 0  # it is left to itself: nobody waits for it here


def next_line(descriptor: int, seconds: float) -> str | None:
    """A line that is told; "" where the other end is closed, None where nothing comes."""
    until, text = time.monotonic() + seconds, b""
    while not text.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        block = os.read(descriptor, 1)
        if not block:
            return ""
        text += block
    return text.decode(errors="replace").strip()


def last_word(log_path: Path, began: int) -> str:
    """The last line that a process printed into its log."""
    with log_path.open("rb") as log:
        log.seek(began)
        lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
