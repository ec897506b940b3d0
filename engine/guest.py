"""One attached terminal, as the session's side sees it: what waits to be sent to it, and its lines.

Runs in the serving thread's event loop alone. Knows neither the session nor who has the knobs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import suppress
from pathlib import Path

from engine import messages as m
from engine import wire

MOST_WAITING = 16 * 1024 * 1024
"""Bytes that may wait for a terminal which does not read them."""
PATIENCE_SECONDS = 5.0
"""For a first line, and for the last one to be taken."""


class Guest:
    """Takes lines for its terminal without ever waiting for it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int = MOST_WAITING
    ) -> None:
        self.reader, self.writer, self.most = reader, writer, most
        self.name, self.dropped = "", False
        self.waiting: deque[bytes] = deque()
        self.size = 0
        """Bytes in `waiting`."""
        self.wake, self.parted = asyncio.Event(), asyncio.Event()

    @property
    def leaving(self) -> bool:
        """The last line for it is among those that wait, or has been sent."""
        return self.parted.is_set()

    # --- To the terminal

    def tell(self, message: wire.Told) -> None:
        self.put(wire.line(message))

    def put(self, line: bytes) -> None:
        """Queues a line; a terminal that is too far behind gets one more word and is let go."""
        if self.leaving:
            return
        if self.size + len(line) > self.most:
            self.waiting.clear()
            self.size, self.dropped = 0, True
            told = f"this terminal was {self.most >> 20} MiB behind, and was let go; it may return"
            self.part(told, may_return=True)
            return
        self.waiting.append(line)
        self.size += len(line)
        self.wake.set()

    def part(self, sentence: str, may_return: bool = False) -> None:
        """Says why, after what waits already, and closes."""
        if not self.leaving:
            last = wire.line(wire.Farewell(sentence, may_return))
            self.waiting.append(last)
            self.size += len(last)
            self.finish()

    def finish(self) -> None:
        """Nothing more is queued; the connection ends with what waits."""
        self.parted.set()
        self.wake.set()

    async def send_all(self, past: Iterable[bytes]) -> None:
        """Sends the past, then what comes, until the last line; OSError where the terminal goes."""
        try:
            for line in past:
                self.writer.write(line)
                await self.writer.drain()
                if self.dropped:
                    break
        finally:
            if isinstance(past, Generator):
                past.close()  # and the file it reads, where the terminal left before its end
        while self.waiting or not self.leaving:
            while self.waiting:
                line = self.waiting.popleft()
                self.size -= len(line)
                self.writer.write(line)
                await self.writer.drain()
            self.wake.clear()
            if not self.leaving:
                await self.wake.wait()

    async def close(self) -> None:
        """Closes in order what can be, at once what cannot."""
        with suppress(OSError):
            self.writer.close()
            try:
                await asyncio.wait_for(self.writer.wait_closed(), PATIENCE_SECONDS)
            except TimeoutError:
                self.writer.transport.abort()

    # --- From the terminal

    async def greeting(self) -> wire.Hello | None:
        """The first line; None where the terminal left. ValueError, one sentence."""
        try:
            first = await asyncio.wait_for(self.read(), PATIENCE_SECONDS)
        except TimeoutError:
            raise ValueError("a terminal must say Hello first, and at once") from None
        if first is None:
            return None
        if not isinstance(first, wire.Hello):
            raise ValueError("a terminal must say Hello first")
        if first.version != wire.VERSION:
            raise ValueError(
                f"this session speaks version {wire.VERSION} of the protocol, the terminal version "
                f"{first.version}; use the same dlpo-tui on both sides"
            )
        return first

    async def read(self) -> m.Command | wire.Request | None:
        """The next line; None at the end. ValueError, one sentence, for what is no message."""
        try:
            return wire.asked(await self.reader.readuntil(b"\n"))
        except asyncio.LimitOverrunError:
            raise ValueError(f"a line may have {wire.LONGEST_ASKED} bytes at most") from None
        except (asyncio.IncompleteReadError, OSError):
            return None


def lines_of(path: Path, size: int, after: int) -> Iterable[bytes]:
    """The lines in the first `size` bytes of a file, without the first `after` of them."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        left = size
        for number, line in enumerate(file):
            left -= len(line)
            if left < 0:
                return
            if number >= after:
                yield line
