"""A curve before it is drawn: its numbers, its name, and how a title tells one of them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dlpo_tui import formats

Value: TypeAlias = float | None
Shape: TypeAlias = Literal["line", "dashes", "dots", "points", "joined", "area"]
Strength: TypeAlias = Literal["full", "faint", "tint"]
ROLES = ("first", "second", "third")
"""The inks of a chart's curves, in their order."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How a value is told."""

    style: Literal["digits", "decimals", "percent"] = "digits"
    places: int = 4
    """Significant digits, or decimals."""
    unit: str = ""
    interval: bool = False
    """The half width of the band stands behind it: 3.412 ±0.051."""
    missing: str = formats.MISSING

    def number(self, value: float) -> str:
        if self.style == "percent":
            return f"{value:.{self.places}%}"
        if self.style == "decimals":
            return formats.score(value, self.places)
        return formats.number(value, self.places)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: ascending x, and y with gaps where a value is None or not finite."""

    name: str
    x: Sequence[float]
    y: Sequence[Value]
    low: Sequence[Value] = ()
    """The band's lower edge, one a point; empty: no band."""
    high: Sequence[Value] = ()
    axis: Literal["left", "right"] = "left"
    shape: Shape = "line"
    """joined: points and a line through them; area: the band alone."""
    wording: Wording = Wording()
    brief: str = ""
    """The name where there is little room; empty: the name."""

    @property
    def smooths(self) -> bool:
        """A number of every update is noise around a trend; an evaluation is the thing itself."""
        return self.shape in ("line", "dashes", "dots")

    def index(self, at: float | None) -> int:
        """The last point at or before `at`, or of all; -1: there is none."""
        return (len(self.x) if at is None else bisect_right(self.x, at)) - 1

    def told(self, index: int, brief: bool = False) -> str:
        """The value of one point, as the title tells it; brief: without its unit."""
        if not 0 <= index < len(self.y):
            return formats.MISSING if self.y else ""
        value, words = self.y[index], self.wording
        if value is None:
            return words.missing
        if not math.isfinite(value):
            return "not finite"
        low, high = (side[index] if side else None for side in (self.low, self.high))
        if self.shape == "area" and low is not None and high is not None:
            return words.number(high - low)  # stacked: a share is what it adds
        told = words.number(value)
        if words.interval and low is not None and high is not None:
            told += f" ±{words.number((high - low) / 2)}"
        return f"{told} {words.unit}" if words.unit and not brief else told


def role(series: Series, index: int) -> str:
    """The ink of a chart's curve."""
    return "points" if series.shape == "points" else ROLES[min(index, len(ROLES) - 1)]
