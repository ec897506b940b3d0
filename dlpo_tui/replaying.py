"""A journal in the place of a session: the same snapshots, from a run's folder; no torch.

Stands where a bridge stands. A daemon thread reads and folds, so that a long journal freezes
nothing; then any update can be gone back to.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dlpo_tui.bridge import sentence
from dlpo_tui.collecting import spare_what_is_loaded
from engine import messages as m
from engine.address import held

log = logging.getLogger(__name__)

KEYFRAMES = 16
"""Frames from one snapshot that is kept to the next."""
CHUNK = 250
"""Events from one word of progress to the next."""
REFUSED = "a replay obeys no commands"


@dataclass(frozen=True, slots=True)
class Film:
    """A whole journal in frames: one before each update, and the end."""

    events: tuple[m.Event, ...]
    cuts: tuple[int, ...]
    """By frame: how many events it holds."""
    updates: tuple[int, ...]
    """By frame: finished updates."""
    keys: tuple[m.Snapshot, ...]
    """Snapshots of frames 0, KEYFRAMES, 2 KEYFRAMES ..."""
    end: m.Snapshot

    @property
    def last(self) -> int:
        return len(self.cuts) - 1

    def frame(self, number: int) -> m.Snapshot:
        """What the screen showed then."""
        if number == self.last:
            return self.end
        key = number // KEYFRAMES
        now = self.keys[key]
        for event in self.events[self.cuts[key * KEYFRAMES] : self.cuts[number]]:
            now = m.advance(now, event)
        return now

    def frame_of(self, update: int) -> int:
        """The last frame with so many finished updates; ValueError, one sentence."""
        found = [at for at, done in enumerate(self.updates) if done == update]
        if not found:
            raise ValueError(
                f"this run has finished {max(self.updates)} updates, so there is no update "
                f"{update} to show; --at takes 0 to {max(self.updates)}"
            )
        return found[-1]


def shoot(folder: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> Film:
    """Reads and folds a run's journal; `tell(done, total)` counts events.

    Errors: JournalError, one sentence, for a folder without a journal, or a broken one. A torn
    last line is left out.
    """
    from engine import journal

    rows = journal.events(folder)
    events: list[m.Event] = []
    cuts: list[int] = []
    updates: list[int] = []
    keys: list[m.Snapshot] = []
    now = m.Snapshot()

    def mark() -> None:
        if len(cuts) % KEYFRAMES == 0:
            keys.append(now)
        cuts.append(len(events))
        updates.append(now.update)

    total = lines_of(folder)
    for event in rows:
        if isinstance(event, m.PhaseEntered) and event.phase == "rollout":
            mark()
        events.append(event)
        now = m.advance(now, event)
        if len(events) % CHUNK == 0:
            tell(len(events), total)
    if not events:
        raise journal.JournalError(f"the journal of {folder} is empty: its session never began")
    if now.ended is not None and now.ended.refused:
        now = replace(now, ended=replace(now.ended, refused=False))
    if len(cuts) > 1 and updates[-1] == now.update:
        cuts[-1] = len(events)  # an update that never finished is part of the end
    else:
        mark()
    return Film(tuple(events), tuple(cuts), tuple(updates), tuple(keys), now)


def lines_of(folder: Path) -> int:
    """Lines of a run's journal; 0 where there is none."""
    try:
        return (folder / "events.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def at_work(folder: Path) -> bool:
    """Whether a session holds the run's journal open to write to it."""
    return held(folder / "events.jsonl")


def verdict(now: m.Snapshot, folder: Path) -> str:
    """How the run ended, in a few words; what to do where it was cut off."""
    done = f"{now.update} update{'' if now.update == 1 else 's'}"
    if now.ended is not None:
        why = f": {now.ended.error}" if now.ended.error else ""
        return f"{now.ended.reason} after {done}{why}"
    if at_work(folder):
        return f"at work in another process, {done} so far"
    states = folder / "resume"
    if not (states / "start.safetensors").is_file() or not any(states.glob("update-*")):
        return f"cut off after update {now.update}, with nothing saved to go on from"
    return f"cut off after update {now.update}; dlpo-tui run --resume {folder} goes on"


class Replay:
    """Stands where a bridge does: `now`, `send`, `drain`, `join`, `painted`; and `step`s."""

    def __init__(self, folder: Path, at: int | None = None) -> None:
        """`at`: the update to show first; None: the end."""
        self.folder, self.at = folder, at
        self.now = m.Snapshot()
        self.refusals: list[m.CommandRefused] = []
        self.waiting = False
        """Nothing is ever left to be drained."""
        self.painted = threading.Event()
        """Set by the app; a journal is read without waiting for it."""
        self.verdict = ""
        self.error = ""
        """Why there is nothing to show; one sentence."""
        self.film: Film | None = None
        self.number = 0
        """Of the frame that is shown."""
        self._read: tuple[int, int] = (0, 0)
        self._shown: tuple[int, int] = (0, 0)
        self._ready: tuple[Film, str] | None = None
        self._thread = threading.Thread(target=self._work, name="replay", daemon=True)
        self._thread.start()

    def send(self, command: m.Command) -> None:
        """Refuses it."""
        self.refusals.append(m.CommandRefused(self.now.update, REFUSED))

    def drain(self, seconds: float | None = None) -> bool:
        """Takes over what has been read; True where anything is new."""
        del seconds  # folding is done in the thread
        if self._ready is not None and self.film is None:
            self.film, self.verdict = self._ready
            try:
                self.number = self.film.last if self.at is None else self.film.frame_of(self.at)
            except ValueError as error:
                self.error = str(error)
                return False
            self.now = self.film.frame(self.number)
            return True
        if self.film is None and self._read != self._shown:
            self._shown = self._read
            done, total = self._shown
            told = f"reading the journal: {done:,} of {total:,} events"
            self.now = m.Snapshot(progress=self._shown, log=(m.Line(0, "info", told),))
            return True
        return False

    def step(self, by: int) -> None:
        """Shows the frame so many updates on, or back where negative."""
        if self.film is not None:
            self.number = min(max(self.number + by, 0), self.film.last)
            self.now = self.film.frame(self.number)

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        def tell(done: int, total: int) -> None:
            self._read = done, total

        try:
            film = shoot(self.folder, tell)
            spare_what_is_loaded()
            self._ready = film, verdict(film.end, self.folder)
        # BaseException: what ends a thread must be told of.
        except BaseException as error:
            log.exception("the journal could not be replayed")
            self.error = sentence(error)
