"""A run's folder and its journal: events on disk, one JSON object a line."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import IO, Any

from engine import messages as m
from engine import plain_json
from engine import profile as profiles
from engine.files import own_file
from engine.needed import needed
from engine.profile import Profile

FORMAT_VERSION = 3
"""1: without RolledBack and MicrobatchHalved; 2: without MicrobatchMeasured. Both are read as they
are."""
LASTING = (
    m.UpdateFinished
    | m.CheckpointSaved
    | m.SessionEnded
    | m.SessionResumed
    | m.KnobsChanged
    | m.RolledBack
)
"""Events on whose account the journal is fsynced."""


class JournalError(ValueError):
    """A run's folder that cannot be made, written or read; one sentence."""


def create(profile: Profile, text: str, now: datetime, name: str = "profile.toml") -> Path:
    """Makes runs/<profile>-<yyyymmdd-hhmmss>/ with the resolved profile, `text`, in it."""
    stem = re.sub(r"[^\w.-]+", "-", profile.name).strip("-.") or "run"
    base = Path(profile.runs) / f"{stem}-{now:%Y%m%d-%H%M%S}"
    folder = base
    for again in range(2, 100):
        try:
            folder.mkdir(parents=True)
            (folder / "samples").mkdir()
            (folder / "checkpoints").mkdir()
            (folder / name).write_text(text, encoding="utf-8")
            return folder
        except FileExistsError:
            folder = base.with_name(f"{base.name}-{again}")
        except OSError as error:
            raise JournalError(
                f"the run's folder {folder} cannot be made ({error.strerror}); "
                'name another place with --set runs="..."'
            ) from None
    raise JournalError(f"{base} and 98 more of its name exist already")


def discard(folder: Path) -> None:
    """Removes the folder of a run in which nothing began."""
    shutil.rmtree(folder, ignore_errors=True)


def plain(profile: Profile) -> dict[str, Any]:
    """The profile as TOML can hold it: lists for tuples."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: convert(v) for k, v in value.items()}
        return [convert(v) for v in value] if isinstance(value, list | tuple) else value

    table: dict[str, Any] = convert(asdict(profile))
    return table


def profile_of(folder: Path, changes: Sequence[str] = ()) -> Profile:
    """The resolved profile in a run's folder; ProfileError or JournalError, one sentence."""
    for name in ("profile.toml", "profile.json"):
        if (folder / name).is_file():
            return profiles.load(folder / name, changes)
    if not folder.is_dir():
        raise JournalError(f"there is no run {folder}; a run is a folder, such as runs/NAME-DATE")
    raise JournalError(f"{folder} holds no profile.toml: it is not the folder of a run")


class Journal:
    """Appends events, each out of the process at once; fsynced where an update, a checkpoint or
    the session ends.

    Errors: JournalError where another process writes this run's journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = own_file(folder / "events.jsonl")
        self.file = path.open("a", encoding="utf-8")
        try:
            hold(self.file, folder)
        except JournalError:
            self.file.close()
            raise
        self.torn = drop_torn_line(path)
        """Bytes of an unfinished last line that a killed process had left; cut off."""

    def write(self, event: m.Event) -> None:
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **m.to_json(event)}
        if isinstance(event, m.SessionStarted | m.SessionResumed):
            row["format_version"] = FORMAT_VERSION
        self.file.write(plain_json.line(row, allow_nan=False) + "\n")
        self.file.flush()  # other processes read along, and none is lost with this one
        if isinstance(event, LASTING):
            os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()


class Unwritten(Journal):
    """In the place of the journal where another process of the session writes it."""

    def __init__(self) -> None:
        """Opens nothing, and so finds no unfinished line."""
        self.torn = 0

    def write(self, event: m.Event) -> None: ...

    def close(self) -> None: ...


def hold(file: IO[str], folder: Path) -> None:
    """Locks a journal until the file is closed; JournalError where another process has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise JournalError(
            f"{folder} is at work in another process; wait for its end, or stop it there"
        ) from None


def check_free(folder: Path) -> None:
    """JournalError where another process writes this run's journal; changes nothing."""
    path = folder / "events.jsonl"
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            hold(file, folder)


def drop_torn_line(path: Path) -> int:
    """Cuts off what a killed process left of its last line, so that the next one is whole.

    Returns how many bytes that were.
    """
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if file.read() in (b"", b"\n"):
            return 0
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        return size - whole


def check_version(path: Path, lines: Sequence[bytes]) -> None:
    """Refuses a journal that a later program began or went on with; JournalError, one sentence."""
    newest = max((version_in(line) for line in lines if b'"format_version"' in line), default=1)
    if newest > FORMAT_VERSION:
        raise JournalError(
            f"{path} is a journal of format version {newest}; this program reads up to version "
            f"{FORMAT_VERSION}: open it with the dlpo-tui that wrote it, or with a later one"
        )


def version_in(line: bytes) -> int:
    """What a row says of its format; 1 where it says nothing that can be read."""
    try:
        return int(plain_json.parse(line)["format_version"])
    except (ValueError, TypeError, KeyError):
        return 1


def events(folder: Path) -> Iterator[m.Event]:
    """The events of a run, in order; a torn last line (a killed process) is left out.

    Raises:
        JournalError: there is no journal, or a line of it is no event of a run; one sentence.
    """
    lines = lines_of(folder)
    return revived(folder, lines, [True] * len(lines))


def lines_of(folder: Path) -> list[bytes]:
    """The rows of a run's journal as they lie there; JournalError, one sentence."""
    path = folder / "events.jsonl"
    try:
        # Bytes: a killed process may have cut a character, and a prompt may hold line ends of
        # Unicode, which are no ends of a line here.
        *lines, torn = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"{folder} has no journal that can be read ({error})") from None
    with suppress(ValueError):  # whole but for its end: the event is there
        event_of(torn)
        lines.append(torn)
    check_version(path, lines)
    return lines


def revived(folder: Path, lines: Sequence[bytes], wanted: Sequence[bool]) -> Iterator[m.Event]:
    """The events of the rows that are wanted; JournalError names a broken one."""
    path = folder / "events.jsonl"
    for number, line in enumerate(lines, 1):
        if not wanted[number - 1]:
            continue
        try:
            yield event_of(line)
        except ValueError as error:
            raise JournalError(f"{path}, line {number}: {error}") from None


def event_of(line: bytes) -> m.Event:
    """The event of a line; ValueError, one sentence, where it is none, or names a file elsewhere.

    A run that came from somebody else names its clips; what is played and served lies in it.
    """
    row = plain_json.parse(line)
    if isinstance(row, dict):
        row = {k: v for k, v in row.items() if k not in ("at", "format_version")}
    event = m.from_json(row)
    for name in files_of(event):
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts or "\0" in name:
            raise ValueError(f"{name[:80]!r} is no file in the run's folder")
    return event  # type: ignore[return-value]  # commands are never journaled


def files_of(event: m.Event | m.Command) -> list[str]:
    """The paths, relative to the run's folder, that an event names."""
    match event:
        case m.ClipsScored(_, clips):
            return [clip.path for clip in clips]
        case m.ClipRendered() | m.CheckpointSaved():
            return [event.path]
    return []


def replay(folder: Path) -> m.Snapshot:
    """The fold of a run's journal: what its screen showed last."""
    lines = lines_of(folder)
    now = m.Snapshot()
    for event in revived(folder, lines, needed(lines)):
        now = m.advance(now, event)
    return now
