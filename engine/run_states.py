"""Which runs there are and how each stands, from the ends of their journals; loads no model.

A run is at work where a process holds its journal or serves it; else its last event says how it
ended, or that it did not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from engine import address, plain_json

State: TypeAlias = Literal["running", "paused", "finished", "stopped", "failed", "crashed"]

FIRST_BYTES, MOST_BYTES = 1 << 14, 1 << 22
"""Of a journal's end: what is read first, and at most, to find the last finished update."""
JOURNAL = "events.jsonl"
PROFILES = ("profile.toml", "profile.json")
UPDATES = re.compile(r"^\[train\]\n(?:(?!\[).*\n)*?updates = ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunState:
    name: str
    folder: Path
    state: State
    update: int
    """Finished updates."""
    updates: int | None
    """How many there are to be; None where the profile does not tell."""
    reward: float | None
    """Mean of the last finished update; None before the first, or where every clip failed."""
    at: float
    """When the run last wrote to its journal; seconds since the epoch."""
    error: str = ""
    """Why it failed; one sentence."""
    served: bool = False
    """It can be attached to."""
    attached: tuple[str, ...] = ()
    holder: str = ""


def runs(place: Path) -> list[RunState]:
    """The runs in a folder, the one that wrote last first; those at work before the others."""
    if not place.is_dir():
        return []
    found = [look(folder) for folder in sorted(place.iterdir()) if is_run(folder)]
    return sorted(found, key=lambda run: (run.state in ("running", "paused"), run.at), reverse=True)


def is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (JOURNAL, *PROFILES))


def look(folder: Path) -> RunState:
    """How a run stands; a journal that cannot be read is one of which nothing is known."""
    served = address.alive(folder)
    at_work = served or address.held(folder / JOURNAL)
    note = address.read(folder) if served else None
    now = standing(folder / JOURNAL)
    state: State = "crashed"
    if at_work:
        state = "paused" if now.paused else "running"
    elif now.ended:
        state = now.ended
    try:
        at = (folder / JOURNAL).stat().st_mtime
    except OSError:
        at = folder.stat().st_mtime
    return RunState(
        folder.name, folder, state, now.update, updates_of(folder), now.reward, at,
        "" if at_work else now.error, served, note.attached if note else (),
        note.holder if note else "",
    )  # fmt: skip


@dataclass(slots=True)
class Standing:
    """What the end of a journal tells."""

    update: int = 0
    reward: float | None = None
    paused: bool = False
    ended: Literal["", "finished", "stopped", "failed"] = ""
    error: str = ""


def standing(path: Path) -> Standing:
    """Reads backwards, twice as far each time, until an update is found or there is no more."""
    try:
        with path.open("rb") as file:
            size, length = file.seek(0, 2), FIRST_BYTES
            while True:
                start = max(size - length, 0)
                file.seek(start)
                now, found = folded(rows(file.read(size - start), whole=start == 0))
                if found or start == 0 or length >= MOST_BYTES:
                    return now
                length *= 4
    except OSError:
        return Standing()


def rows(text: bytes, whole: bool) -> Iterator[dict[str, Any]]:
    """The events among the lines; a first or last one that is cut off is left out."""
    for line in text.split(b"\n")[0 if whole else 1 :]:
        try:
            row = plain_json.parse(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def folded(events: Iterator[dict[str, Any]]) -> tuple[Standing, bool]:
    """How the run stands after these events, and whether they tell the last finished update."""
    now, found = Standing(), False
    for event in events:
        kind = event.get("kind")
        now.ended, now.error = "", ""
        match kind:
            case "UpdateFinished":
                reward = event["stats"]["reward"]
                now.update, found = event["update"], True
                now.reward = reward["mean"] if reward else None
            case "SessionResumed":
                now.update = event["update"]
            case "PhaseEntered":
                now.paused = event["phase"] == "paused"
            case "SessionEnded":
                now.ended, now.error = event["reason"], event.get("error", "")
                now.update = event["update"]
    return now, found


def updates_of(folder: Path) -> int | None:
    """train.updates of the resolved profile; the whole file is read only where it was edited."""
    try:
        if (folder / "profile.toml").is_file():
            text = (folder / "profile.toml").read_text(encoding="utf-8")
            found = UPDATES.search(text)
            return int(found[1]) if found else int(tomllib.loads(text)["train"]["updates"])
        return int(plain_json.parse((folder / "profile.json").read_text())["train"]["updates"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
