"""A snapshot cut to the updates that the charts show, and what one chart draws of it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import PurePath
from typing import Any, Literal, TypeAlias, TypeVar

from dlpo_tui import formats
from dlpo_tui.widgets.axis import Limits, Span
from dlpo_tui.widgets.series import Series, Shape, Wording
from engine.messages import Interval, Mark, Snapshot, UpdateStats

Evaluations: TypeAlias = tuple[tuple[int, dict[str, Interval | None]], ...]
Row = TypeVar("Row")

MARKS = {"checkpoint": "┴", "knob": "▲", "rollback": "◂", "alarm": "!"}
"""On the horizontal axis, the most important last: it is drawn over the others."""
LEAD = 100
"""Updates before the window that a moving average starts from: 0.9 ** 100 is nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one chart draws."""

    title: str
    series: tuple[Series, ...]
    across: Span
    """Updates, the horizontal axis."""
    marks: tuple[Mark, ...]
    limits: Limits
    """Of the left axis."""
    log: bool = False
    weight: float = 0.0
    """Of the past in the moving average; 0: none is drawn."""


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot cut to the updates in the window, and what leads up to it."""

    now: Snapshot
    updates: list[int]
    stats: list[UpdateStats]
    """Of each of the updates."""
    evaluations: Evaluations
    across: Span
    log: bool = False
    weight: float = 0.0

    def figure(self, title: str, *series: Series, limits: Limits | None = None) -> Figure:
        low, high = self.across.low, self.across.high
        marks = tuple(m for m in self.now.marks if low <= m.update <= high)
        return Figure(
            title, series, self.across, marks, limits or Limits(), self.log, self.weight
        )  # fmt: skip

    def line(
        self,
        name: str,
        values: Sequence[float | None],
        axis: Literal["left", "right"] = "left",
        shape: Shape = "line",
        wording: Wording | None = None,
        brief: str = "",
    ) -> Series:
        """One number of every update."""
        return Series(
            name,
            self.updates,
            values,
            axis=axis,
            shape=shape,
            wording=wording or Wording(),
            brief=brief,
        )

    def read(self, field: str) -> list[Any]:
        """One field of every update's stats."""
        return list(map(attrgetter(field), self.stats))

    def told(self, field: str) -> list[float]:
        """A number of every update, NaN where nothing was finite: the engine then tells 0."""
        values = self.read(field)
        for i, stats in enumerate(self.stats if 0.0 in values else ()):
            if stats.skipped and values[i] == 0.0:
                values[i] = math.nan
        return values


def newest(now: Snapshot) -> int:
    """The last update that anything is known of."""
    return max(now.update, now.evaluations[-1][0] if now.evaluations else 0)


def view(now: Snapshot, across: Span, log: bool = False, weight: float = 0.0) -> View:
    """What a snapshot holds of the updates `across`, with one row more on either side."""
    history = cut(now.history, across, LEAD if weight else 1)
    return View(
        now,
        [update for update, _ in history],
        [stats for _, stats in history],
        cut(now.evaluations, across, 1),
        across,
        log,
        weight,
    )  # fmt: skip


def cut(rows: tuple[tuple[int, Row], ...], across: Span, lead: int) -> tuple[tuple[int, Row], ...]:
    """The rows of the updates `across`, `lead` more before them and one after."""
    first = bisect_left(rows, across.low, key=lambda row: row[0])
    last = bisect_right(rows, across.high, key=lambda row: row[0])
    return rows[max(first - lead, 0) : last + 1]


def happened(now: Snapshot, update: int | None) -> list[str]:
    """What is marked at an update, the most important first."""
    marks = [mark for mark in now.marks if mark.update == update]
    marks.sort(key=lambda mark: -list(MARKS).index(mark.kind))
    return [told(mark) for mark in marks]


def told(mark: Mark) -> str:
    text = formats.plain(mark.text)
    return f"saved {PurePath(text).stem}" if mark.kind == "checkpoint" else text
