"""A stretch of an axis, and what an axis must keep to; numbers alone, numpy not among them.

Apart from what draws on it, so that a screen can be laid out before numpy is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an axis; of a logarithmic one in powers of ten."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an axis must keep to, in the values' own unit."""

    least: float | None = None
    """Where the unit starts."""
    most: float | None = None
    """Where it ends."""
    reach: float = -math.inf
    """How far up the axis goes at least, so that rounding is not magnified into a curve."""
