"""From a snapshot to figures: which charts there are and what each shows; draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from dlpo_tui import formats
from dlpo_tui.widgets.axis import Limits
from dlpo_tui.widgets.series import Series, Shape, Wording
from dlpo_tui.widgets.view import Figure, View
from engine.messages import Column, Interval, Snapshot

Intervals: TypeAlias = Sequence[Interval | None]

CALM = 1e-3
"""A spread of the log ratio below this is rounding, and is drawn as such."""
PHASES = {"rollout": "roll", "optimise": "opt", "score": "score"}
"""The phases of an update and their brief names, the longest first as a rule."""


@dataclass(frozen=True, slots=True)
class Builder:
    """A chart that is not computed before it is seen."""

    title: str
    build: Callable[[View], Figure]

    def __call__(self, seen: View) -> Figure:
        return self.build(seen)


def builders(now: Snapshot) -> list[Builder]:
    """The charts of a session, the most telling first: a small terminal shows these alone."""
    if now.started is None:
        return []
    judges = [scored(c) for c in now.started.judges]
    # With one reward, the reward's chart carries its evaluations already.
    # A reward that the reward's own chart evaluates needs no second chart.
    shown = [scored(c) for c in now.started.rewards if c.name != evaluated(now)]
    kl_known = any(stats.kl is not None for _, stats in now.history)
    return [
        Builder("reward", reward),
        *judges[:1],
        Builder("loss", loss),
        Builder("ratio", ratio),
        *([Builder("kl", divergence)] if kl_known else []),
        Builder("gradient", gradient),
        *judges[1:],
        *shown,
        Builder("phases", phases),
    ]


def scored(which: Column) -> Builder:
    return Builder(which.name, partial(column, which=which))


def reward(seen: View) -> Figure:
    """The reward of the rollouts with its interval, and of the evaluations."""
    rows = seen.read("reward")
    rollouts = Series(
        "reward",
        seen.updates,
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
        seen.line("loss", seen.told("loss")),
        seen.line("penalty", seen.read("penalty"), axis="right", shape="dashes"),
    )


def ratio(seen: View) -> Figure:
    """How far the probability ratios spread around 1; behind it, stacked, the shares clipped."""
    xs, lows, highs = seen.updates, seen.read("clip_low"), seen.read("clip_high")
    both = [low + high for low, high in zip(lows, highs, strict=True)]
    share = Wording("percent", 1)

    def area(name: str, brief: str, bottom: list[float], top: list[float]) -> Series:
        return Series(name, xs, top, bottom, top, "right", "area", share, brief)

    return seen.figure(
        "ratio",
        seen.line(
            "ratio spread", seen.read("ratio_spread"), wording=Wording(places=3), brief="ratio ±"
        ),
        area("clip↑", "↑", lows, both),
        area("↓", "↓", [0.0] * len(xs), lows),
        limits=Limits(0.0, reach=CALM),
    )


def gradient(seen: View) -> Figure:
    """The gradient's Euclidean norm before clipping."""
    line = seen.line("gradient norm", seen.told("grad_norm"), brief="gradient")
    return seen.figure("gradient", line, limits=Limits(0.0))


def divergence(seen: View) -> Figure:
    """KL(policy || reference), nats summed over a clip."""
    line = seen.line("kl to the start", seen.read("kl"), wording=Wording(unit="nats"), brief="kl")
    return seen.figure("kl", line, limits=Limits(0.0))


def phases(seen: View) -> Figure:
    """Wall time of each phase of an update, seconds."""
    known = {name for stats in seen.stats[-1:] for name in stats.seconds}
    names = [*PHASES, *sorted(known - PHASES.keys())]
    shapes: tuple[Shape, ...] = ("line", "dashes", "dots")
    lines = [
        seen.line(
            name,
            [stats.seconds.get(name) for stats in seen.stats],
            shape=shapes[min(i, 2)],
            wording=Wording(places=3, unit="s"),
            brief=PHASES.get(name, ""),
        )
        for i, name in enumerate(names)
    ]
    return seen.figure("phases", *lines, limits=Limits(0.0))


def means(intervals: Intervals) -> list[float | None]:
    return [i.mean if i else None for i in intervals]


def lows(intervals: Intervals) -> list[float | None]:
    return [i.low if i else None for i in intervals]


def highs(intervals: Intervals) -> list[float | None]:
    return [i.high if i else None for i in intervals]
