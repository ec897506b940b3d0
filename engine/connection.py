"""One connection of a terminal to a session's socket: a greeting, then lines both ways.

Whether to connect again is its holder's to say.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine import address, wire
from engine import messages as m

GREETING_SECONDS = 5.0
GLANCE_SECONDS = 0.5
"""How long nothing comes before that is told."""
BLOCK_BYTES = 1 << 16


class Lost(Exception):
    """The connection is gone, the session perhaps not; a sentence."""


class Over(Exception):
    """There is nothing to come back to; a sentence."""


class Connection:
    """Errors of all methods: Lost or Over. `send` may be called from another thread."""

    def __init__(self, path: Path) -> None:
        self.path, self.rest = path, b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.heard = time.monotonic()
        """When anything came last."""

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def greet(self, hello: wire.Hello) -> wire.Welcome:
        """Connects; what the session says first."""
        self.socket.settimeout(GREETING_SECONDS)
        try:
            self.socket.connect(str(self.path))
            if address.peer_uid(self.socket) not in (None, os.getuid()):
                raise Over(f"the socket {self.path} is another user's")
        except OSError as error:
            raise Lost(error.strerror or str(error)) from None
        self.send(hello)  # one that is turned away unheard has been told why
        first = next(self.messages(), None)
        if isinstance(first, wire.Farewell):
            raise (Lost if first.may_return else Over)(first.sentence)
        if not isinstance(first, wire.Welcome):
            raise Lost("nothing was said")
        if first.version != wire.VERSION:
            raise Over(
                f"the session speaks version {first.version} of the protocol, this terminal "
                f"version {wire.VERSION}; use the same dlpo-tui on both sides"
            )
        self.socket.settimeout(GLANCE_SECONDS)
        return first

    def send(self, message: m.Command | wire.Request) -> bool:
        """False where it did not go out."""
        try:
            self.socket.sendall(wire.line(message))
        except OSError:
            return False
        return True

    def messages(self) -> Iterator[m.Event | wire.Told | None]:
        """What the session says; None after each glance in vain; Lost at the end."""
        while True:
            text, found, rest = self.rest.partition(b"\n")
            if found:
                self.rest = rest
                try:
                    message = wire.told(text)
                except ValueError as error:
                    told = f"the session said what this terminal cannot read: {error}"
                    raise Over(told) from None
                yield message
                continue
            if len(text) > wire.LONGEST_TOLD:
                raise Over(f"the session said a line of more than {wire.LONGEST_TOLD} bytes")
            try:
                block = self.socket.recv(BLOCK_BYTES)
            except TimeoutError:
                yield None
                continue
            except OSError as error:
                raise Lost(error.strerror or str(error)) from None
            if not block:
                raise Lost("the connection was closed")
            self.heard = time.monotonic()
            self.rest += block

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
