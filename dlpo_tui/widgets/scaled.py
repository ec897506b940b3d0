"""A series made ready for its axis, and what the axis must cover; draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlpo_tui.widgets.axis import Limits, Span
from dlpo_tui.widgets.plot import Numbers, array
from dlpo_tui.widgets.series import Series

SMALLEST = 1e-12
"""Below this, a value's own size says nothing about the air around it."""
FLAT = 1e-5
"""A spread this small beside its values is rounding (a ratio of 1), not something to magnify."""
FAR = -400.0
"""The logarithm of what is not above 0, where it only has to lie below everything drawn."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series made ready for its axis: cut, its logarithm taken, gaps as NaN."""

    series: Series
    x: Numbers
    y: Numbers
    low: Numbers
    """Empty where there is no band."""
    high: Numbers
    smooth: Numbers
    """The trend; empty where the curve is drawn as it is."""
    seen: slice
    """The points within the window; those outside only lead lines to its edges."""
    infinite: int
    """Values in the window that are not finite."""
    below: int
    """Values in the window that have no logarithm."""
    log: bool

    def inside(self, values: Numbers) -> Numbers:
        return values[self.seen]


def ready(series: Series, across: Span, log: bool = False, weight: float = 0.0) -> Curve:
    """The series as it lies on the axis; `weight`: of the past in its moving average, 0: none.

    The average is taken of the values themselves, before their logarithm.
    """
    x, raw = np.asarray(series.x, dtype=np.float64), array(series.y)
    first = int(np.searchsorted(x, across.low))
    last = int(np.searchsorted(x, across.high, "right"))
    # One more on either side: the line goes on to the window's edge.
    drawn = slice(max(first - 1, 0), last + 1)
    seen = slice(first - drawn.start, last - drawn.start)
    smooth = averaged(raw, weight)[drawn] if weight and series.smooths else np.empty(0)
    y, low, high = raw[drawn], array(series.low)[drawn], array(series.high)[drawn]
    infinite = int(np.isnan(raw[first:last]).sum())
    if infinite:
        infinite -= list(series.y[first:last]).count(None)
    below = 0
    if log:
        below = int((y[seen] <= 0).sum())
        y, smooth, low, high = logarithm(y), logarithm(smooth), logarithm(low, FAR), logarithm(high)
    return Curve(series, x[drawn], y, low, high, smooth, seen, infinite, below, log)


def logarithm(values: Numbers, otherwise: float = math.nan) -> Numbers:
    """log10, and `otherwise` where there is none."""
    positive = values > 0
    out = np.where(np.isnan(values), np.nan, otherwise)
    out[positive] = np.log10(values[positive])
    return out


def averaged(values: Numbers, weight: float) -> Numbers:
    """Exponential moving average m_i = w m_(i-1) + (1 - w) v_i over 1 - w^i; gaps stay gaps."""
    out, mean, counted = [], 0.0, 1.0
    for value in values.tolist():
        if value == value:  # not NaN
            mean = weight * mean + (1 - weight) * value
            counted *= weight
            value = mean / (1 - counted)
        out.append(value)
    return np.array(out, dtype=np.float64)


def value_span(curves: Sequence[Curve], limits: Limits | None = None) -> Span | None:
    """What a value axis must cover, with some air, within its limits; None if nothing is there."""
    limits = limits or Limits()
    values = joined([c.inside(c.y) for c in curves])
    if not len(values):
        return None
    if any(c.series.shape == "area" for c in curves):
        # An area is a backdrop: it keeps to the lower half, clear of most curves.
        high = float(values.max())
        return Span(0.0, high * 2 if high > 0 else 1.0)
    bands = joined([c.inside(side) for c in curves for side in (c.low, c.high)])
    if any(c.log for c in curves):
        return log_span(values, bands)
    low, high = float(values.min()), float(values.max())
    # A limit that the values themselves pass is no limit; that a band passes it means nothing.
    least = -math.inf if limits.least is None or low < limits.least else limits.least
    most = math.inf if limits.most is None or high > limits.most else limits.most
    if len(bands):
        low = max(min(low, float(bands.min())), least)
        high = min(max(high, float(bands.max())), most)
    high = max(high, limits.reach)
    air = (high - low) * 0.06
    if air <= abs(high) * FLAT:
        air = abs(high) * 0.1 if abs(high) > SMALLEST else 1.0
    return Span(max(low - air, least), min(high + air, most))


def log_span(values: Numbers, bands: Numbers) -> Span:
    """The same in powers of ten; a band that falls towards 0 is followed for one decade."""
    low, high = float(values.min()), float(values.max())
    if len(bands):
        low = min(low, max(float(bands.min()), low - 1))
        high = max(high, float(bands.max()))
    air = max((high - low) * 0.06, 0.02)
    return Span(low - air, high + air, log=True)


def joined(parts: Sequence[Numbers]) -> Numbers:
    """All the numbers that can be drawn."""
    values = np.concatenate(parts) if parts else np.empty(0)
    return values[~np.isnan(values)]
