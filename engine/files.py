"""Files that are whole or not there: written under another name, fsynced, then renamed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on leaving it is fsynced and takes its place.

    The suffix is kept, since libraries choose a format by it. An exception inside removes the
    temporary file and leaves what was at `path` as it was. Who may read the result is the
    umask's choice, whatever a library made of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        mode = fresh_mode(temporary)
        yield temporary
        temporary.chmod(mode)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fresh_mode(path: Path) -> int:
    """Permissions a new file gets here; asked of one, since reading the umask means setting it."""
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def sync(path: Path) -> None:
    """Waits until a file's data, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
