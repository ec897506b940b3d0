"""Which rows of a journal the fold of the whole of it depends on: of a long one, few.

Most of a journal are clips that a snapshot no longer holds, and phases that are over. Reads the
beginnings of rows alone, as `engine.journal` writes them; what begins otherwise is needed. Standard
library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from engine.messages import KEPT_CLIPS

BEGINNING = re.compile(rb'\{"at": "[^"]*", "kind": "(\w+)", "update": (\d+)')


def needed(lines: Sequence[bytes]) -> list[bool]:
    """For each row, whether the fold of all rows would be another without it.

    From the end backwards: a phase, where it is not the last one; an update's clips, where at
    least `KEPT_CLIPS` of later rows are still held, those of update 0 aside. What a resumed
    session, or one that went back, has lost again does not count as held.
    """
    kept = [True] * len(lines)
    phase_known, held, lost_after = False, 0, float("inf")
    counted: set[tuple[int, bool]] = set()
    for at in range(len(lines) - 1, -1, -1):
        found = BEGINNING.match(lines[at])
        if found is None:
            continue
        kind, update = found[1], int(found[2])
        if kind in (b"SessionResumed", b"RolledBack"):
            lost_after = min(lost_after, update)
        elif kind == b"PhaseEntered":
            kept[at], phase_known = not phase_known, True
        elif kind == b"ClipsScored":
            kept[at] = update == 0 or held < KEPT_CLIPS
            batch = update, b'"kind": "evaluation"' in lines[at]
            if batch not in counted and update <= lost_after:  # said again, it is held once
                counted.add(batch)
                held += lines[at].count(b'"index": ')
    return kept
