"""Timed phones: the intervals themselves, MFA's TextGrids, and durations in frames.

Knows nothing of audio or of how an interval was found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.text import PAUSE, SILENCES
from engine.types import HOP

FRAMES_PER_SECOND = 22_050 / HOP
"""73.5, WaveGrad 2's conditioning frames."""

_VALUE = re.compile(
    r'"((?:[^"]|"")*)"'
    r"|<(exists|absent)>"
    r"|(?<![\w.\[])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.\]])"
)
"""A string, a flag or a number; the names between them in the long format are none of these."""


class AlignError(ValueError):
    """A recording that cannot be aligned; its message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Interval:
    phone: str
    """Stressed ARPAbet, or sp, spn, sil."""
    start_seconds: float
    end_seconds: float


def read_textgrid(path: Path) -> list[Interval]:
    """Returns the intervals of tier "phones" of a Praat TextGrid, long or short format.

    Pauses at both ends are dropped, those inside are kept; an empty label is "sp".

    Raises:
        AlignError: unreadable, no such tier, or no phone in it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AlignError(f"The TextGrid {path} cannot be read: {error.strerror}.") from error
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        tiers = _tiers(raw.decode(encoding))
    except (ValueError, IndexError) as error:
        raise AlignError(f"{path} is not a TextGrid that can be read.") from error
    if "phones" not in tiers:
        names = ", ".join(tiers) or "none"
        raise AlignError(f'The TextGrid {path} has no tier "phones"; its tiers: {names}.')
    intervals = without_edges(tiers["phones"])
    if not intervals:
        raise AlignError(f"The TextGrid {path} holds no phone.")
    return intervals


def durations(intervals: Sequence[Interval]) -> list[int]:
    """Frames of each interval: round(73.5 end) - round(73.5 start).

    Rounding the ends, not the lengths, keeps their sum that of the whole. A phone shorter
    than half a frame may get 0.
    """
    return [to_frames(i.end_seconds) - to_frames(i.start_seconds) for i in intervals]


def to_frames(seconds: float) -> int:
    """The nearest boundary between conditioning frames."""
    return round(seconds * FRAMES_PER_SECOND)


def without_edges(intervals: Sequence[Interval]) -> list[Interval]:
    """The intervals from the first phone to the last, pauses at both ends dropped."""
    real = [i for i, interval in enumerate(intervals) if interval.phone not in SILENCES]
    return list(intervals[real[0] : real[-1] + 1]) if real else []


def _tiers(text: str) -> dict[str, list[Interval]]:
    """Interval tiers by name. Both formats are the same values, the long one with names between."""
    values: list[str | float] = []
    for string, flag, number in _VALUE.findall(text):
        values.append(float(number) if number else flag or string.replace('""', '"'))
    if values[:2] != ["ooTextFile", "TextGrid"]:
        raise ValueError("not a TextGrid")
    count = _count(values, 5)
    at = 6
    tiers: dict[str, list[Interval]] = {}
    for _ in range(count):
        kind, name, size = str(values[at]), str(values[at + 1]), _count(values, at + 4)
        width = 3 if kind == "IntervalTier" else 2
        rows = [values[i : i + width] for i in range(at + 5, at + 5 + size * width, width)]
        if kind == "IntervalTier":
            tiers[name] = [
                Interval(str(label).strip() or PAUSE, float(start), float(end))
                for start, end, label in rows
            ]
            _require_contiguous(tiers[name])
        at += 5 + size * width
    return tiers


def _count(values: Sequence[str | float], at: int) -> int:
    """How many tiers or intervals follow; ValueError where it is no count, or past all values."""
    told = float(values[at])
    if not 0 <= told <= len(values) or told != int(told):
        raise ValueError("not as many as it says")
    return int(told)


def _require_contiguous(intervals: Sequence[Interval]) -> None:
    times = [time for i in intervals for time in (i.start_seconds, i.end_seconds)]
    if not all(0 <= time < math.inf for time in times):
        raise ValueError("a time that no recording has")
    ends = [intervals[0].start_seconds, *(interval.end_seconds for interval in intervals)]
    for interval, before in zip(intervals, ends, strict=False):
        if abs(interval.start_seconds - before) > 1e-3:
            raise ValueError("a gap between two intervals")
        if interval.end_seconds < interval.start_seconds:
            raise ValueError("an interval that ends before it starts")
