"""A run's folder and its journal: events on disk, one JSON object a line."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import messages as m
from engine import profile as profiles
from engine.profile import Profile

FORMAT_VERSION = 1
LASTING = m.UpdateFinished | m.CheckpointSaved | m.SessionEnded | m.SessionResumed | m.KnobsChanged
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
    """Appends events; fsynced where an update, a checkpoint or the session ends.

    Errors: JournalError where another process writes this run's journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = (folder / "events.jsonl").open("a", encoding="utf-8")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.close()
            raise JournalError(
                f"{folder} is at work in another process; wait for its end, or stop it there"
            ) from None
        drop_torn_line(folder / "events.jsonl")

    def write(self, event: m.Event) -> None:
        row = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **m.to_json(event)}
        if isinstance(event, m.SessionStarted):
            row["format_version"] = FORMAT_VERSION
        self.file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        if isinstance(event, LASTING):
            self.file.flush()
            os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()


class Unwritten(Journal):
    """In the place of the journal where another process of the session writes it."""

    def __init__(self) -> None:
        """Opens nothing."""

    def write(self, event: m.Event) -> None: ...

    def close(self) -> None: ...


def drop_torn_line(path: Path) -> None:
    """Cuts off what a killed process left of its last line, so that the next one is whole."""
    with path.open("rb+") as file:
        text = file.read()
        if text and not text.endswith(b"\n"):
            file.truncate(text.rfind(b"\n") + 1)


def events(folder: Path) -> Iterator[m.Event]:
    """The events of a run, in order; a torn last line (a killed process) is left out."""
    path = folder / "events.jsonl"
    try:
        # Bytes: a killed process may have cut a character, and a prompt may hold line ends of
        # Unicode, which are no ends of a line here.
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise JournalError(f"{folder} has no journal that can be read ({error})") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if isinstance(row, dict):
                row = {k: v for k, v in row.items() if k not in ("at", "format_version")}
            event = m.from_json(row)
        except ValueError as error:
            if number == len(lines):
                return
            raise JournalError(f"{path}, line {number}: {error}") from None
        yield event  # type: ignore[misc]  # commands are never journaled


def replay(folder: Path) -> m.Snapshot:
    """The fold of a run's journal: what its screen showed last."""
    now = m.Snapshot()
    for event in events(folder):
        now = m.advance(now, event)
    return now
