"""Charts on the screen: layout by size, marks, and what a curve of odd values looks like."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import scenes
from conftest import Stager

from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.chart import Chart
from dlpo_tui.widgets.curves import builders
from dlpo_tui.widgets.scaled import ready, value_span
from dlpo_tui.widgets.view import View, newest, view
from dlpo_tui.widgets.window import Window
from engine.messages import (
    Column,
    EvaluationFinished,
    Event,
    RolledBack,
    SessionStarted,
    Snapshot,
    UpdateFinished,
)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((40, 12), (1, 1)),
        ((60, 20), (1, 1)),
        ((80, 24), (2, 1)),
        ((120, 40), (3, 2)),
        ((200, 60), (4, 2)),
    ],
)
async def test_as_many_charts_as_fit(
    stage: Stager, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    async with stage(size=size) as at:
        grid = at.app.run_screen.charts
        assert grid.shape(8) == shape
        shown = [chart for chart in grid.query(Chart) if chart.display]
        assert len(shown) == min(shape[0] * shape[1], 8)
        assert at.lines()[-1].rstrip().endswith("quit")


def odd(values: list[float]) -> list[Event]:
    """A session whose every number is odd."""
    stats = [scenes.running(1)[-3]]
    update = next(e for e in scenes.running(1) if isinstance(e, UpdateFinished))
    stats = [
        replace(update.stats, loss=v, grad_norm=v, ratio=v, penalty=None, reward=None)
        for v in values
    ]
    return [scenes.STARTED, *(UpdateFinished(i + 1, s) for i, s in enumerate(stats))]


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [1.0, math.inf, 2.0], [math.nan] * 5, [0.0] * 9, [1e308, -1e308, 5.0], [1e-300]],
)
async def test_no_value_breaks_the_screen(stage: Stager, values: list[float]) -> None:
    async with stage(odd(values), size=(120, 40)) as at:
        assert "loss" in at.text()
        if not values or math.isnan(values[0]):
            assert "no values yet" in at.text()


async def test_a_single_point_is_seen(stage: Stager) -> None:
    async with stage(odd([1.0]), size=(120, 40)) as at:
        chart = next(c for c in at.app.screen.query(Chart) if c.figure and c.figure.title == "loss")
        assert "●" in "\n".join(strip.text for strip in chart.draw(chart.size))


async def test_a_gap_parts_the_curve(stage: Stager) -> None:
    values = [1.0] * 10 + [math.nan] * 20 + [1.0] * 10
    async with stage(odd(values), size=(120, 40)) as at:
        chart = next(c for c in at.app.screen.query(Chart) if c.figure and c.figure.title == "loss")
        lines = [strip.text[7:] for strip in chart.draw(chart.size)[:-1]]
        line = next(line for line in lines if any(c > "⠀" for c in line if c != "│"))
        assert len(line.split()) == 2


async def test_marks_are_drawn(stage: Stager) -> None:
    async with stage(size=(80, 24)) as at:
        chart = at.app.screen.query(Chart).first()
        axis = chart.draw(chart.size)[-1].text
        assert axis.count("┴") == 2, "the third lies under the alarm, the fourth under the end"
        assert axis.count("▲") == 1
        assert axis.count("!") == 1
        assert any("┊" in strip.text for strip in chart.draw(chart.size))


async def test_where_a_session_went_back_is_drawn(stage: Stager) -> None:
    async with stage(size=(80, 24)) as at:
        now = at.app.bridge.now
        stats = now.history[-1][1]
        again = (UpdateFinished(update, stats) for update in range(26, now.update))
        await at.happen(RolledBack(25, now.update, "back"), *again)
        chart = at.app.screen.query(Chart).first()
        assert chart.draw(chart.size)[-1].text.count("◂") == 1
        assert [update for update, _ in at.app.bridge.now.history] == list(range(1, now.update))


def whole(now: Snapshot) -> View:
    return view(now, Window().span(newest(now)))


def test_every_judge_has_a_chart() -> None:
    now = scenes.fold(scenes.running())
    titles = [build(whole(now)).title for build in builders(now)]
    assert titles == ["reward", "wer", "loss", "ratio", "gradient", "cer", "loudness", "phases"]


def test_the_kl_has_a_chart_wherever_it_was_known_once() -> None:
    now = scenes.fold(scenes.running())
    (first, stats), *others = now.history
    now = replace(now, history=((first, replace(stats, kl=0.25)), *others))
    titles = [build(whole(now)).title for build in builders(now)]
    assert titles[:5] == ["reward", "wer", "loss", "ratio", "kl"]
    figure = builders(now)[4](whole(now))
    assert figure.series[0].told(0) == "0.2500 nats"


def test_the_phases_are_three_curves_of_seconds() -> None:
    now = scenes.fold(scenes.running(3))
    figure = builders(now)[-1](whole(now))
    assert [s.name for s in figure.series] == ["rollout", "optimise", "score"]
    assert [s.shape for s in figure.series] == ["line", "dashes", "dots"]
    assert figure.series[2].told(0) == "2.40 s"
    update, stats = now.history[-1]
    more = replace(stats, seconds={**stats.seconds, "align": 0.5})
    now = replace(now, history=(*now.history[:-1], (update, more)))
    align = builders(now)[-1](whole(now)).series[3]
    assert (align.name, list(align.y)) == ("align", [None, None, 0.5])


def test_the_ratios_chart_shows_its_spread_and_the_shares_clipped() -> None:
    now = scenes.fold(scenes.running(3))
    figure = next(f for f in (build(whole(now)) for build in builders(now)) if f.title == "ratio")
    spread, high, low = figure.series
    stats = [stats for _, stats in now.history]
    assert list(spread.y) == [s.ratio_spread for s in stats]
    assert high.told(0) == f"{stats[0].clip_high:.1%}"
    assert low.told(0) == f"{stats[0].clip_low:.1%}"
    assert list(high.y) == pytest.approx([s.clip_low + s.clip_high for s in stats])


def test_no_axis_of_a_share_goes_below_0() -> None:
    """Two prompts: the interval is far wider than the values."""
    now = scenes.fold(scenes.running())
    wide = scenes.interval(0.1, 0.5, 2)
    now = replace(now, evaluations=((0, {"wer": wide}), (10, {"wer": wide})))
    figure = builders(now)[1](whole(now))
    span = value_span([ready(figure.series[0], figure.across)], figure.limits)
    assert span is not None
    assert span.low == 0.0


def test_rewards_that_are_not_the_reward_have_charts() -> None:
    two: SessionStarted = replace(
        scenes.STARTED, rewards=(*scenes.REWARDS, Column("utmos", "MOS", True, 1.0, 5.0))
    )
    now = scenes.fold([two, *scenes.running()[4:]])
    titles = [build(whole(now)).title for build in builders(now)]
    assert {"distillmos", "utmos"} <= set(titles)


def test_a_weighted_reward_is_not_compared_with_its_column() -> None:
    now = scenes.fold(scenes.running())
    doubled = tuple(replace(c, reward=c.reward and 2 * c.reward) for c in now.clips)
    now = replace(now, clips=doubled)
    titles = [build(whole(now)).title for build in builders(now)]
    assert "distillmos" in titles
    assert len(builders(now)[0](whole(now)).series) == 1


def test_the_engine_may_give_the_evaluated_reward_itself() -> None:
    now = scenes.fold(scenes.running())
    doubled = tuple(replace(c, reward=c.reward and 2 * c.reward) for c in now.clips)
    now = replace(now, clips=doubled)
    events = [EvaluationFinished(50, {"reward": scenes.interval(7.5, 0.2)}, 1.0)]
    from engine.messages import advance

    now = advance(now, events[0])
    series = builders(now)[0](whole(now)).series
    assert [s.name for s in series] == ["reward", "eval"]


def test_a_window_cuts_the_old() -> None:
    now = scenes.fold(scenes.running())
    seen = view(now, Span(15, 35))
    assert [update for update, _ in seen.evaluations] == [10, 20, 30, 40], "one beyond either edge"
    assert [seen.updates[0], seen.updates[-1]] == [14, 36]
    assert [mark.update for mark in seen.figure("x").marks] == [15, 20, 30, 30]
