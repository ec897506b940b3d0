"""A run's clips for a browser on this machine, or at the other end of `ssh -L`.

Read-only, on 127.0.0.1 alone, files of one folder, behind a path that cannot be guessed.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
import socket
import stat
import threading
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

HOST = "127.0.0.1"
OWN_NAMES = (HOST, "localhost", "[::1]")
"""What a browser may call this machine."""
TOKEN_BYTES = 12
TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".ogg": "audio/ogg"}
"""Files of any other kind are not served."""
BLOCK_BYTES = 1 << 16

log = logging.getLogger(__name__)


class Serving:
    """A server in a daemon thread, from the first address that is asked for until `close`."""

    def __init__(self, folder: Path) -> None:
        """`folder`: holds the clips; nothing beside it or below it is served."""
        self.folder = folder
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._server: ThreadingHTTPServer | None = None

    def address(self, name: str) -> str:
        """The URL of a clip in the folder; OSError where no port can be had."""
        return f"http://{HOST}:{self.port()}/{self.token}/{quote(name)}"

    def port(self) -> int:
        """The port, the system's choice; the server starts here."""
        if self._server is None:
            handler = partial(Clips, self.folder, self.token)
            self._server = Server((HOST, 0), handler)
            # A browser that keeps its connection open must not keep the process alive.
            self._server.daemon_threads = True
            threading.Thread(target=self._server.serve_forever, name="serving", daemon=True).start()
        return int(self._server.server_address[1])

    def close(self) -> None:
        """No clip is served from here on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Into the log: the terminal is a screen, and whoever asks could write on it."""
        log.info("a clip was not served whole", exc_info=True)


class Clips(BaseHTTPRequestHandler):
    """Answers GET and HEAD of /TOKEN/NAME, whole or one range of bytes."""

    server_version, sys_version = "dlpo-tui", ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def __init__(self, folder: Path, token: str, *rest: object) -> None:
        self.folder, self.token = folder, token
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, with_body: bool) -> None:
        if not own_name(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        path = self.clip()
        file = opened(path) if path else None
        if path is None or file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            asked = byte_range(self.headers.get("Range", ""), size)
            if asked is None:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            first, count, partial_ = asked
            self.send_response(HTTPStatus.PARTIAL_CONTENT if partial_ else HTTPStatus.OK)
            if partial_:
                self.send_header("Content-Range", f"bytes {first}-{first + count - 1}/{size}")
            self.send_header("Content-Type", TYPES[path.suffix.lower()])
            self.send_header("Content-Length", str(count))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            file.seek(first)
            while with_body and count > 0 and (block := file.read(min(count, BLOCK_BYTES))):
                self.wfile.write(block)
                count -= len(block)

    def clip(self) -> Path | None:
        """The file that is asked for; None where the token, the name or the file is wrong."""
        token, _, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        name = unquote(name)
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        if not name or "\0" in name or name != os.path.basename(name) or name.startswith("."):
            return None
        path = self.folder / name
        return path if path.suffix.lower() in TYPES else None

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: standard error is the run's log, and the path holds the token."""


def own_name(host: str) -> bool:
    """Whether a Host header names this machine to itself, at any port: a forwarded one may differ.

    A page from elsewhere whose own name is made to mean 127.0.0.1 (DNS rebinding) says that name.
    """
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    return name.lower() in OWN_NAMES


def opened(path: Path) -> IO[bytes] | None:
    """The file itself, never what a link leads to; None where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # a link, a name that is too long, or nothing
        return None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    return None


def byte_range(header: str, size: int) -> tuple[int, int, bool] | None:
    """First byte, count, and whether it is a part, of a Range header; None: not to be had.

    What is no single range of bytes is left unheeded, as HTTP allows.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip(), re.ASCII)
    if match is None or match[1] == match[2] == "":
        return 0, size, False
    if match[1] == "":
        count = min(int(match[2]), size)
        return (size - count, count, True) if count else None
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if first >= size or last < first:
        return None
    return first, last - first + 1, True


def forwarding(port: int, environment: Mapping[str, str] = os.environ) -> str:
    """What to type at the far end of an SSH connection so that the address holds there."""
    connection = environment.get("SSH_CONNECTION", "").split()
    host = connection[2] if len(connection) == 4 else socket.gethostname()
    door = f" -p {connection[3]}" if len(connection) == 4 and connection[3] != "22" else ""
    user = environment.get("USER") or environment.get("LOGNAME") or ""
    return f"ssh -N -L {port}:{HOST}:{port}{door} {user + '@' if user else ''}{host}"
