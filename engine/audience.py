"""Those attached to one session: one has the knobs and is obeyed, the others watch.

Runs in the serving thread's event loop, but for `obeyed_by`. Knows neither sockets nor events.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine import messages as m
from engine import wire
from engine.guest import Guest


class Audience:
    """Who is here, and what is done with what they ask for."""

    def __init__(
        self, folder: Path, owner: str, changed: Callable[[tuple[str, ...], str], None]
    ) -> None:
        """`owner`: who keeps the knobs; empty: nobody. `changed` is told the names, and whose."""
        self.folder, self.owner, self.changed = folder, owner, changed
        self.guests: list[Guest] = []
        self.holder: Guest | None = None
        self.send: m.Send | None = None
        self.early: list[m.Command] = []
        self.lock = threading.Lock()

    def obeyed_by(self, send: m.Send) -> None:
        """Commands go there from now on; those that came before go first."""
        with self.lock:
            for command in self.early:
                send(command)
            self.send = send

    def welcome(self, guest: Guest, watch: bool) -> None:
        """Takes one in; it gets the knobs where nobody has them, unless it only wants to watch."""
        self.guests.append(guest)
        if not watch and self.holder is None and not self.owner:
            self.holder = guest
        self.announce()

    def forget(self, guest: Guest) -> None:
        if guest in self.guests:
            self.guests.remove(guest)
            if self.holder is guest:
                self.holder = None
            self.announce()

    def hear(self, guest: Guest, message: m.Command | wire.Request) -> None:
        match message:
            case wire.Hello():
                raise ValueError("a terminal says Hello once")
            case wire.TakeKnobs():
                self.hand_over(guest)
            case wire.SendClip(path):
                guest.tell(self.clip(path, guest.most // 2 - guest.size))
            case _:
                self.pass_on(guest, message)

    def hand_over(self, guest: Guest) -> None:
        if self.owner:
            told = f"{self.owner} keeps the knobs: the session runs in it"
            guest.tell(wire.Refused(told, wire.TakeKnobs.__name__))
            return
        self.holder = guest
        self.announce()

    def pass_on(self, guest: Guest, command: m.Command) -> None:
        """A command of the one who has the knobs, with who it was; anybody else is told why not."""
        kind = type(command).__name__
        if guest is not self.holder:
            who = self.owner or (self.holder.name if self.holder else "nobody")
            told = f"{kind} was not taken: this terminal watches, {who} has the knobs"
            guest.tell(wire.Refused(told, "" if isinstance(command, m.SetKnobs) else kind))
            return
        if isinstance(command, m.SetKnobs):
            undone = command.who.startswith(wire.UNDO)
            command = replace(command, who=f"{wire.UNDO * undone}{guest.name}")
        with self.lock:
            if self.send is None:
                self.early.append(command)
            else:
                self.send(command)

    def announce(self) -> None:
        """Tells everyone who is here and who has the knobs."""
        holder = self.owner or (self.holder.name if self.holder else "")
        names = tuple(guest.name for guest in self.guests)
        for guest in self.guests:
            holds = guest is self.holder
            guest.tell(wire.Audience(len(names), holds, holder, bool(self.owner)))
        self.changed(names, holder)

    def clip(self, path: str, room: int) -> wire.ClipSent:
        """A file below samples/, never anything else."""
        if wire.CLIP.fullmatch(path) is None:
            return wire.ClipSent(path[: wire.LONGEST_NAME], error="no clip lies there")
        try:
            # A link could lead out of the folder.
            handle = os.open(self.folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(handle, "rb") as file:
                data = file.read(wire.LONGEST_CLIP + 1)
        except OSError as error:
            return wire.ClipSent(path, error=f"{path} cannot be read ({error.strerror})")
        if len(data) > wire.LONGEST_CLIP:
            return wire.ClipSent(path, error=f"{path} is larger than {wire.LONGEST_CLIP} bytes")
        sent = base64.b64encode(data).decode()
        if len(sent) > room:
            return wire.ClipSent(path, error="too much waits for this terminal; ask again")
        return wire.ClipSent(path, sent)
