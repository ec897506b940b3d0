"""Published files of weights: what they are known by, how they come here, whether they are whole.

A file comes over https alone, and takes its place only when its size and SHA-256 are the
published ones. Knows no score model and no tensor.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from engine.files import replacing, sha256_of

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

PIECE = 1 << 18
"""Bytes between two calls of the progress."""

PATIENCE_SECONDS = 30.0
"""How long a server may be silent."""

WRONG_DIGEST = "is damaged or another file, since its SHA-256 is not the published file's"


class WeightsError(ValueError):
    """Weights that are missing or not the published ones; its message is one sentence."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file as its authors published it."""

    model: str
    """What `dlpo-tui fetch` calls the score model."""
    name: str
    address: str
    size_bytes: int
    sha256: str

    @property
    def megabytes(self) -> str:
        return f"{max(1, round(self.size_bytes / 1e6))} MB"


def check_size(path: Path, file: WeightsFile) -> None:
    """Raises WeightsError where `path` has another size than the published file."""
    size = path.stat().st_size
    if size != file.size_bytes:
        raise WeightsError(f"{path} {_wrong_size(size, file)}; get it with: {command(file)}")


def check(path: Path, file: WeightsFile) -> None:
    """Raises WeightsError where `path` is not the published file, byte for byte."""
    if not path.is_file():
        raise WeightsError(f"there is no file {path}")
    check_size(path, file)
    if sha256_of(path) != file.sha256:
        raise WeightsError(f"{path} {WRONG_DIGEST}; get it with: {command(file)}")


def command(file: WeightsFile) -> str:
    return f"dlpo-tui fetch {file.model}"


def fetch(
    file: WeightsFile,
    target: Path,
    on_progress: Progress,
    handler: urllib.request.BaseHandler | None = None,
) -> None:
    """Downloads the file to `target`, whole or not at all.

    `handler` opens addresses: https alone where none is given, redirections included.

    Raises:
        WeightsError: no network, a server that refuses, another file than the published one,
            or a disk that cannot take it.
    """
    try:
        with (
            replacing(target) as temporary,
            _response(file, target, handler or urllib.request.HTTPSHandler()) as response,
        ):
            _receive(_pieces(file, target, response), temporary, file, on_progress)
    except OSError as error:  # What the network raises has become a WeightsError by now.
        raise unwritable(file, target, error) from error


def keep(file: WeightsFile, target: Path, source: Path) -> None:
    """Copies a file that its user has to `target`, if it is the published one.

    Raises:
        WeightsError: it is another file, or the disk cannot take it.
    """
    check(source, file)
    try:
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise unwritable(file, target, error) from error


def unwritable(file: WeightsFile, target: Path, error: Exception) -> WeightsError:
    """The error of a disk that cannot take the file."""
    why = getattr(error, "strerror", None) or error
    return WeightsError(
        f"{file.name} ({file.megabytes}) cannot be written into {target.parent}: {why}; "
        f"make room there, then: {command(file)}"
    )


def _wrong_size(size: int, file: WeightsFile) -> str:
    kind = "cut short" if size < file.size_bytes else "another file"
    return f"is {size:,} bytes long and should be {file.size_bytes:,}: it is {kind}"


def _receive(
    pieces: Iterator[bytes], temporary: Path, file: WeightsFile, on_progress: Progress
) -> None:
    digest, size = hashlib.sha256(), 0
    with temporary.open("wb") as sink:
        for piece in pieces:
            sink.write(piece)
            digest.update(piece)
            size += len(piece)
            on_progress(min(size, file.size_bytes), file.size_bytes)
            if size > file.size_bytes:
                break
    if size != file.size_bytes:
        raise WeightsError(
            f"what came from {file.address} {_wrong_size(size, file)}; "
            f"nothing was kept, so try again: {command(file)}"
        )
    if digest.hexdigest() != file.sha256:
        raise WeightsError(f"what came from {file.address} {WRONG_DIGEST}; nothing was kept")


@contextlib.contextmanager
def _response(
    file: WeightsFile, target: Path, handler: urllib.request.BaseHandler
) -> Iterator[IO[bytes]]:
    # Assembled by hand: `build_opener` would follow a redirection to plain http.
    opener = urllib.request.OpenerDirector()
    for one in (
        handler,
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(one)
    try:
        response = opener.open(file.address, timeout=PATIENCE_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise _unreachable(file, target, f"the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(file, target, getattr(error, "reason", error)) from error
    with response:
        yield response


def _pieces(file: WeightsFile, target: Path, response: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            piece = response.read(PIECE)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(file, target, error) from error
        if not piece:
            return
        yield piece


def _unreachable(file: WeightsFile, target: Path, reason: object) -> WeightsError:
    why = " ".join(str(reason).split())
    return WeightsError(
        f"{file.name} ({file.megabytes}) cannot be fetched from {file.address} ({why}); "
        f"get it by another way and name it: {command(file)} --from FILE, or put it at {target}"
    )
