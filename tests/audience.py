"""A session that does as it is told, served behind its socket; and a terminal of plain lines."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from engine import messages as m
from engine import wire
from engine.attached import Attachment
from engine.journal import Journal
from engine.serving import Server

PATIENCE_SECONDS = 30.0
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")  # another package is called so, too
from audience import Played
played = Played(Path(sys.argv[1]))
played.happen(*played.some(3))
print("ready", flush=True)
sys.stdin.read()
"""
"""A served session in a process of its own, which lives until it is killed or its input ends."""


class Played:
    """Events into the journal and to the server, as a session hands them on."""

    def __init__(self, folder: Path, **options: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options = folder, options
        self.server = Server(folder, **options)  # type: ignore[arg-type]
        self.journal = Journal(folder)
        self.commands: SimpleQueue[m.Command] = SimpleQueue()
        self.server.obeyed_by(self.commands.put)

    def happen(self, *events: m.Event) -> None:
        for event in events:
            if not isinstance(event, m.PhaseProgressed):
                self.journal.write(event)
            self.server.emit(event)

    def some(self, count: int, first: int = 0) -> list[m.Event]:
        return [m.Noticed(0, "info", f"event {first + i}") for i in range(count)]

    def end(self) -> None:
        self.server.close()
        self.journal.close()


class Watching:
    """An attachment in a thread, and everything that it was told."""

    def __init__(self, played: Played, name: str = "ann@here", watch: bool = False) -> None:
        self.events: list[m.Event] = []
        self.attachment = Attachment(played.server.path, played.folder, name, watch)
        self.attachment.emit = self.events.append
        self.attachment.open()
        self.thread = threading.Thread(target=self.attachment.run, daemon=True)
        self.thread.start()

    @property
    def kept(self) -> list[m.Event]:
        """Without what a journal does not have."""
        passing = m.PhaseProgressed | m.CommandRefused
        return [event for event in self.events if not isinstance(event, passing)]

    def until(self, so: Callable[[], bool]) -> None:
        until(so, lambda: f"{self.attachment.link}\n{self.events[-5:]}")

    def leave(self) -> None:
        self.attachment.leave()
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive()


class Raw:
    """A terminal that says whatever bytes it likes."""

    def __init__(self, path: Path, hello: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        if hello:
            self.say(wire.line(wire.Hello(wire.VERSION, "raw")))
            assert isinstance(self.next(), wire.Welcome)

    def say(self, text: bytes) -> None:
        self.socket.sendall(text)

    def next(self) -> m.Event | wire.Told | None:
        """The next line; None at the end."""
        line = self.file.readline()
        return wire.told(line) if line else None

    def find(self, kind: type) -> object:
        """The next line of a kind."""
        while (message := self.next()) is not None:
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} came")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def until(so: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    """Waits for what other threads and processes bring about."""
    last, wait = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while not so():
        assert time.monotonic() < last, told()
        wait.wait(0.005)


def lines_in(folder: Path) -> list[m.Event]:
    """The events of a journal, read without the reader that is tested elsewhere."""
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [m.from_json({k: v for k, v in r.items() if k not in wire.STAMPS}) for r in rows]  # type: ignore[misc]
