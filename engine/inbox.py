"""Commands on their way in: what acts at once, and what waits for the end of an update.

Rank 0 hears them; every rank takes them, at the same place of its work.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue

from engine import messages as m
from engine.distributed import ALONE, Ranks

AWAKE_SECONDS = 60.0
"""How long rank 0 lets the others wait for a command before it says that there is none yet: less
than their patience, after which they would take it for lost."""


class Inbox:
    """Pause, resume and stop act where they are heard; the rest waits, in order."""

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self.queue: SimpleQueue[m.Command] = SimpleQueue()
        """Filled by other threads, and read on rank 0."""
        self.waiting: deque[m.Command] = deque()
        self.paused = self.single = self.stopping = False
        self.keeping = True
        """Whether a Stop asked to save."""

    def hear(self) -> None:
        """Takes every command that has come."""
        heard: list[m.Command] = []
        while self.ranks.leads and not self.queue.empty():
            heard.append(self.queue.get())
        for command in self.ranks.agree(heard):
            self.take(command)

    def wait(self) -> None:
        """Blocks for the next command."""
        heard: list[m.Command] = []
        while not heard:
            with suppress(Empty):
                if self.ranks.leads:
                    heard = [self.queue.get(timeout=AWAKE_SECONDS)]
            heard = self.ranks.agree(heard)
        self.take(heard[0])

    def take(self, command: m.Command) -> None:
        match command:
            case m.Pause():
                self.paused = True
            case m.Resume():
                self.paused = self.single = False
            case m.SingleUpdate():
                self.paused, self.single = False, True
            case m.Stop(save):
                self.stopping, self.keeping = True, save
            case _:
                self.waiting.append(command)

    def harmless(self) -> m.Command | None:
        """Takes out the next that may be obeyed even within an update: it changes nothing."""
        for command in self.waiting:
            if isinstance(command, m.RenderStart):
                self.waiting.remove(command)
                return command
        return None

    def update_done(self) -> None:
        """After the one update a SingleUpdate asked for: pause."""
        if self.single:
            self.single, self.paused = False, True

    def asked_to_save(self) -> str | None:
        """Label of the last snapshot still asked for; None where none is."""
        labels = [c.label for c in self.waiting if isinstance(c, m.SaveCheckpoint)]
        return labels[-1] or "snapshot" if labels else None
