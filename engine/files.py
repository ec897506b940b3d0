"""Files that are whole or not there: written under another name, fsynced, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or name another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "name a place that you may use"),
    errno.EISDIR: "it is a folder; name a file",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is where a folder should be"),
    errno.ELOOP: "remove it, or name another folder",
    errno.ENAMETOOLONG: "give it a shorter name",
}
"""What the disk said -> how to mend it."""

LINKED = "what would be written on to is no file of its own:"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on leaving it is fsynced and takes its place.

    The suffix is kept, since libraries choose a format by it. An exception inside removes the
    temporary file and leaves what was at `path` as it was. Who may read the result is the
    umask's choice, whatever a library made of it.

    Errors: OSError that names `path`, also where safetensors could not write.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = fresh_mode(temporary)
        yield temporary
        temporary.chmod(mode)
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename = str(path)
        raise
    except SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what killed processes were writing in a folder and its folders, never finished."""
    for path in (*folder.glob(".*.part*"), *folder.glob("*/.*.part*")):
        writer = path.name.rpartition(".part")[0].rpartition(".")[2]
        if writer.isdigit() and not alive(int(writer)):
            path.unlink(missing_ok=True)


def alive(process: int) -> bool:
    """Whether there is another process of this number."""
    if process == os.getpid():  # of an earlier process of our number
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def check_target(path: Path) -> None:
    """Refuses a place where no file can come to lie, before the work for it is done.

    Errors: OSError.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))


def told(error: OSError) -> str:
    """What the disk said, of which file, and how to mend it; one sentence."""
    where = f" {error.filename}" if error.filename else ""
    mend = MENDS.get(error.errno or 0, "")
    return f"{error.strerror or error}{where}{mend and '; ' + mend}"


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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_file(path: Path) -> Path:
    """`path`, which is about to be written on to: in a folder from elsewhere it may be a link.

    What is written whole (`replacing`) takes a link's place and needs no such look.

    Errors: OSError where it is a symbolic link, or anything but a file.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(errno.ELOOP, LINKED, str(path))
    return path
