"""In which order the clips stand, which of them stand out, and what has changed; draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.messages import Clip, Column, SessionStarted, Snapshot

NEWEST = "update"


@dataclass(frozen=True, slots=True)
class Order:
    """The column that clips are sorted by."""

    name: str = NEWEST
    reverse: bool = False
    """The other way round than the column's own."""

    def falls(self, started: SessionStarted | None) -> bool:
        """True where the highest value comes first: best first, longest first; but words by a-z."""
        if self.name in ("prompt", "speaker"):
            return self.reverse
        column = next((c for c in scored(started) if c.name == self.name), None)
        rises = column is not None and column.higher_is_better is False
        return rises == self.reverse


def names(started: SessionStarted | None) -> list[str]:
    """The columns that clips can be sorted by, as they stand in the table."""
    scores = [column.name for column in scored(started)]
    others = [name for name in scores if name not in ("reward", "advantage")]
    return [NEWEST, "prompt", "speaker", "seconds", "reward", *others, "advantage"]


def scored(started: SessionStarted | None) -> tuple[Column, ...]:
    return (*started.rewards, *started.judges) if started else ()


def following(order: Order, started: SessionStarted | None) -> Order:
    """The next column, in its own direction."""
    known = names(started)
    at = known.index(order.name) if order.name in known else -1
    return Order(known[(at + 1) % len(known)])


def arranged(
    clips: Sequence[Clip],
    order: Order,
    passes: Callable[[Clip], bool],
    started: SessionStarted | None,
) -> list[Clip]:
    """The clips that pass, in order; of equals the newest first, what has no value last."""
    rows = [clip for clip in reversed(clips) if passes(clip)]
    if order.name == NEWEST:
        return rows[::-1] if order.reverse else rows
    read, falls = reader(order.name), order.falls(started)
    known = [(value, clip) for clip in rows if (value := read(clip)) is not None]
    missing = [clip for clip in rows if read(clip) is None]
    known.sort(key=lambda pair: pair[0], reverse=falls)
    return [clip for _, clip in known] + missing


def reader(name: str) -> Callable[[Clip], float | str | None]:
    """From a clip to its value in a column."""
    if name in ("prompt", "speaker"):
        return lambda clip: getattr(clip, name).lower()
    if name in ("seconds", "reward", "advantage"):
        return lambda clip: getattr(clip, name)
    return lambda clip: clip.scores.get(name)


# --- The clips that stand out ---


def value(clip: Clip) -> float | None:
    """What makes a clip good: its reward, or its first score where it has none."""
    return clip.reward if clip.reward is not None else next(iter(clip.scores.values()), None)


def best(clips: Sequence[Clip], worst: bool = False) -> Clip | None:
    """The clip of the highest reward, or of the lowest."""
    known = [(clip.reward, clip) for clip in clips if clip.reward is not None]
    if not known:
        return None
    return (min if worst else max)(known, key=lambda pair: pair[0])[1]


def most_changed(clips: Sequence[Clip], now: Snapshot) -> tuple[Clip, float] | None:
    """The evaluation clip whose reward moved furthest since update 0, and by how much."""
    moved = []
    for clip in clips:
        start = first_of(clip, now)
        if start is None or clip.update == start.update:
            continue
        one, other = value(start), value(clip)
        if one is not None and other is not None:
            moved.append((clip, other - one))
    return max(moved, key=lambda pair: abs(pair[1]), default=None)


def first_of(clip: Clip, now: Snapshot) -> Clip | None:
    """The same prompt and noise at update 0; None where `clip` is no evaluation's."""
    if clip.kind != "evaluation":
        return None
    same = (c for c in now.first if (c.index, c.prompt) == (clip.index, clip.prompt))
    return next(same, None)
