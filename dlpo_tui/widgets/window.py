"""Which updates the charts show: a stretch that follows the newest, or one that stands still."""

from __future__ import annotations

from dataclasses import dataclass

from dlpo_tui.widgets.axis import Span

SHORTEST = 10
"""Updates that an axis covers at least: two points are not stretched over the whole chart."""


@dataclass(frozen=True, slots=True)
class Window:
    width: int = 0
    """Updates shown; 0: all there are."""
    end: int | None = None
    """The last update shown; None: the newest, whichever that is."""

    def span(self, newest: int) -> Span:
        """The horizontal axis while `newest` is the newest update."""
        if not self.width:
            return Span(0, max(newest, SHORTEST))
        last = newest if self.end is None else min(self.end, newest)
        first = max(last - self.width, 0)
        return Span(first, max(last, first + SHORTEST))

    def zoomed(self, times: float, at: float | None, newest: int) -> Window:
        """`times` as many updates; the update `at` stays where it is, else the window's end."""
        now = self.span(newest)
        width = max(round((now.high - now.low) * times), SHORTEST)
        if width >= newest:
            return Window()
        fixed = now.high if at is None else min(max(at, now.low), now.high)
        return placed(round(fixed - now.share(fixed) * width), width, newest)

    def holding(self, update: int, newest: int) -> Window:
        """Moved, as little as that takes, to where `update` is seen."""
        now = self.span(newest)
        if now.low <= update <= now.high or not self.width:
            return self
        first = update if update < now.low else update - self.width
        return placed(first, self.width, newest)

    def describe(self, newest: int) -> str:
        if not self.width:
            return ""
        if self.end is None:
            return f"last {self.width} updates"
        now = self.span(newest)
        return f"updates {now.low:g}–{now.high:g}"


def placed(first: int, width: int, newest: int) -> Window:
    """From `first` on; at the newest update it follows."""
    end = max(first, 0) + width
    return Window(width) if end >= newest else Window(width, end)
