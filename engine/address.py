"""Where a session is reached: its socket, the note in the run's folder, and who may come.

The note, served.json, is locked for as long as the session's process lives: a lock that is free
tells a socket that was left behind by a dead process, whatever its number is used for now. Knows
no protocol and no session.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import plain_json

NOTE = "served.json"
SOCKET = "session.sock"
LONGEST_PATH = 100
"""Bytes; a socket's path may have 107 on Linux, 103 on macOS, and its end must be read whole."""
OWNER_ALONE = 0o600
ATTEMPTS, ATTEMPT_SECONDS = 10, 0.01
"""Of reading a note."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a served run's folder says about its session."""

    pid: int
    socket: str
    """Absolute."""
    session: str
    """Names this process's session."""
    attached: tuple[str, ...] = ()
    """Names of the terminals, oldest first."""
    holder: str = ""
    """Who has the knobs; empty: nobody."""


def read(folder: Path) -> Note | None:
    """The note of a run; None where there is none, or none that can be read."""
    for attempt in range(ATTEMPTS):  # it is written in its place, and may be met half
        try:
            data = plain_json.parse((folder / NOTE).read_text(encoding="utf-8"))
            return Note(**{**data, "attached": tuple(data["attached"])})
        except ValueError:
            if attempt < ATTEMPTS - 1:
                time.sleep(ATTEMPT_SECONDS)
        except (OSError, TypeError, KeyError):
            return None
    return None


def alive(folder: Path) -> bool:
    """Whether the process that serves a run lives."""
    return held(folder / NOTE)


def held(path: Path) -> bool:
    """Whether a process holds the lock of a file; a file that is not there is nobody's."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Claim:
    """The note of a run, locked until `close`, which removes it.

    Errors: ValueError, one sentence, where another process serves the run; OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        opening = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self.file = os.fdopen(os.open(folder / NOTE, opening, OWNER_ALONE), "r+b", buffering=0)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that ended between the two has removed the file that is locked now.
            lost = os.fstat(self.file.fileno()).st_nlink == 0
        except OSError:
            lost = True
        if lost:
            self.file.close()
            raise ValueError(
                f"{folder} is at work in another process; dlpo-tui attach {folder} shows it"
            )

    def write(self, note: Note) -> None:
        """In its place, since the lock is the file's own: whole, in one call, never shorter."""
        text = json.dumps(asdict(note)).encode()
        size = os.fstat(self.file.fileno()).st_size
        os.pwrite(self.file.fileno(), text.ljust(size), 0)

    def close(self) -> None:
        (self.folder / NOTE).unlink(missing_ok=True)
        self.file.close()


def bind(folder: Path) -> tuple[socket.socket, Path]:
    """A socket of this user's alone, not listening yet, and its path.

    In the run's folder, or under the user's runtime directory where the folder's path is too long
    or its disk has no sockets. To be called by whoever holds the run's `Claim`: what lies at the
    path is then a dead process's, and is replaced. Errors: OSError; ValueError, one sentence.
    """
    inside = (folder / SOCKET).absolute()
    if len(os.fsencode(inside)) <= LONGEST_PATH:
        with suppress(OSError):
            return bound(inside), inside
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    outside = runtime_folder() / f"dlpo-{digest}.sock"
    return bound(outside), outside


def bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(path))
        path.chmod(OWNER_ALONE)  # before it listens: nobody can have come in between
    except OSError:
        made.close()
        raise
    return made


def runtime_folder() -> Path:
    """A folder of this user's alone with a short path.

    Errors: ValueError, one sentence, where what has its name is not this user's alone.
    """
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and own(Path(given)) and len(os.fsencode(given)) < LONGEST_PATH - 32:
        return Path(given)
    made = Path(tempfile.gettempdir()) / f"dlpo-tui-{os.getuid()}"
    with suppress(FileExistsError):
        made.mkdir(mode=0o700)
    if not own(made):
        raise ValueError(f"{made} is not yours alone; remove it, or set XDG_RUNTIME_DIR")
    return made


def own(folder: Path) -> bool:
    """Whether a folder is this user's, and nobody else may look into it."""
    try:
        told = folder.lstat()
    except OSError:
        return False
    alone = not stat.S_IMODE(told.st_mode) & 0o077
    return stat.S_ISDIR(told.st_mode) and told.st_uid == os.getuid() and alone


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end of a Unix socket, as the kernel knows it; None: it cannot tell."""
    if sys.platform == "darwin":  # LOCAL_PEERCRED of SOL_LOCAL: struct xucred
        _, uid = struct.unpack_from("II", connection.getsockopt(0, 1, 76))
        return int(uid)
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", told)
    return int(uid)
