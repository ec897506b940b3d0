"""From a snapshot to figures: which charts there are and what each shows; draws nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from dlpo_tui import formats
from dlpo_tui.widgets.plot import Series, Span
from engine.messages import Column, Interval, Mark, Snapshot, UpdateStats

History: TypeAlias = tuple[tuple[int, UpdateStats], ...]
Intervals: TypeAlias = Sequence[Interval | None]
Evaluations: TypeAlias = tuple[tuple[int, dict[str, Interval | None]], ...]

SHORTEST = 10
"""Updates that an axis covers at least: two points are not stretched over the whole chart."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one chart draws."""

    title: str
    series: tuple[Series, ...]
    across: Span
    """Updates, the horizontal axis."""
    marks: tuple[Mark, ...]
    least: float | None = None
    """Where the left axis must start, where its unit has an end."""
    most: float | None = None


Builder: TypeAlias = Callable[["View"], Figure]


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot cut to the updates in the window."""

    now: Snapshot
    history: History
    evaluations: Evaluations
    across: Span

    def figure(
        self, title: str, *series: Series, least: float | None = None, most: float | None = None
    ) -> Figure:
        marks = tuple(m for m in self.now.marks if m.update >= self.across.low)
        return Figure(title, series, self.across, marks, least, most)

    def line(self, name: str, read: Callable[[UpdateStats], float | None], **more: str) -> Series:
        """One number of every update."""
        y = [read(stats) for _, stats in self.history]
        told = formats.number(y[-1]) if y else ""
        settings = {"told": told, **more}
        return Series(name, [update for update, _ in self.history], y, **settings)  # type: ignore[arg-type]


def view(now: Snapshot, window: int = 0) -> View:
    """The last `window` updates of a snapshot; 0: all."""
    last = max(now.update, now.evaluations[-1][0] if now.evaluations else 0)
    first = max(last - window, 0) if window else 0
    history = now.history[bisect_left(now.history, first, key=lambda row: row[0]) :]
    evaluations = now.evaluations[bisect_left(now.evaluations, first, key=lambda row: row[0]) :]
    return View(now, history, evaluations, Span(first, max(last, first + SHORTEST)))


def builders(now: Snapshot) -> list[Builder]:
    """The charts of a session, the most telling first: a small terminal shows these alone."""
    if now.started is None:
        return []
    judges = [partial(column, which=c) for c in now.started.judges]
    # With one reward, the reward's chart carries its evaluations already.
    # A reward that the reward's own chart evaluates needs no second chart.
    shown = [partial(column, which=c) for c in now.started.rewards if c.name != evaluated(now)]
    kl_known = any(stats.kl is not None for _, stats in now.history[-1:])
    return [
        reward,
        *judges[:1],
        loss,
        ratio,
        gradient,
        *judges[1:],
        *shown,
        *([divergence] if kl_known else []),
    ]


def reward(seen: View) -> Figure:
    """The reward of the rollouts with its interval, and of the evaluations."""
    xs = [update for update, _ in seen.history]
    rows = [stats.reward for _, stats in seen.history]
    told = spread_told(rows[-1], 3) if rows else ""
    rollouts = Series(
        "reward",
        xs,
        means(rows),
        lows(rows),
        highs(rows),
        told=told,
    )
    points = [(update, scores.get(evaluated(seen.now))) for update, scores in seen.evaluations]
    told = next((formats.score(p.mean, 3) for _, p in reversed(points) if p), "")
    marks = Series("eval", [u for u, _ in points], means([p for _, p in points]), shape="points")
    if not told:
        return seen.figure("reward", rollouts)
    return seen.figure("reward", rollouts, told_as(marks, told))


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
    rows = [(update, scores.get(which.name)) for update, scores in seen.evaluations]
    scores = [score for _, score in rows]
    decimals = max(formats.column_decimals(which), 2)
    told = spread_told(rows[-1][1], decimals) if rows else ""
    better = {True: " ↑", False: " ↓", None: ""}[which.higher_is_better]
    series = Series(
        f"{formats.plain(which.name)}{better}",
        [update for update, _ in rows],
        means(scores),
        lows(scores),
        highs(scores),
        shape="joined",
        told=f"{told} {which.unit}" if told else "",
    )
    return seen.figure(which.name, series, least=which.low, most=which.high)


def loss(seen: View) -> Figure:
    """The algorithm's loss on the left axis, the penalty on the right."""
    return seen.figure(
        "loss",
        seen.line("loss", lambda s: s.loss),
        seen.line("penalty", lambda s: s.penalty, axis="right", shape="dashes"),
    )


def ratio(seen: View) -> Figure:
    """The mean probability ratio; behind it, stacked, the shares that were clipped."""
    xs = [update for update, _ in seen.history]
    lows = [stats.clip_low for _, stats in seen.history]
    highs = [stats.clip_high for _, stats in seen.history]
    both = [low + high for low, high in zip(lows, highs, strict=True)]

    def area(name: str, bottom: list[float], top: list[float], share: list[float]) -> Series:
        told = f"{share[-1]:.1%}" if share else ""
        return Series(name, xs, top, bottom, top, axis="right", shape="area", told=told)

    told = formats.score(seen.history[-1][1].ratio, 3) if xs else ""
    return seen.figure(
        "ratio",
        seen.line("ratio", lambda s: s.ratio, told=told),
        area("clip↑", lows, both, highs),
        area("↓", [0.0] * len(xs), lows, lows),
    )


def gradient(seen: View) -> Figure:
    """The gradient's Euclidean norm before clipping."""
    return seen.figure("gradient", seen.line("gradient norm", lambda s: s.grad_norm), least=0.0)


def divergence(seen: View) -> Figure:
    """KL(policy || reference), nats per audio sample."""
    return seen.figure("kl", seen.line("kl to reference", lambda s: s.kl))


def spread_told(interval: Interval | None, decimals: int) -> str:
    """A mean with half the width of its interval: 3.412 ±0.051."""
    if interval is None:
        return "all failed"
    half = (interval.high - interval.low) / 2
    return f"{interval.mean:.{decimals}f} ±{half:.{decimals}f}"


def means(intervals: Intervals) -> list[float | None]:
    return [i.mean if i else None for i in intervals]


def lows(intervals: Intervals) -> list[float | None]:
    return [i.low if i else None for i in intervals]


def highs(intervals: Intervals) -> list[float | None]:
    return [i.high if i else None for i in intervals]


def told_as(series: Series, told: str) -> Series:
    return Series(series.name, series.x, series.y, shape=series.shape, told=told)
