"""The words on a session's socket: lines of JSON, each bounded, and checked before it is believed.

Events and commands cross as `engine.messages` writes them; what is said about the connection
itself is here. Knows no socket, no file and no session.
"""

from __future__ import annotations

import re
import typing
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, get_args

from engine import messages as m
from engine import plain_json

VERSION = 1
"""Of the protocol; both ends must speak the same."""
LONGEST_ASKED = 64 * 1024
"""Bytes that a line of a terminal may have."""
LONGEST_TOLD = 16 * 1024 * 1024
"""Bytes that a line of a session may have."""
LONGEST_CLIP = 4 * 1024 * 1024
"""Bytes of a clip's file that may be asked for."""
LONGEST_NAME = 40
CLIP = re.compile(r"samples/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,150}")
"""Where the clips of a run lie: one file below samples/, nothing hidden, no way out."""
STAMPS = ("at", "format_version")
"""What a journal writes beside an event."""
UNDO = "undo by "
"""Before a terminal's name: it took a change back."""


# --- What a session says --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The first line: who speaks, and how what follows is to be counted."""

    version: int
    run: str
    folder: str
    """The run's, on the session's machine."""
    pid: int
    session: str
    """Names this process's session: one that goes on in another process is another."""
    before: int
    """Events in the journal when this session began; an end among those is not its own."""
    name: str
    """What the journal will call this terminal."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All events so far have been sent; what follows happens now."""


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is attached, and whether this terminal has the knobs."""

    attached: int
    holds: bool
    holder: str
    """Empty: nobody."""
    owned: bool = False
    """The knobs stay with the terminal that the session runs in."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The process lives."""

    quiet_seconds: float
    """Since its session last said anything."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that did not reach the session; told to its terminal alone, and not journaled."""

    sentence: str
    command: str
    """Kind of the command; empty: a change of knobs."""


@dataclass(frozen=True, slots=True)
class ClipSent:
    path: str
    data: str = ""
    """The file in base64."""
    error: str = ""
    """Why there is none; one sentence."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """The last line before the session closes this connection."""

    sentence: str
    may_return: bool = False


Told: TypeAlias = Welcome | CaughtUp | Audience | Beat | Refused | ClipSent | Farewell


# --- What a terminal says -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """The first line."""

    version: int
    name: str
    watch: bool = False
    """The knobs are not wanted, even where nobody has them."""
    after: int = 0
    """Events of the journal that it has already."""


@dataclass(frozen=True, slots=True)
class TakeKnobs:
    """From here on, this terminal's commands are obeyed, and nobody else's."""


@dataclass(frozen=True, slots=True)
class SendClip:
    path: str
    """Relative to the run's folder."""


Request: TypeAlias = Hello | TakeKnobs | SendClip
TOLD: dict[str, type] = {kind.__name__: kind for kind in get_args(Told)}
ASKED: dict[str, type] = {k.__name__: k for k in (*get_args(m.Command), *get_args(Request))}


# --- Lines ----------------------------------------------------------------------


def line(message: m.Event | m.Command | Told | Request) -> bytes:
    """The message as a line of JSON, its class name under "kind"."""
    data = {"kind": type(message).__name__, **asdict(message)}
    return plain_json.line(data, allow_nan=False).encode() + b"\n"


def asked(text: bytes) -> m.Command | Request:
    """What a terminal's line asks for; ValueError, one sentence, for anything else."""
    data = parsed(text)
    name = data.pop("kind", None)
    kind = ASKED.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"{str(name)[:LONGEST_NAME]!r} is no command")
    return typing.cast("m.Command | Request", m.revived(kind, data))


def told(text: bytes) -> m.Event | Told:
    """What a session's line says; ValueError, one sentence, for anything else."""
    data = {name: value for name, value in parsed(text).items() if name not in STAMPS}
    kind = TOLD.get(str(data.get("kind")))
    if kind is not None:
        del data["kind"]
        return typing.cast("Told", m.revived(kind, data))
    message = m.from_json(data)
    if not isinstance(message, m.Event):
        raise ValueError(f"{type(message).__name__} is no event")
    return message


def parsed(text: bytes) -> dict[str, Any]:
    try:
        data = plain_json.parse(text.decode())
    except ValueError:
        raise ValueError("a line must be one object of JSON in UTF-8") from None
    if not isinstance(data, dict):
        raise ValueError("a line must be one object of JSON in UTF-8")
    return data


def named(name: str) -> str:
    """A terminal's name as the journal takes it: one short line."""
    told = "".join(c if c.isprintable() else " " for c in name).strip()[:LONGEST_NAME]
    return told.removeprefix(UNDO) or "somebody"
