"""What a launch of several processes leaves in the run's folder, for those it is started again as.

Which launch it was, which processes, and whether its session has come to an end. Needs no torch.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine import plain_json
from engine.files import replacing
from engine.journal import JournalError, profile_of
from engine.profile import Profile, ProfileError


@dataclass(frozen=True, slots=True)
class Note:
    launch: str
    pids: tuple[int, ...]
    """Of the processes, by rank."""
    ended: int | None = None
    """Exit code of a session that has ended; None: it is at work, or was lost."""


def key() -> str:
    """Names the launch that this process belongs to, the same after every restart."""
    run_id = os.environ["TORCHELASTIC_RUN_ID"]
    # Without a rendezvous torchrun calls every run "none"; the agent stays the parent.
    return run_id if run_id != "none" else f"{socket.gethostname()}-{os.getppid()}"


def path(run: Path) -> Path:
    return run / "resume" / "launch.json"


def write(run: Path, note: Note) -> None:
    with replacing(path(run)) as temporary:
        temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")


def read(run: Path) -> Note | None:
    """A run's note; None where there is none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        note = Note(**plain_json.parse(path(run).read_text(encoding="utf-8")))
        return replace(note, pids=tuple(note.pids))
    return None


def end(run: Path, code: int) -> None:
    """Adds that the session has ended, and with what exit code."""
    if note := read(run):
        write(run, replace(note, ended=code))


def ended(run: Path, launch: str, sure: bool = False) -> int | None:
    """Exit code of a launch's session in this run; None where it has not ended.

    A launch may have an earlier one's name (--rdzv-id), and is `sure` to be the one that the note
    is of when it has written it, or was started again.
    """
    note = read(run)
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return note.ended if note and note.launch == launch and (sure or again) else None


def earlier(runs: Path, launch: str, profile: Profile) -> Path | None:
    """The run that an earlier start of the same launch, with the same profile, was at work on.

    The count of restarts does not tell: where another machine failed, it stays as it was here.
    """
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    for found in sorted(runs.glob("*/resume/launch.json"), key=mtime, reverse=True):
        run = found.parents[1]
        note = read(run)
        if note is None or note.launch != launch or (note.ended is not None and not again):
            continue
        with suppress(ProfileError, JournalError):
            if profile_of(run).hash() == profile.hash():
                return run
    return None


def mtime(path: Path) -> float:
    """When a file was written last; 0 where it is gone."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
