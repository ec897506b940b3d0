"""From a snapshot to figures: which charts there are and what each shows; draws nothing."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from dlpo_tui import formats
from dlpo_tui.widgets.plot import Span
from dlpo_tui.widgets.scaled import Limits
from dlpo_tui.widgets.series import Series, Shape, Wording
from engine.messages import Column, Interval, Mark, Snapshot, UpdateStats

History: TypeAlias = tuple[tuple[int, UpdateStats], ...]
Intervals: TypeAlias = Sequence[Interval | None]
Evaluations: TypeAlias = tuple[tuple[int, dict[str, Interval | None]], ...]
Row = TypeVar("Row")

LEAD = 100
"""Updates before the window that a moving average starts from: 0.9 ** 100 is nothing."""
CALM = 1e-3
"""A spread of the log ratio below this is rounding, and is drawn as such."""
PHASES = {"rollout": "roll", "optimise": "opt", "score": "score"}
"""The phases of an update and their brief names, the longest first as a rule."""


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


Builder: TypeAlias = Callable[["View"], Figure]


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot cut to the updates in the window, and what leads up to it."""

    now: Snapshot
    history: History
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
        read: Callable[[UpdateStats], float | None],
        axis: Literal["left", "right"] = "left",
        shape: Shape = "line",
        wording: Wording | None = None,
        brief: str = "",
    ) -> Series:
        """One number of every update."""
        return Series(
            name,
            [update for update, _ in self.history],
            [read(stats) for _, stats in self.history],
            axis=axis,
            shape=shape,
            wording=wording or Wording(),
            brief=brief,
        )


def newest(now: Snapshot) -> int:
    """The last update that anything is known of."""
    return max(now.update, now.evaluations[-1][0] if now.evaluations else 0)


def view(now: Snapshot, across: Span, log: bool = False, weight: float = 0.0) -> View:
    """What a snapshot holds of the updates `across`, with one row more on either side."""
    lead = LEAD if weight else 1
    return View(
        now,
        cut(now.history, across, lead),
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


def builders(now: Snapshot) -> list[Builder]:
    """The charts of a session, the most telling first: a small terminal shows these alone."""
    if now.started is None:
        return []
    judges = [partial(column, which=c) for c in now.started.judges]
    # With one reward, the reward's chart carries its evaluations already.
    # A reward that the reward's own chart evaluates needs no second chart.
    shown = [partial(column, which=c) for c in now.started.rewards if c.name != evaluated(now)]
    kl_known = any(stats.kl is not None for _, stats in now.history)
    return [
        reward,
        *judges[:1],
        loss,
        ratio,
        *([divergence] if kl_known else []),
        gradient,
        *judges[1:],
        *shown,
        phases,
    ]


def reward(seen: View) -> Figure:
    """The reward of the rollouts with its interval, and of the evaluations."""
    rows = [stats.reward for _, stats in seen.history]
    rollouts = Series(
        "reward",
        [update for update, _ in seen.history],
        means(rows),
        lows(rows),
        highs(rows),
        wording=Wording("decimals", 3, interval=True, missing="all failed"),
    )
    points = [(update, scores.get(evaluated(seen.now))) for update, scores in seen.evaluations]
    known = [(update, score) for update, score in points if score]
    if not known:
        return seen.figure("reward", rollouts)
    marks = Series(
        "eval",
        [update for update, _ in known],
        means([score for _, score in known]),
        shape="points",
        wording=Wording("decimals", 3),
    )
    return seen.figure("reward", rollouts, marks)


def evaluated(now: Snapshot) -> str:
    """The evaluations' column on the reward's scale: the sum, or a reward that is all of it."""
    columns = now.started.rewards if now.started else ()
    name = columns[0].name if len(columns) == 1 else ""
    for clip in reversed(now.clips):
        if name and clip.reward is not None:
            # A weight other than 1 puts the column on another scale than the reward.
            return name if clip.scores.get(name) == clip.reward else "reward"
    return name or "reward"


def column(seen: View, which: Column) -> Figure:
    """One judge's or reward's scores on the fixed prompts, with their intervals."""
    scores = [scores.get(which.name) for _, scores in seen.evaluations]
    places = max(formats.column_decimals(which), 2)
    better = {True: " ↑", False: " ↓", None: ""}[which.higher_is_better]
    series = Series(
        f"{formats.plain(which.name)}{better}",
        [update for update, _ in seen.evaluations],
        means(scores),
        lows(scores),
        highs(scores),
        shape="joined",
        wording=Wording("decimals", places, which.unit, interval=True, missing="all failed"),
    )
    return seen.figure(which.name, series, limits=Limits(which.low, which.high))


def loss(seen: View) -> Figure:
    """The algorithm's loss on the left axis, the penalty on the right."""
    return seen.figure(
        "loss",
        seen.line("loss", lambda s: told_by(s, s.loss)),
        seen.line("penalty", lambda s: s.penalty, axis="right", shape="dashes"),
    )


def ratio(seen: View) -> Figure:
    """How far the probability ratios spread around 1; behind it, stacked, the shares clipped."""
    xs = [update for update, _ in seen.history]
    lows = [stats.clip_low for _, stats in seen.history]
    highs = [stats.clip_high for _, stats in seen.history]
    both = [low + high for low, high in zip(lows, highs, strict=True)]
    share = Wording("percent", 1)

    def area(name: str, brief: str, bottom: list[float], top: list[float]) -> Series:
        return Series(name, xs, top, bottom, top, "right", "area", share, brief)

    return seen.figure(
        "ratio",
        seen.line(
            "ratio spread", lambda s: s.ratio_spread, wording=Wording(places=3), brief="ratio ±"
        ),
        area("clip↑", "↑", lows, both),
        area("↓", "↓", [0.0] * len(xs), lows),
        limits=Limits(0.0, reach=CALM),
    )


def gradient(seen: View) -> Figure:
    """The gradient's Euclidean norm before clipping."""
    line = seen.line("gradient norm", lambda s: told_by(s, s.grad_norm), brief="gradient")
    return seen.figure("gradient", line, limits=Limits(0.0))


def divergence(seen: View) -> Figure:
    """KL(policy || reference), nats summed over a clip."""
    line = seen.line("kl to the start", lambda s: s.kl, wording=Wording(unit="nats"), brief="kl")
    return seen.figure("kl", line, limits=Limits(0.0))


def phases(seen: View) -> Figure:
    """Wall time of each phase of an update, seconds."""
    known = {name for _, stats in seen.history[-1:] for name in stats.seconds}
    names = [*PHASES, *sorted(known - PHASES.keys())]
    shapes: tuple[Shape, ...] = ("line", "dashes", "dots")
    lines = [
        seen.line(
            name,
            partial(seconds_of, phase=name),
            shape=shapes[min(i, 2)],
            wording=Wording(places=3, unit="s"),
            brief=PHASES.get(name, ""),
        )
        for i, name in enumerate(names)
    ]
    return seen.figure("phases", *lines, limits=Limits(0.0))


def seconds_of(stats: UpdateStats, phase: str) -> float | None:
    return stats.seconds.get(phase)


def told_by(stats: UpdateStats, value: float) -> float:
    """The value, or NaN where the engine had nothing finite to tell: it then tells 0."""
    return math.nan if stats.skipped and value == 0.0 else value


def means(intervals: Intervals) -> list[float | None]:
    return [i.mean if i else None for i in intervals]


def lows(intervals: Intervals) -> list[float | None]:
    return [i.low if i else None for i in intervals]


def highs(intervals: Intervals) -> list[float | None]:
    return [i.high if i else None for i in intervals]
