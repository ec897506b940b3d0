"""Milliseconds that six charts of two curves and 2,000 updates take at 120 x 40, as JSON.

Informational: figures differ by machine, so no test compares them with anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from textual.app import App

from dlpo_tui.screens.run import RunScreen
from dlpo_tui.sound import Silent
from dlpo_tui.theme import CALM, EXTRA
from dlpo_tui.widgets.charts import ChartGrid
from engine.messages import (
    Column,
    Interval,
    Knobs,
    Mark,
    SessionStarted,
    Snapshot,
    UpdateStats,
)

STARTED = SessionStarted(
    run="bench", folder="", algorithm="dlpo", updates=4000, knobs=Knobs(),
    rewards=(Column("mos", "MOS", True, 1.0, 5.0),), judges=(Column("wer", "share", False, 0, 1),),
    voice="none", device="cpu", precision="fp32", timesteps=10, kept=(9,), sample_rate=22050,
)  # fmt: skip


def stats(update: int, dice: random.Random) -> UpdateStats:
    """All that can be drawn: a band, shares, a second axis, three curves in one chart."""
    mean = 3 + math.sin(update / 300) / 2 + dice.gauss(0, 0.1)
    return UpdateStats(
        loss=dice.gauss(0, 1), reward=Interval(mean, mean - 0.2, mean + 0.2, 8),
        penalty=0.3 + dice.gauss(0, 0.01), kl=abs(dice.gauss(0.1, 0.02)), ratio=1.0,
        clip_high=abs(dice.gauss(0.05, 0.02)), clip_low=abs(dice.gauss(0.03, 0.02)),
        grad_norm=abs(dice.gauss(1, 0.4)), failed=0, skipped=0, clamped=0.0,
        seconds={"rollout": dice.gauss(6, 1), "score": dice.gauss(2, 0.2), "optimise": 5.0},
        ratio_spread=abs(dice.gauss(0.02, 0.005)),
    )  # fmt: skip


def session(updates: int) -> Snapshot:
    dice = random.Random(7)
    history = tuple((u, stats(u, dice)) for u in range(1, updates + 1))
    evaluations = tuple(
        (u, {"mos": Interval(3.0 + u / 9999, 2.9, 3.2, 8), "wer": Interval(0.1, 0.05, 0.2, 8)})
        for u in range(0, updates + 1, 10)
    )
    marks = tuple(Mark(u, "checkpoint", "") for u in range(50, updates, 50))
    return replace(
        Snapshot(), started=STARTED, update=updates, history=history, evaluations=evaluations,
        marks=(*marks, Mark(700, "knob", "beta 1 → 2"), Mark(1500, "alarm", "fooled")),
    )  # fmt: skip


class Stage(App[None]):
    """The session's screen, without a session."""

    def __init__(self) -> None:
        super().__init__()
        self.run_screen = RunScreen(lambda command: None, Silent())
        self.register_theme(CALM)
        self.theme = CALM.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return EXTRA

    def on_mount(self) -> None:
        self.push_screen(self.run_screen)


def milliseconds(work: Callable[[], None], runs: int) -> dict[str, float]:
    """By the wall clock, and what of it this thread computed: others may hold the cores."""
    taken, computed = [], []
    for _ in range(runs):
        began, busy = time.perf_counter(), time.thread_time()
        work()
        taken.append((time.perf_counter() - began) * 1000)
        computed.append((time.thread_time() - busy) * 1000)
    return {
        "median": round(statistics.median(taken), 2),
        "best": round(min(taken), 2),
        "computing": round(statistics.median(computed), 2),
    }


def paint(grid: ChartGrid) -> None:
    """Every line of the charts that are seen, as the compositor asks for them."""
    for chart in grid.charts:
        if chart.display:
            for y in range(chart.size.height):
                chart.render_line(y)


async def measure(updates: int, runs: int) -> dict[str, object]:
    app, whole = Stage(), session(updates)
    newer = stats(updates + 1, random.Random(8))
    async with app.run_test(size=(120, 40)) as pilot:
        app.run_screen.show(whole)
        await pilot.pause()
        grid = app.run_screen.charts
        both = [whole, replace(whole, history=(*whole.history[:-1], (updates, newer)))]

        def redraw() -> None:
            both.reverse()  # one value differs, so no figure equals the one before
            grid.show(both[0])
            paint(grid)

        def point() -> None:
            grid.move_cursor(-1)
            paint(grid)

        shown = sum(chart.display for chart in grid.charts)
        report: dict[str, object] = {"charts": shown, "plain": milliseconds(redraw, runs)}
        grid.turn_log()
        report["logarithmic"] = milliseconds(redraw, runs)
        grid.turn_log()
        grid.turn_smoothing()
        report["smoothed"] = milliseconds(redraw, runs)
        grid.turn_smoothing()
        grid.turn_smoothing()
        report["cursor"] = milliseconds(point, runs)
        return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    report = {
        "machine": platform.processor() or platform.machine(),
        "updates": options.updates,
        "milliseconds": asyncio.run(measure(options.updates, options.runs)),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
