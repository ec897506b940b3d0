"""Curves as SVG that takes its colours from the page's style; knows no run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TypeAlias

Value: TypeAlias = float | None
WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 26
LARGEST = 1e150
"""Past this, differences overflow: such a value is a gap."""


@dataclass(frozen=True, slots=True)
class Curve:
    """y over ascending x; a gap where y is None or not finite."""

    name: str
    x: Sequence[float]
    y: Sequence[Value]
    low: Sequence[Value] = ()
    """The band's lower edge, one a point; empty: no band."""
    high: Sequence[Value] = ()
    points: bool = False
    """Dots, without a line through them."""
    steps: bool = False
    """A value holds until the next."""


@dataclass(frozen=True, slots=True)
class Figure:
    title: str
    curves: Sequence[Curve]
    unit: str = ""
    marks: Sequence[tuple[float, str, str]] = field(default=())
    """(x, kind, text): a vertical line of the class mark-KIND."""


def shown(value: Value) -> bool:
    """Whether a value has a place on an axis."""
    return value is not None and abs(value) < LARGEST


def draw(figure: Figure) -> str:
    """The figure as an <svg>; one that says so where it holds no value."""
    across = span(x for curve in figure.curves for x in curve.x)
    up = span(
        v for c in figure.curves for part in (c.y, c.low, c.high) for v in part if v is not None
    )
    label = escape(f"{figure.title}: {', '.join(curve.name for curve in figure.curves)}")
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    if across is None or up is None:
        middle = f'x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle"'
        return f"{head}<text {middle}>no values</text></svg>"
    low, high = padded(*up)
    half = max(0.5, abs(across[0]) * 1e-9)  # past 2^52 there is nothing between two numbers
    wide = across[1] - across[0] >= half
    first, last = across if wide else (across[0] - half, across[1] + half)

    def at_x(x: float) -> float:
        return LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        return TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [head, *axes((first, last), (low, high), at_x, at_y)]
    for x, kind, text in figure.marks:
        if first <= x <= last:
            line = f'x1="{at_x(x):.1f}" x2="{at_x(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
            parts.append(f'<line class="mark-{kind}" {line}><title>{escape(text)}</title></line>')
    for index, curve in enumerate(figure.curves):
        parts += strokes(curve, f"curve-{index % 4}", at_x, at_y)
    return "".join([*parts, "</svg>"])


def span(values: Iterable[float]) -> tuple[float, float] | None:
    """The least and the largest value that can be shown."""
    known = [v for v in values if shown(v)]
    return (min(known), max(known)) if known else None


def padded(low: float, high: float) -> tuple[float, float]:
    """The span with some air, also where all values are one."""
    air = (high - low) * 0.06
    if air <= abs(high) * 1e-5:
        air = abs(high) * 0.1 or 1.0
    return low - air, high + air


def ticks(low: float, high: float, most: int = 5) -> tuple[list[float], float]:
    """At most `most` + 1 round values from `low` to `high`, and what parts them."""
    rough = (high - low) / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(f * size for f in (1.0, 2.0, 2.5, 5.0, 10.0) if f * size >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step + 0.0 for i in range(first, math.floor(high / step + 1e-9) + 1)], step


def told(value: float, step: float) -> str:
    """A tick in as many decimals as tell it from the next one."""
    if step < 1e-4 or abs(value) >= 1e5:
        return f"{value:.4g}" if abs(value) >= step / 2 else "0"
    decimals = next((d for d in range(6) if abs(step - round(step, d)) < step * 1e-6), 6)
    return f"{value:.{decimals}f}"


def axes(
    across: tuple[float, float],
    up: tuple[float, float],
    at_x: Callable[[float], float],
    at_y: Callable[[float], float],
) -> list[str]:
    """Grid lines with their values, and updates below."""
    parts = []
    values, step = ticks(*up)
    for value in values:
        y = f"{at_y(value):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        place = f'x="{LEFT - 6}" y="{at_y(value) + 4:.1f}" text-anchor="end"'
        parts.append(f"<text {place}>{told(value, step)}</text>")
    for value in ticks(*across, 7)[0]:
        if value == round(value):
            place = f'x="{at_x(value):.1f}" y="{HEIGHT - 8}" text-anchor="middle"'
            parts.append(f"<text {place}>{value:g}</text>")
    return parts


def strokes(
    curve: Curve, ink: str, at_x: Callable[[float], float], at_y: Callable[[float], float]
) -> list[str]:
    """Band, line and dots of one curve; a line breaks at its gaps."""
    parts = []
    if curve.low:
        edges = [
            (x, low, high) for x, low, high in zip(curve.x, curve.low, curve.high, strict=True)
        ]
        for run in runs(edges):
            over = [f"{at_x(x):.1f},{at_y(high):.1f}" for x, _, high in run]
            under = [f"{at_x(x):.1f},{at_y(low):.1f}" for x, low, _ in reversed(run)]
            parts.append(f'<polygon class="band {ink}" points="{" ".join(over + under)}"/>')
    pairs = list(zip(curve.x, curve.y, strict=True))
    for run in runs(pairs):
        dots = [(at_x(x), at_y(y)) for x, y in run]
        if curve.steps:
            corners = [(b[0], a[1]) for a, b in pairwise(dots)]
            dots = [p for pair in zip(dots, [*corners, dots[-1]], strict=True) for p in pair]
        if not curve.points and len(dots) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
            parts.append(f'<polyline class="line {ink}" points="{path}"/>')
        if curve.points or len(run) == 1 or (len(pairs) <= 25 and not curve.steps):
            parts += [
                f'<circle class="dot {ink}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in dots
            ]
    return parts


def runs(rows: Sequence[tuple[Value, ...]]) -> list[list[tuple[float, ...]]]:
    """The unbroken stretches of rows whose values can all be shown."""
    found: list[list[tuple[float, ...]]] = [[]]
    for row in rows:
        if all(shown(v) for v in row):
            found[-1].append(row)  # type: ignore[arg-type]
        elif found[-1]:
            found.append([])
    return [run for run in found if run]
