"""From a snapshot to figures: which charts there are and what each shows; draws nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from dlpo_tui import formats
from dlpo_tui.widgets.plot import Series, Span
from engine.messages import Column, Interval, Mark, Snapshot, UpdateStats

History: TypeAlias = tuple[tuple[int, UpdateStats], ...]
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
    rewards = [partial(column, which=c) for c in now.started.rewards]
    shown = [] if len(rewards) == 1 else rewards
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
        [r and r.mean for r in rows],
        [r and r.low for r in rows],
        [r and r.high for r in rows],
        told=told,
    )
    columns = seen.now.started.rewards if seen.now.started else ()
    # The weighted sum where the engine gives it; a single column is the reward itself.
    name = columns[0].name if len(columns) == 1 else "reward"
    points = [(u, s.get("reward") or s.get(name)) for u, s in seen.evaluations]
    told = next((formats.score(p.mean, 3) for _, p in reversed(points) if p), "")
    evaluated = Series(
        "evaluated", [u for u, _ in points], [p and p.mean for _, p in points], shape="points"
    )
    if not told:
        return seen.figure("reward", rollouts)
    return seen.figure("reward", rollouts, told_as(evaluated, told))


def column(seen: View, which: Column) -> Figure:
    """One judge's or reward's scores on the fixed prompts, with their intervals."""
    rows = [(update, scores.get(which.name)) for update, scores in seen.evaluations]
    decimals = max(formats.column_decimals(which), 2)
    told = spread_told(rows[-1][1], decimals) if rows else ""
    unit = f" {which.unit}" if which.unit else ""
    better = "" if which.higher_is_better else " ↓ better"
    series = Series(
        f"{formats.plain(which.name)}{unit}",
        [update for update, _ in rows],
        [r and r.mean for _, r in rows],
        [r and r.low for _, r in rows],
        [r and r.high for _, r in rows],
        shape="joined",
        told=told + better,
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
    """The mean probability ratio on the left axis, the shares that were clipped on the right."""
    return seen.figure(
        "ratio",
        seen.line("ratio", lambda s: s.ratio),
        seen.line("clip high", lambda s: s.clip_high, axis="right", shape="dashes"),
        seen.line("low", lambda s: s.clip_low, axis="right", shape="dashes"),
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


def told_as(series: Series, told: str) -> Series:
    return Series(series.name, series.x, series.y, shape=series.shape, told=told)
