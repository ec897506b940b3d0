"""A session in another process, seen from a terminal: its events in, commands out, by its socket.

Has what a session has, `commands` and `run`, so that it stands in a session's place. Finds the
session again where the connection is lost, and says in a sentence where there is none any more.
Knows no screen.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import os
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import cast

from engine import address, wire
from engine import messages as m
from engine.connection import Connection, Lost, Over
from engine.files import replacing

PATIENCE_SECONDS = 30.0
"""How long a lost session is looked for."""
RETRY_SECONDS = 0.25
SLOW_SECONDS = 30.0
"""A session at work that has said nothing for so long is called slow."""
SILENT_SECONDS = 10.0
"""Without even a beat for so long, the process or the way to it stands still."""


@dataclass(frozen=True, slots=True)
class Link:
    """How this terminal stands to its session; replaced whole, so that any thread may read it."""

    connected: bool = False
    holds: bool = False
    holder: str = ""
    attached: int = 0
    owned: bool = False
    """The session runs in another terminal, which keeps the knobs."""
    quiet_seconds: float = 0.0
    """Since the session's last word, as far as is known."""
    silent: bool = False
    """Nothing at all comes, though the connection stands."""
    why: str = ""
    """The last reason that the connection was closed for."""


class Attachment:
    """One terminal's connection. `emit` is told every event once, in order, and one end."""

    def __init__(
        self, path: Path, folder: Path | None, name: str, watch: bool = False, after: int = 0
    ) -> None:
        """`path`: the socket; `folder`: the run's, where it lies on this machine."""
        self.path, self.folder, self.watch = path, folder, watch
        self.name, self.run_name, self.session = name, "", ""
        self.outbox: SimpleQueue[m.Command | wire.Request | None] = SimpleQueue()
        self.commands = cast("SimpleQueue[m.Command]", self.outbox)
        self.link = Link()
        self.emit: m.Emit = lambda event: None
        self.arrived: deque[wire.ClipSent] = deque()
        """Clips that were asked for; those without an error lie in `store`."""
        self.store = Path()
        self.seen, self.before, self.update = after, 0, 0
        self.ended, self.left = False, threading.Event()
        self.connection: Connection | None = None
        self.lock = threading.RLock()  # a signal's handler may leave while this thread sends
        self.heard = self.spoken = time.monotonic()

    # --- For the screen

    def take_knobs(self) -> None:
        self.outbox.put(wire.TakeKnobs())

    def fetch(self, path: str) -> None:
        """Asks for a clip's file; it comes to `arrived`."""
        self.outbox.put(wire.SendClip(path))

    def leave(self) -> None:
        """Ends `run` without an end of the session."""
        self.left.set()
        self.disconnect()

    # --- From start to end

    def open(self) -> None:
        """Connects for the first time, so that what cannot be is told at once.

        Errors: ValueError, one sentence.
        """
        try:
            self.connect()
        except Lost as why:
            raise ValueError(f"no session answers at {self.path}: {why}") from None
        except Over as why:
            raise ValueError(str(why)) from None

    def run(self) -> None:
        """Until the session ends, is gone, or is left."""
        threading.Thread(target=self.pass_on, name="commands", daemon=True).start()
        until = time.monotonic() + PATIENCE_SECONDS
        try:
            while not (self.ended or self.left.is_set()):
                try:
                    if self.connection is None:
                        self.connect()
                    self.listen()
                except Lost as why:
                    if self.link.connected:
                        until = time.monotonic() + PATIENCE_SECONDS
                    self.lost(str(why), until)
        except Over as why:
            self.end(str(why))
        finally:
            self.disconnect()
            self.outbox.put(None)

    def end(self, sentence: str) -> None:
        if not (self.ended or self.left.is_set()):
            self.ended = True
            self.emit(m.SessionEnded(self.update, "failed", sentence))

    def lost(self, why: str, until: float) -> None:
        """Waits before the next attempt; Over where there is to be none."""
        self.disconnect()
        self.link = replace(self.link, connected=False, holds=False, silent=False, why=why)
        if self.left.is_set():
            return
        if self.folder is not None and not address.alive(self.folder):
            raise Over(f"the session's process is gone; {self.go_on()}")
        if time.monotonic() > until:
            told = f"no word from the session for {PATIENCE_SECONDS:.0f} s: {why}"
            raise Over(f"{told}; where its process is gone, {self.go_on()}")
        self.left.wait(RETRY_SECONDS)

    def go_on(self) -> str:
        run = self.folder or Path("runs") / self.run_name
        return f"dlpo-tui run --resume {run} goes on"

    # --- The connection

    def connect(self) -> None:
        """Lost, or Over, where there is no session to be had."""
        hello = wire.Hello(wire.VERSION, self.name, self.watch, self.seen)
        made = Connection(self.path)
        with made.closed_on_failure():
            welcome = made.greet(hello)
            if self.session not in ("", welcome.session):
                raise Over(
                    "the session's process ended, and another goes on with the run; attach anew"
                )
        self.session, self.before, self.run_name = welcome.session, welcome.before, welcome.run
        self.name = welcome.name
        self.spoken = time.monotonic()
        with self.lock:
            self.connection = made
        self.link = replace(self.link, connected=True, why="")

    def disconnect(self) -> None:
        with self.lock:
            made, self.connection = self.connection, None
        if made is not None:
            made.close()

    def send(self, message: m.Command | wire.Request) -> bool:
        with self.lock:
            return self.connection is not None and self.connection.send(message)

    def pass_on(self) -> None:
        """Sends what is put into the box, in a thread of its own."""
        while (message := self.outbox.get()) is not None:
            if not self.send(message) and not self.ended:
                told = "there is no connection to the session just now: nothing was asked of it"
                self.refused(wire.Refused(told, refusable(message)))

    def listen(self) -> None:
        """What the session says, until it ends or the connection does."""
        made = self.connection
        if made is None:
            raise Lost("the connection was closed")
        for message in made.messages():
            self.heard = made.heard
            if message is None:
                self.glance()
            else:
                self.hear(message)
            if self.ended or self.left.is_set():
                return

    def glance(self) -> None:
        """How long nothing has come."""
        now = time.monotonic()
        silent = now - self.heard > SILENT_SECONDS
        self.link = replace(self.link, silent=silent, quiet_seconds=now - self.spoken)

    def hear(self, message: m.Event | wire.Told) -> None:
        match message:
            case wire.Audience(attached, holds, holder, owned):
                self.link = replace(
                    self.link, attached=attached, holds=holds, holder=holder, owned=owned
                )
            case wire.Beat(quiet):
                self.spoken = time.monotonic() - quiet
                self.glance()
            case wire.Refused():
                self.refused(message)
            case wire.ClipSent():
                self.keep(message)
            case wire.Farewell(sentence, may_return):
                raise (Lost if may_return else Over)(sentence)
            case wire.Welcome() | wire.CaughtUp():
                pass
            case _:
                self.happened(message)

    def happened(self, event: m.Event) -> None:
        """An event of the run; an end that was gone on from since is a line of the log."""
        self.spoken = self.heard
        if self.link.silent or self.link.quiet_seconds > SLOW_SECONDS:
            self.link = replace(self.link, silent=False, quiet_seconds=0.0)
        if not isinstance(event, m.PhaseProgressed):
            self.seen += 1
        match event:
            case m.SessionEnded(update, reason, error) if self.seen <= self.before:
                event = m.Noticed(update, "warning" if error else "info", error or reason)
            case m.SessionEnded():
                self.ended = True
            case m.UpdateFinished(update) | m.SessionResumed(update):
                self.update = update
        self.emit(event)

    def refused(self, message: wire.Refused) -> None:
        self.emit(m.CommandRefused(self.update, message.sentence, message.command))

    # --- Clips

    def keep(self, clip: wire.ClipSent) -> None:
        """Writes a clip that was sent below `store`; what it is called is the session's word."""
        if not clip.error:
            try:
                if wire.CLIP.fullmatch(clip.path) is None:
                    raise ValueError(f"the session sent {clip.path!r}, which is no clip")
                data = base64.b64decode(clip.data, validate=True)
                with replacing(self.store / clip.path) as temporary:
                    temporary.write_bytes(data)
            except (OSError, ValueError, binascii.Error) as error:
                clip = replace(clip, data="", error=f"{clip.path} cannot be kept: {error}")
        self.arrived.append(replace(clip, data=""))


def refusable(message: m.Command | wire.Request) -> str:
    """The kind of a command, as a refusal names it."""
    return "" if isinstance(message, m.SetKnobs) else type(message).__name__


def terminal_name(tty: int = 0) -> str:
    """What this terminal is called: user@host, and the number of its line where it has one."""
    user, line = str(os.getuid()), ""
    with suppress(OSError, KeyError):  # a user without a name, as in some containers
        user = getpass.getuser()
    with suppress(OSError):
        line = "/" + os.ttyname(tty).rpartition("/")[2]
    return wire.named(f"{user}@{socket.gethostname().partition('.')[0]}{line}")
