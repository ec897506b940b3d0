"""One of the processes of a session that torchrun has started, from its start to its end.

Rank 0 finds or makes the run's folder, says every event as a line of JSON, and hears commands
where a launcher of ours sends them; the others say nothing. Where torchrun starts them again
they go on from the newest state of the same run.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn, get_args

from engine import endings, journal, launch_note, plain_json, preflight, reopening
from engine import messages as m
from engine import profile as profiles
from engine.allocator import keep_memory
from engine.device import choose_device
from engine.distributed import RankLost, Ranks, join
from engine.launch_note import Note
from engine.profile import Profile
from engine.session import Session
from engine.visible import visible

HANDED = "DLPO_TUI_SESSION"
"""Environment variable in which a launcher of ours hands over folder and profile, as JSON."""

VERDICT_SECONDS = 10.0
"""How long a rank that failed waits to be told that all have, and the session is at its end."""


def started() -> bool:
    """Whether this process is one of torchrun's."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def handed() -> bool:
    """Whether a launcher of ours had torchrun start it."""
    return started() and HANDED in os.environ


@dataclass(frozen=True, slots=True)
class Asked:
    """What this process is to take part in; each rank finds it by itself."""

    settings: Profile
    run: Path | None
    """The folder of the run, where that is known already."""
    handed: bool
    """By a launcher of ours: it hears how the session ends, so this process ends in 0 whatever
    that was, and torchrun does not begin what would fail again."""


def work(profile: Path | None, resume: Path | None, changes: Sequence[str]) -> int:
    """This process's part of the session; its exit code."""
    rank = int(os.environ["RANK"])
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # a launcher ends ranks by SIGQUIT
    launched = handed()
    if rank:
        os.dup2(2, 1)  # what a library prints must not come between rank 0's lines
    elif launched:
        print()  # ends a line in which a rank 0 before this one was killed
    try:
        return take_part(asked(profile, resume, changes), heed())
    except RankLost as error:
        print(f"rank {rank}: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        if launched and rank == 0:
            say(m.SessionEnded(0, "failed", str(error), refused=True))
        elif launched or os.environ["LOCAL_RANK"] == "0":  # once a machine, where people read it
            print(visible(f"dlpo-tui: {error}"), file=sys.stderr)
        return 0 if launched else 2


def asked(profile: Path | None, resume: Path | None, changes: Sequence[str]) -> Asked:
    """Reads what the session is to be; ProfileError or JournalError, one sentence."""
    if handed():
        told = json.loads(os.environ[HANDED])
        settings = profiles.build(Profile, told["profile"], "the profile")
        return Asked(settings, Path(told["folder"]), True)
    if resume is not None:
        settings, _ = reopening.reopen(resume, changes)
        return Asked(settings, resume, False)
    assert profile is not None
    settings = profiles.load(profile, changes)
    found = launch_note.earlier(Path(settings.runs), launch_note.key(), settings)
    if found is None:
        preflight.check(settings)
    return Asked(settings, found, False)


def take_part(asked: Asked, told_to_go: list[int]) -> int:
    """Meets the other ranks and runs the session with them; the exit code."""
    settings = asked.settings
    ranks = join(settings.distributed, choose_device(settings.device))
    pids = tuple(ranks.gather(os.getpid()))
    place = ranks.agree(settle(asked, pids) if ranks.leads else None)
    assert place is not None
    folder, ended = place
    if ended is not None:
        return ended
    begun = bool(reopening.saved(folder)) and reopening.start_path(folder).is_file()
    before = reopening.reopened(journal.replay(folder)) if begun else None
    keep_memory()
    return (lead if ranks.leads else follow)(asked, folder, before, ranks, told_to_go)


def lead(
    asked: Asked, folder: Path, before: m.Snapshot | None, ranks: Ranks, told_to_go: list[int]
) -> int:
    """Rank 0's session: heard by who started it, and with word left of its end for the others.

    A failure may be this rank's alone, such as a full disk: then it does not wait for the others.
    """
    ends: list[m.SessionEnded] = []

    def hear(event: m.Event) -> None:
        say(event)
        if isinstance(event, m.SessionEnded):
            ends.append(event)

    session = Session(asked.settings, folder, hear, before, ranks)
    for _ in told_to_go:
        session.commands.put(m.Stop())
    endings.obey(session.commands)
    if asked.handed:
        threading.Thread(target=obey_lines, args=(session.commands,), daemon=True).start()
    session.run()
    (end,) = ends
    failed = end.reason == "failed"
    code = 0 if asked.handed or not failed else 2 if end.refused else 1
    launch_note.end(folder, code)
    if not failed:
        ranks.leave()
    elif not asked.handed:
        print(visible(f"dlpo-tui: {end.error}"), file=sys.stderr)
        if end.refused and before is None:
            journal.discard(folder)
    return code


def follow(
    asked: Asked, folder: Path, before: m.Snapshot | None, ranks: Ranks, told_to_go: list[int]
) -> int:
    """Another rank's session, which says nothing: it ends as rank 0's does."""
    ends: list[m.SessionEnded] = []

    def hear(event: m.Event) -> None:
        if isinstance(event, m.SessionEnded):
            ends.append(event)

    why = ""
    try:
        Session(asked.settings, folder, hear, before, ranks).run()
        (end,) = ends
        if end.reason != "failed":
            ranks.leave()
            return 0
        why = f"dlpo-tui: rank {ranks.rank}: {end.error}"
    except RankLost as error:
        why = f"rank {ranks.rank}: {error}"
    code = verdict(folder, told_to_go)
    if code == 1:
        print(visible(why), file=sys.stderr)
    return code


def vanish(code: int) -> NoReturn:
    """Ends this process at once, without the interpreter's own end, all being said and written.

    Threads of gloo or torch may still be at work, and one that is cut off within C++ aborts the
    process; torchrun then starts all ranks again, after the session's end.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def settle(asked: Asked, pids: tuple[int, ...]) -> tuple[Path, int | None]:
    """The run's folder, and an exit code where this launch's session has ended in it already."""
    folder, key = asked.run, launch_note.key()
    if folder is None:
        # JSON, not TOML: what writes TOML need not be installed here.
        text = json.dumps(journal.plain(asked.settings), indent=1)
        folder = journal.create(asked.settings, text, datetime.now(), "profile.json")
    elif (code := launch_note.ended(folder, key)) is not None:
        return folder, code
    elif not reopening.saved(folder):
        (folder / "events.jsonl").unlink(missing_ok=True)  # killed before anything was there
    launch_note.write(folder, Note(key, pids))
    return folder, None


def verdict(folder: Path, told_to_go: list[int]) -> int:
    """The exit code that rank 0 has left, if the session is at its end for all; else 1.

    Where it is not, torchrun starts every rank again, and says so to this one by a signal.
    """
    until = time.monotonic() + VERDICT_SECONDS
    while time.monotonic() < until and not told_to_go:
        if not folder.is_dir():
            return 2
        if (code := launch_note.ended(folder, launch_note.key(), sure=True)) is not None:
            return code
        time.sleep(0.05)
    return 1


def heed() -> list[int]:
    """Has signals to end noted rather than obeyed; rank 0 says when all of them stop."""
    told: list[int] = []
    for number in endings.heeded(endings.OF_A_PROCESS_APART):
        signal.signal(number, lambda number, frame: told.append(number))
    return told


def obey_lines(commands: SimpleQueue[m.Command], descriptor: int = 0) -> None:
    """Commands as lines of JSON; where they end, the launcher is gone: a stop."""
    # Unbuffered: a thread that waits inside `sys.stdin` would abort the interpreter at its end.
    with open(descriptor, "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            with suppress(ValueError):
                command = m.from_json(plain_json.parse(line))
                if isinstance(command, get_args(m.Command)):
                    commands.put(command)
    commands.put(m.Stop())


def say(event: m.Event) -> None:
    """One event as a line on stdout."""
    try:
        print(plain_json.line(m.to_json(event)), flush=True)
    except (
        BrokenPipeError
    ):  # nobody listens any more; the end of the commands will stop the session
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
