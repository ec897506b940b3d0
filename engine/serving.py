"""A session's events to whoever is attached, and the commands of the one who has the knobs to it.

An event loop in a thread of its own: the session hands over each event and goes on, however slow
a terminal is. The past comes from the run's journal, up to the very event that the live ones
follow. Knows nothing of training.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from engine import address, wire
from engine import messages as m
from engine.audience import Audience
from engine.guest import MOST_WAITING, PATIENCE_SECONDS, Guest, lines_of

BEAT_SECONDS = 2.0
MOST_GUESTS = 32
JOURNAL = "events.jsonl"

log = logging.getLogger(__name__)


class Server:
    """Serves one run from its making until `close`. `emit` and `send` are for the session's thread.

    Errors on making: ValueError, one sentence, where another process serves the run; OSError where
    no socket can be had.
    """

    def __init__(self, folder: Path, owner: str = "", most_waiting: int = MOST_WAITING) -> None:
        """`owner`: the terminal that the session runs in and that keeps the knobs; or nobody."""
        self.folder, self.most_waiting = folder, most_waiting
        self.audience = Audience(folder, owner, self.note_down)
        self.guests = self.audience.guests
        self.told = self.on_disk = 0
        """Events told so far, and the bytes that the journal has them in."""
        self.rest: list[bytes] = []
        """Events told that the journal may not have: its last, on a full disk."""
        self.progress = b""
        self.spoke = time.monotonic()
        self.claim = address.Claim(folder)
        try:
            self.socket, self.path = address.bind(folder)
        except (OSError, ValueError):
            self.claim.close()
            raise
        self.note = address.Note(os.getpid(), str(self.path), secrets.token_hex(8))
        self.count_past()
        self.before = self.told
        self.loop = asyncio.new_event_loop()
        self.closing, self.begun = asyncio.Event(), threading.Event()
        self.thread = threading.Thread(target=self.work, name="serving", daemon=True)
        self.thread.start()
        self.begun.wait()

    # --- For the session

    def emit(self, event: m.Event) -> None:
        """Passes on an event that is in the journal, and flushed, already; waits for nobody."""
        line, size = wire.line(event), self.on_disk
        if not isinstance(event, m.PhaseProgressed | m.SessionEnded):
            with suppress(OSError):
                size = (self.folder / JOURNAL).stat().st_size
        with suppress(RuntimeError):  # closed
            self.loop.call_soon_threadsafe(self.take, event, line, size)

    def obeyed_by(self, send: m.Send) -> None:
        """Commands go there from now on; those that came before go first."""
        self.audience.obeyed_by(send)

    def close(self) -> None:
        """Sends what waits, for a bounded time; removes the socket and the note."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.closing.set)
        self.thread.join(2 * PATIENCE_SECONDS)
        self.path.unlink(missing_ok=True)
        self.claim.close()

    # --- The thread

    def count_past(self) -> None:
        """What a session that goes on has told already; a torn last line is no event."""
        with suppress(FileNotFoundError), (self.folder / JOURNAL).open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self.told, self.on_disk = self.told + 1, self.on_disk + len(line)

    def work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self.main())
        except Exception:  # the session goes on without an audience
            log.exception("nobody can attach any more")
        finally:
            self.begun.set()

    async def main(self) -> None:
        server = await asyncio.start_unix_server(
            self.receive, sock=self.socket, limit=wire.LONGEST_ASKED
        )
        self.claim.write(self.note)  # not before it listens: whoever reads it may come
        self.begun.set()
        beating = asyncio.create_task(self.beat())
        await self.closing.wait()
        # Not server.close() yet: asyncio would drop a connection that is just being accepted.
        self.loop.remove_reader(self.socket.fileno())
        beating.cancel()
        for guest in self.guests:
            guest.finish()
        until = self.loop.time() + PATIENCE_SECONDS
        mine = {asyncio.current_task(), beating}
        # All tasks: a terminal may just be about to be received.
        while (others := asyncio.all_tasks() - mine) and self.loop.time() < until:
            await asyncio.wait(others, timeout=until - self.loop.time())
        server.close()

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            told = wire.Beat(round(time.monotonic() - self.spoke, 1))
            for guest in self.guests:
                if not guest.waiting:
                    guest.tell(told)

    def take(self, event: m.Event, line: bytes, size: int) -> None:
        """An event of the session, in the loop's thread: to the past, and to everyone."""
        self.spoke = time.monotonic()
        match event:
            case m.PhaseProgressed():
                self.progress = line
            case m.SessionEnded():
                self.rest.append(line)
            case _:
                self.told, self.on_disk = self.told + 1, size
                if isinstance(event, m.PhaseEntered):
                    self.progress = b""
        for guest in self.guests:
            guest.put(line)

    # --- A terminal from its coming to its going

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = Guest(reader, writer, self.most_waiting)
        try:
            past = await self.admit(guest)
            try:
                await self.attend(guest, past)
            finally:
                self.audience.forget(guest)
            await guest.close()
        except asyncio.CancelledError:  # the session's process has waited long enough
            if not reader.at_eof():
                writer.transport.abort()

    async def admit(self, guest: Guest) -> Iterable[bytes]:
        """Who it is, and the past that it gets; whoever is turned away gets a sentence alone."""
        connection = guest.writer.get_extra_info("socket")
        try:
            if address.peer_uid(connection) not in (None, os.getuid()):
                raise ValueError("this session is another user's")
            if len(self.guests) >= MOST_GUESTS:
                raise ValueError(f"{MOST_GUESTS} terminals are attached already")
            hello = await guest.greeting()
        except ValueError as error:
            guest.part(str(error))
            return ()
        if hello is None:
            guest.finish()
            return ()
        # From here to the end nothing waits: no event can come between the past and the list.
        guest.name = wire.named(hello.name)
        past = self.past(guest, max(hello.after, 0))
        self.audience.welcome(guest, hello.watch)
        if self.closing.is_set():  # it came while the others were sent their last
            guest.finish()
        return past

    def past(self, guest: Guest, after: int) -> Iterable[bytes]:
        welcome = wire.Welcome(
            wire.VERSION, self.folder.name, str(self.folder.absolute()), os.getpid(),
            self.note.session, self.before, guest.name,
        )  # fmt: skip
        written = lines_of(self.folder / JOURNAL, self.on_disk, after)
        unwritten = [line for line in (*self.rest, self.progress) if line]

        def told() -> Iterator[bytes]:  # a generator, so that closing it closes the journal
            yield wire.line(welcome)
            yield from written
            yield from unwritten
            yield wire.line(wire.CaughtUp())

        return told()

    async def attend(self, guest: Guest, past: Iterable[bytes]) -> None:
        """Until the terminal goes, or has been sent its last line."""
        sending = asyncio.create_task(guest.send_all(past))
        hearing = asyncio.create_task(self.listen(guest))
        parting = asyncio.create_task(guest.parted.wait())
        tasks = {sending, hearing, parting}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if guest.leaving:
                await asyncio.wait({sending}, timeout=PATIENCE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def listen(self, guest: Guest) -> None:
        """Every line of a terminal; one that is no message is its last."""
        try:
            while not guest.leaving and (message := await guest.read()) is not None:
                self.audience.hear(guest, message)
        except ValueError as error:
            guest.part(str(error))

    def note_down(self, names: tuple[str, ...], holder: str) -> None:
        """Who is here, for the list of runs."""
        self.note = replace(self.note, attached=names, holder=holder)
        with suppress(OSError, ValueError):  # a full disk: the list tells less
            self.claim.write(self.note)


class SessionLike(Protocol):
    """What can be served."""

    commands: SimpleQueue[m.Command]

    def run(self) -> None: ...


class Served:
    """A session with its server: what runs the one closes the other at its end."""

    def __init__(
        self, server: Server, emit: m.Emit, open_session: Callable[[m.Emit], SessionLike]
    ) -> None:
        """Opens the session; `emit` hears what the terminals hear."""
        self.server = server

        def both(event: m.Event) -> None:
            server.emit(event)
            emit(event)

        try:
            self.session = open_session(both)
        except BaseException:
            server.close()
            raise
        self.commands = self.session.commands
        server.obeyed_by(self.commands.put)

    def run(self) -> None:
        try:
            self.session.run()
        finally:
            self.server.close()
