"""Round values along an axis, and their texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlpo_tui.widgets.axis import Span

STEPS = ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))
"""Within a decade of a logarithmic axis, from many ticks to few."""
FEWEST, MOST = -307, 307
"""Powers of ten that a float holds in full."""


def axis_ticks(span: Span, most: int) -> list[tuple[float, str]]:
    """At most `most` places on the axis, in its own unit, and what stands there."""
    if not span.log:
        values, decimals = ticks(span, most)
        return list(zip(values, tick_texts(values, decimals), strict=True))
    values = log_ticks(span, most)
    return [(math.log10(v), text) for v, text in zip(values, log_texts(values), strict=True)]


def log_ticks(span: Span, most: int) -> list[float]:
    """Round values of a logarithmic axis: 1, 2, 5 in each decade, or fewer, or far apart."""
    first, last = max(math.floor(span.low), FEWEST), min(math.ceil(span.high), MOST)
    for factors in STEPS:
        values = [f * 10.0**e for e in range(first, last + 1) for f in factors]
        values = [v for v in values if span.low <= math.log10(v) <= span.high]
        if 2 <= len(values) <= most:
            return values
    if last - first > 2:
        stride = math.ceil((last - first) / max(most, 1))
        whole = [10.0**e for e in range(first, last + 1) if e % stride == 0]
        return [v for v in whole if span.low <= math.log10(v) <= span.high][:most]
    return ticks(Span(10.0**span.low, 10.0**span.high), most)[0]


def log_texts(values: Sequence[float]) -> list[str]:
    """As short as each can be: 0.01, 100, 1e6."""
    return [f"{v:.6g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e") for v in values]


def ticks(span: Span, most: int) -> tuple[list[float], int]:
    """At most `most` round values within the span, and the decimals that tell them apart."""
    rough = (span.high - span.low) / max(most, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 25.0, 50.0):
        step = factor * size
        first = math.ceil(span.low / step - 1e-9)
        count = math.floor(span.high / step + 1e-9) - first + 1
        if 0 < count <= most:
            break
    decimals = 0
    while decimals < 9 and abs(step - round(step, decimals)) > step * 1e-6:
        decimals += 1
    # + 0.0 turns a negative zero into zero.
    return [(first + i) * step + 0.0 for i in range(max(count, 0))][:most], decimals


def tick_texts(values: Sequence[float], decimals: int) -> list[str]:
    """One notation for all, so that they align."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest >= 1e5 or (decimals > 4 and largest < 0.1):
        return [f"{v:.1e}".replace("e-0", "e-").replace("e+0", "e+") for v in values]
    return [f"{v:.{decimals}f}" for v in values]
