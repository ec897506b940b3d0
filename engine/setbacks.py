"""Updates that went wrong: how many in a row, and how often the session went back because of them.

Knows no weights. The same numbers come out of a journal's fold, so that a session that was killed
counts on.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.messages import RolledBack

MAX_SKIPPED = 3
"""Updates in a row that left the weights alone, after which the session goes back."""
MAX_ROLLBACKS = 3
"""How often it goes back without getting past where it had been, before it ends."""


class SessionError(RuntimeError):
    """Why a session cannot go on; one sentence."""


@dataclass(slots=True)
class Setbacks:
    skipped: int = 0
    """Updates in a row that left the weights alone."""
    undone: tuple[RolledBack, ...] = ()
    """Since the session last got past where it had been."""

    def count(self, update: int, skipped: int) -> bool:
        """Takes in a finished update; True where the session has to go back.

        Raises:
            SessionError: it has gone back too often already.
        """
        self.skipped = self.skipped + 1 if skipped else 0
        if not skipped and all(update > one.reached for one in self.undone):
            self.undone = ()
        if self.skipped < MAX_SKIPPED:
            return False
        if len(self.undone) == MAX_ROLLBACKS:
            raise SessionError(
                f"{MAX_SKIPPED} updates in a row had a loss or gradient that is not finite, after "
                f"the session had gone back {MAX_ROLLBACKS} times and halved the learning rate; "
                "the weights are those before them. Lower the learning rate"
            )
        return True

    def went_back(self, event: RolledBack) -> None:
        self.skipped, self.undone = 0, (*self.undone, event)
