"""The thread between engine and screen: events in, commands out; knows no widget.

The screen's side (`drain`, `send`, `join`) runs in the main thread, the session in one of
the bridge's own. Nothing here imports the engine's machinery: opening is the caller's.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

from dlpo_tui.collecting import spare_what_is_loaded
from engine.messages import (
    Command,
    CommandRefused,
    Event,
    SessionEnded,
    Snapshot,
    UpdateFinished,
    advance,
)

log = logging.getLogger(__name__)

PAINTED_SECONDS = 5.0
"""How long a session that loads behind the first paint waits for it at most."""
BEHIND_THE_SCREEN = 10
"""Niceness of the session's threads: on cores that training fills, a key would have to wait."""


class SessionLike(Protocol):
    """What can be bridged: a session in this process, one behind a socket, or a journal."""

    commands: SimpleQueue[Command]

    def run(self) -> None:
        """Works until it emits SessionEnded."""


class Bridge:
    """Runs a session in a daemon thread; folds its events into `now`."""

    def __init__(
        self,
        open_session: Callable[[Callable[[Event], None]], SessionLike],
        before: Snapshot | None = None,
        behind_first_paint: bool = False,
    ) -> None:
        """`open_session(emit)` may be slow (it loads models) and may raise.

        `before` is what has happened already, in a session that goes on. Loading takes the
        interpreter from the screen, so it may wait until `painted` is set.
        """
        self.painted = threading.Event()
        self._waits = behind_first_paint
        self.now = before or Snapshot()
        self.refusals: list[CommandRefused] = []
        """Those drained so far; a screen shows the sentence where the command was given."""
        self._open_session = open_session
        self._events: deque[Event] = deque()
        self._session: SessionLike | None = None
        self._early: list[Command] = []
        self._lock = threading.Lock()
        self._updates = 0
        self._ended = False
        # A daemon: a model that hangs while loading must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="session", daemon=True)
        self._thread.start()

    def send(self, command: Command) -> None:
        """Queues a command; before the session is open it waits here, in order."""
        with self._lock:
            if self._session is None:
                self._early.append(command)
            else:
                self._session.commands.put(command)

    def drain(self, seconds: float = math.inf) -> bool:
        """Folds what has arrived into `now`; True where anything had.

        After `seconds` it leaves the rest for the next call (`waiting` tells): a key pressed
        during a burst of events must not wait for the last of them.
        """
        now, until = self.now, time.monotonic() + seconds
        while self._events:
            event = self._events.popleft()
            if isinstance(event, CommandRefused):
                self.refusals.append(event)
            now = advance(now, event)
            if time.monotonic() > until:
                break
        changed = now is not self.now
        self.now = now
        return changed

    @property
    def waiting(self) -> int:
        """Events that no call of `drain` has taken yet."""
        return len(self._events)

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the session's thread; True where it has ended."""
        self.painted.set()  # there will be no first paint any more
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _emit(self, event: Event) -> None:
        if isinstance(event, UpdateFinished):
            if not self._updates:  # the first update has loaded what is loaded at first use
                spare_what_is_loaded()
            self._updates = event.update
        self._ended = self._ended or isinstance(event, SessionEnded)
        self._events.append(event)

    def _work(self) -> None:
        step_back()
        if self._waits:
            self.painted.wait(PAINTED_SECONDS)
        try:
            session = self._open_session(self._emit)
            spare_what_is_loaded()
            with self._lock:
                self._session = session
                for command in self._early:
                    session.commands.put(command)
                self._early.clear()
            session.run()
        # BaseException: a library that calls sys.exit must be told of, too.
        except BaseException as error:
            log.exception("the session failed")
            self._fail(sentence(error), self._session is None and of_input(error))
        else:
            self._fail("the session's thread returned without saying why it ended")

    def _fail(self, why: str, refused: bool = False) -> None:
        if not self._ended:
            self._emit(SessionEnded(self._updates, "failed", why, refused))


def step_back() -> None:
    """Lets the screen's thread run before this one and those that it starts, torch's among them.

    Where threads have a priority of their own (Linux), and where it may be changed.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND_THE_SCREEN)


def of_input(error: BaseException) -> bool:
    """Whether it is about what its user named: our own errors, and a disk's that we can mend."""
    from engine.files import MENDS

    return isinstance(error, ValueError) or (isinstance(error, OSError) and error.errno in MENDS)


def sentence(error: BaseException) -> str:
    """An exception in one line: its own words; its type's name where they need it."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    speaks_for_itself = isinstance(error, OSError | ValueError | RuntimeError)
    return lines[0] if speaks_for_itself else f"{type(error).__name__}: {lines[0]}"
