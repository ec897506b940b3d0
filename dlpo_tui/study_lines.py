"""What a study says while its runs are at work: lines for a log, and how far all of them are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from dlpo_tui.children import Outcome
from dlpo_tui.formats import duration, number
from engine import messages as m

TENTHS = 10
"""Lines a run has in a log, beside its first and its last."""


class StudyLines:
    """Folds the events of several runs; says a line for what a reader of a log would miss."""

    def __init__(
        self,
        updates: Mapping[str, int],
        say: Callable[[str], None],
        advance: m.Progressing = lambda done, total, at: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`updates`: run -> how many it is to have; `say` and `advance` are what shows them."""
        self.updates, self.say, self.advance, self.clock = updates, say, advance, clock
        self.done = dict.fromkeys(updates, 0)
        self.working: dict[str, str] = {}
        self.had, self.began = 0, clock()
        self.ended = 0

    def hear(self, run: str, event: m.Event) -> None:
        match event:
            case m.PhaseEntered(_, phase):
                if run not in self.working:
                    self.say(f"{run}  begins")
                self.working[run] = phase
            case m.Noticed(_, "warning", sentence):
                self.say(f"{run}  {sentence}")
            case m.AlarmRaised(update, sentence):
                self.say(f"{run}  update {update}: {sentence}")
            case m.SessionResumed(update):
                self.done[run] = update
                self.had += update
                self.say(f"{run}  goes on after update {update}")
            case m.RolledBack(update, _, sentence):
                self.done[run] = update
                self.say(f"{run}  {sentence}")
            case m.MicrobatchHalved(_, _, _, sentence) | m.MicrobatchMeasured(_, _, _, sentence):
                self.say(f"{run}  {sentence}")
            case m.UpdateFinished(update, stats):
                self.done[run] = update
                if self.due(update, self.updates[run]):
                    self.say(self.line(run, update, stats))
        self.show()

    def left(self, run: str, done: Outcome) -> None:
        """What became of a run."""
        self.ended += 1
        self.working.pop(run, None)
        count = f"{self.ended} of {len(self.updates)} runs"
        if done.finished:
            self.say(f"{run}  finished  ({count})")
        else:
            self.say(
                f"{run}  failed: {done.sentence}  ({count})" if done.sentence else f"{run}  stopped"
            )
        self.show()

    def due(self, update: int, total: int) -> bool:
        """The first update, the last one, and each tenth between."""
        return update in (1, total) or update * TENTHS // total > (update - 1) * TENTHS // total

    def line(self, run: str, update: int, stats: m.UpdateStats) -> str:
        reward = f"  reward {number(stats.reward.mean, 3)}" if stats.reward else ""
        return f"{run}  update {update} of {self.updates[run]}{reward}{self.rest()}"

    def rest(self) -> str:
        """How long the rest takes if it goes on as since this call began."""
        total, done = sum(self.updates.values()), sum(self.done.values())
        here, spent = done - self.had, self.clock() - self.began
        return f"  about {duration(spent / here * (total - done))} left" if here else ""

    def show(self) -> None:
        at = ", ".join(f"{run} {phase}" for run, phase in self.working.items())
        self.advance(sum(self.done.values()), sum(self.updates.values()), at)
