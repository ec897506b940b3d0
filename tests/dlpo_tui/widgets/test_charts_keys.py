"""Every key of the charts, pressed; and the mouse on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import scenes
from conftest import Stage, Stager
from textual import events

from dlpo_tui.screens.choosing import Choosing
from dlpo_tui.widgets.axis import Span
from dlpo_tui.widgets.chart import Chart
from engine.messages import (
    CheckpointSaved,
    Column,
    Event,
    Knobs,
    KnobsChanged,
    SessionResumed,
    UpdateFinished,
)


def heading(at: Stage) -> str:
    return next(line for line in at.lines() if line.startswith("─ chart"))


def shown(at: Stage) -> list[Chart]:
    return [chart for chart in at.app.run_screen.charts.charts if chart.display]


def seen(at: Stage) -> Span:
    figure = shown(at)[0].figure
    assert figure is not None
    return figure.across


def titles(at: Stage) -> list[str]:
    return [chart.render_line(0).text.rstrip() for chart in shown(at)]


def rows(chart: Chart) -> list[str]:
    return [chart.render_line(y).text for y in range(chart.size.height)]


def long(updates: int = 400) -> list[Event]:
    """A session of many updates, without what happens in them."""
    dice = scenes.random.Random(7)
    return [
        scenes.STARTED,
        *(UpdateFinished(u, scenes.stats_of(u, dice)) for u in range(1, updates + 1)),
    ]


async def test_g_turns_the_axes_of_all_charts_logarithmic(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("g")
        assert "· log" in heading(at)
        assert all(chart.figure and chart.figure.log for chart in shown(at))
        loss = next(title for title in titles(at) if "loss" in title)
        assert loss.endswith("not above 0")
        await at.press("g")
        assert "log" not in heading(at)
        assert not any("not above 0" in title for title in titles(at))


async def test_m_goes_through_the_trends(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        plain = [rows(chart)[1:] for chart in shown(at)]
        for weight in ("0.6", "0.9"):
            await at.press("m")
            assert heading(at).rstrip("─").endswith(f"smoothed {weight} ")
            smoothed = [rows(chart)[1:] for chart in shown(at)]
            same = [a == b for a, b in zip(plain, smoothed, strict=True)]
            # reward, wer, loss, ratio, gradient, cer: evaluations stay as they are
            assert same == [False, True, False, False, False, True]
        await at.press("m")
        assert "smoothed" not in heading(at)
        assert [rows(chart)[1:] for chart in shown(at)] == plain


async def test_the_curve_stays_beneath_its_trend(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("m", "m")
        gradient = shown(at)[4]
        colours = {
            segment.style.color
            for y in range(1, gradient.size.height - 1)
            for segment in gradient.render_line(y)
            if segment.style and any(0x2800 < ord(c) < 0x2900 for c in segment.text)
        }
        assert colours == {gradient.colour("first", "full"), gradient.colour("first", "faint")}


async def test_plus_and_minus_zoom_about_the_end_and_0_shows_all(stage: Stager) -> None:
    async with stage(long()) as at:
        assert seen(at) == Span(0, 400)
        await at.press("plus", "equals_sign")
        assert seen(at) == Span(300, 400)
        assert "· last 100 updates" in heading(at)
        await at.press("minus")
        assert seen(at) == Span(200, 400)
        await at.press("plus", "0")
        assert seen(at) == Span(0, 400)
        assert "updates" not in heading(at)
        for _ in range(9):
            await at.press("plus")
        assert seen(at) == Span(390, 400)


async def test_zoom_keeps_the_cursor_where_it_is(stage: Stager) -> None:
    async with stage(long()) as at:
        await at.press("c", *["left_parenthesis"] * 20, "plus")
        assert seen(at) == Span(100, 300)
        assert "update 200 · updates 100–300" in heading(at)


async def test_w_goes_on_from_any_zoom(stage: Stager) -> None:
    async with stage(long()) as at:
        await at.press("w")
        assert seen(at) == Span(200, 400)
        await at.press("w")
        assert seen(at) == Span(350, 400)
        await at.press("w", "plus", "plus", "w")
        assert seen(at) == Span(0, 400)


async def test_a_window_follows_the_newest_unless_it_stands(stage: Stager) -> None:
    dice = scenes.random.Random(8)
    async with stage(long()) as at:
        await at.press("plus", "plus")
        await at.happen(UpdateFinished(401, scenes.stats_of(401, dice)))
        assert seen(at) == Span(301, 401)
        await at.press("0", "c", *["left_parenthesis"] * 20, "plus")
        standing = seen(at)
        await at.happen(UpdateFinished(402, scenes.stats_of(402, dice)))
        assert seen(at) == standing


async def test_the_cursor_tells_every_charts_value(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("c")
        assert "update 40" in heading(at)
        await at.press("left_parenthesis", "comma", "full_stop", "full_stop", "full_stop")
        assert at.app.run_screen.charts.cursor == 32
        _, stats = at.bridge.now.history[31]
        assert stats.reward is not None
        found = titles(at)
        assert f"reward {stats.reward.mean:.3f} ±" in found[0]
        assert found[1].endswith("share at 30"), "the evaluation that was the latest then"
        assert f"gradient norm {stats.grad_norm:.4f}"[:16] in found[4]
        for chart in shown(at):
            lines = rows(chart)
            assert " 32 " in lines[-1]
            assert chart.drawing is not None
            column = chart.drawing.column(32)
            pointed = chart.ink("pointed").bgcolor
            for y in range(1, chart.size.height - 1):
                cell = chart.render_line(y).crop(column, column + 1)
                assert next(iter(cell)).style.bgcolor == pointed
        await at.press("c")
        assert "update" not in heading(at)
        assert at.app.run_screen.charts.cursor is None


async def test_the_cursor_stays_within_the_session(stage: Stager) -> None:
    async with stage() as at:
        await at.press("right_parenthesis")
        assert at.app.run_screen.charts.cursor == 40
        await at.press(*["left_parenthesis"] * 5)
        assert at.app.run_screen.charts.cursor == 0
        assert titles(at)[0].startswith("━ reward –"), "nothing is known of the start but its eval"


async def test_the_window_goes_along_with_the_cursor(stage: Stager) -> None:
    async with stage(long()) as at:
        await at.press("w", "w", "c", *["left_parenthesis"] * 7)
        assert at.app.run_screen.charts.cursor == 330
        assert seen(at) == Span(330, 380)
        await at.press(*["right_parenthesis"] * 7)
        assert seen(at) == Span(350, 400)


async def test_a_mark_under_the_cursor_is_told_as_it_was_written(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        charts = at.app.run_screen.charts
        for update, told in (
            (15, "beta 1 → 1.25"),
            (20, "saved update-000020"),
            (30, "the reward rose (distillmos +0.71) while a judge got worse"),
        ):
            charts.pinned = update
            charts.point()
            await at.pilot.pause()
            assert f"· update {update} · {told}" in heading(at)
        await at.happen(
            KnobsChanged(40, "[b]x[/b]", {"beta": 1.0}, {"beta": 2.0}, Knobs()),
            CheckpointSaved(40, "checkpoints/update-000040-x.safetensors", "[red]mine"),
        )
        charts.pinned = 40
        charts.point()
        await at.pilot.pause()
        assert "update 40 · beta 1 → 2 · saved update-000040 · saved [red]mine" in heading(at)


async def test_without_a_panels_title_the_first_chart_tells(stage: Stager) -> None:
    async with stage(size=(60, 20)) as at:
        await at.press("g")
        assert titles(at)[0].endswith(" log")
        await at.press("c")
        at.app.run_screen.charts.pinned = 15
        at.app.run_screen.charts.point()
        await at.pilot.pause()
        assert titles(at)[0].endswith("log · beta 1 → 1.25")
        assert " 15 " in rows(shown(at)[0])[-1]


async def test_braces_change_how_many_charts_there_are(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        counts = [len(shown(at))]
        for _ in range(9):
            await at.press("left_curly_bracket")
            counts.append(len(shown(at)))
        assert counts[-1] == 1
        assert counts == sorted(counts, reverse=True)
        for _ in range(9):
            await at.press("right_curly_bracket")
            counts.append(len(shown(at)))
        assert counts[-1] == 8
        assert counts[9:] == sorted(counts[9:])
        assert heading(at).startswith("─ charts ─")
        assert all(chart.size.width >= 22 for chart in shown(at))


async def test_the_wish_is_kept_where_it_fits_and_cut_where_it_does_not(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("right_curly_bracket", "right_curly_bracket")
        wished = len(shown(at))
        assert wished == 8
        await at.resize(80, 24)
        assert len(shown(at)) < wished
        await at.resize(120, 40)
        assert len(shown(at)) == wished


async def test_a_page_holds_as_many_as_were_wished(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press(*["left_curly_bracket"] * 2, "right_square_bracket")
        count = len(shown(at))
        assert f"charts {count + 1}–{2 * count} of 8" in heading(at)


async def test_only_what_is_seen_is_computed(
    stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlpo_tui.widgets import charts, curves

    async with stage() as at:
        built: list[str] = []

        def noted(name: str) -> curves.Builder:
            return curves.Builder(name, lambda view: (built.append(name), curves.reward(view))[1])

        monkeypatch.setattr(charts, "builders", lambda now: [noted(n) for n in "abcdefgh"])
        at.app.run_screen.charts.show(at.bridge.now)
        assert built == ["a", "b"]


async def test_the_cursor_draws_no_chart_anew(stage: Stager) -> None:
    async with stage() as at:
        await at.press("c")
        drawings = [chart.drawing for chart in shown(at)]
        await at.press("comma", "comma")
        assert [chart.drawing for chart in shown(at)] == drawings


# --- Which charts ---


async def test_f_finds_a_chart_by_its_letter(stage: Stager) -> None:
    async with stage() as at:
        await at.press("f")
        assert isinstance(at.app.screen, Choosing)
        await at.press("l", "l", "enter")
        assert at.app.screen is at.app.run_screen
        assert [c.figure.title for c in shown(at) if c.figure] == ["loudness", "phases"]
        await at.press("f")
        assert at.app.screen.listed.highlighted == 6, "it opens on the chart that is seen"
        await at.press("l", "enter")
        assert "charts 3–4 of 8" in heading(at)


async def test_what_is_hidden_is_no_longer_among_the_pages(stage: Stager) -> None:
    async with stage() as at:
        await at.press("f", "down", "space", "down", "space")
        assert "● wer" not in at.text()
        await at.press("escape")
        assert [c.figure.title for c in shown(at) if c.figure] == ["reward", "ratio"]
        assert "charts 1–2 of 6" in heading(at)
        await at.press("f", "w", "space", "escape")
        assert [c.figure.title for c in shown(at) if c.figure] == ["reward", "wer"]
        await at.press("f", "down", "down", "enter")
        assert "charts 3–4 of 8" in heading(at), "to go to a hidden chart shows it"


async def test_the_last_chart_cannot_be_hidden(stage: Stager) -> None:
    async with stage() as at:
        await at.press("f", *["space", "down"] * 8, "escape")
        assert [c.figure.title for c in shown(at) if c.figure] == ["phases"]


async def test_where_only_hidden_charts_are_left_they_are_shown(stage: Stager) -> None:
    async with stage() as at:
        charts = at.app.run_screen.charts
        charts.hidden = set(charts.titles())
        await at.press("f", "escape")
        assert [c.figure.title for c in shown(at) if c.figure] == ["reward", "wer"]


async def test_a_session_that_was_resumed_holds_the_cursor(stage: Stager) -> None:
    async with stage() as at:
        await at.press("c", "plus")
        await at.happen(SessionResumed(12, 100, Knobs()))
        assert at.app.run_screen.charts.cursor == 12
        assert seen(at) == Span(0, 12)
        assert "update 12" in heading(at)


async def test_a_long_list_of_charts_scrolls_in_a_small_terminal(stage: Stager) -> None:
    many = tuple(Column(f"judge {i}", "MOS") for i in range(20))
    started = replace(scenes.STARTED, judges=many)
    async with stage([started, *scenes.running()[4:]], size=(60, 20)) as at:
        await at.press("f", "p")
        assert "● phases" in at.text()
        await at.press("r")
        assert "● ratio" in at.text()


async def test_before_the_start_there_is_nothing_to_find(stage: Stager) -> None:
    async with stage("loading") as at:
        await at.press("f")
        assert at.app.screen is at.app.run_screen


# --- The mouse ---


async def test_the_mouse_points_and_a_click_stays(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        charts, chart = at.app.run_screen.charts, shown(at)[0]
        assert chart.drawing is not None
        column = chart.drawing.column(25)
        await at.pilot.hover(chart, offset=(column, 3))
        await at.pilot.pause()
        assert charts.cursor == 25
        assert "update 25" in heading(at)
        await at.pilot.hover("#clips")
        await at.pilot.pause()
        assert charts.cursor is None
        await at.pilot.click(chart, offset=(column, 3))
        await at.pilot.hover("#clips")
        await at.pilot.pause()
        assert charts.cursor == 25
        assert at.app.run_screen.clips.has_focus, "keys go where they went before"
        await at.press("full_stop")
        assert charts.cursor == 26


async def test_the_mouse_finds_a_mark_among_its_neighbours(stage: Stager) -> None:
    knob = KnobsChanged(203, "user", {"beta": 1.0}, {"beta": 2.0}, Knobs(beta=2.0))
    async with stage([*long(), knob]) as at:
        chart = shown(at)[0]
        assert chart.drawing is not None
        await at.pilot.hover(chart, offset=(chart.drawing.column(203), 3))
        await at.pilot.pause()
        assert "update 203 · beta 1 → 2" in heading(at)


async def test_beside_the_plot_the_mouse_points_at_nothing(stage: Stager) -> None:
    async with stage() as at:
        await at.pilot.hover(shown(at)[0], offset=(1, 3))
        await at.pilot.pause()
        assert at.app.run_screen.charts.cursor is None


async def test_the_wheel_zooms_where_the_mouse_is(stage: Stager) -> None:
    async with stage(long()) as at:
        chart = shown(at)[0]
        assert chart.drawing is not None
        before = Span(0, 400)
        column = chart.drawing.column(100)
        under = chart.drawing.update_at(column)
        await at.pilot._post_mouse_events(
            [events.MouseScrollUp], widget=chart, offset=(column, 3), button=0
        )
        await at.pilot.pause()
        assert seen(at).high - seen(at).low == 200
        assert seen(at).share(under) == pytest.approx(before.share(under), abs=0.02)
        await at.pilot._post_mouse_events(
            [events.MouseScrollDown], widget=chart, offset=(column, 3), button=0
        )
        await at.pilot.pause()
        assert seen(at) == before


# --- Gaps ---


async def test_what_is_not_finite_is_counted_and_never_bounds(stage: Stager) -> None:
    update = next(e for e in scenes.running(1) if isinstance(e, UpdateFinished))
    values = [1.0, float("nan"), 2.0, float("inf"), 3.0]
    happened = [
        UpdateFinished(i + 1, replace(update.stats, loss=v, grad_norm=v))
        for i, v in enumerate(values)
    ]
    async with stage([scenes.STARTED, *happened], size=(120, 40)) as at:
        loss = next(chart for chart in shown(at) if chart.figure and chart.figure.title == "loss")
        assert rows(loss)[0].rstrip().endswith("2 not finite")
        assert loss.drawing is not None
        span = loss.drawing.spans["left"]
        assert span is not None
        assert (span.low, span.high) == pytest.approx((0.88, 3.12))
        await at.press("comma")
        assert "loss not finite" in rows(loss)[0]


async def test_an_update_that_was_left_out_is_a_gap_not_a_zero(stage: Stager) -> None:
    update = next(e for e in scenes.running(1) if isinstance(e, UpdateFinished))
    good = replace(update.stats, loss=1.0, grad_norm=2.0)
    left_out = replace(good, loss=0.0, grad_norm=0.0, skipped=1)
    zero = replace(good, loss=0.0)
    happened = [UpdateFinished(i + 1, s) for i, s in enumerate((good, left_out, zero, good))]
    async with stage([scenes.STARTED, *happened], size=(120, 40)) as at:
        found = {c.figure.title: c.figure.series[0].y for c in shown(at) if c.figure}
        assert [str(v) for v in found["loss"]] == ["1.0", "nan", "0.0", "1.0"]
        assert [str(v) for v in found["gradient"]] == ["2.0", "nan", "2.0", "2.0"]
        assert sum("1 not finite" in title for title in titles(at)) == 2


async def test_what_an_older_engine_did_not_tell_is_no_fault(stage: Stager) -> None:
    update = next(e for e in scenes.running(1) if isinstance(e, UpdateFinished))
    happened = [UpdateFinished(u, replace(update.stats, ratio_spread=None)) for u in range(1, 9)]
    async with stage([scenes.STARTED, *happened], size=(120, 40)) as at:
        assert not any("not finite" in title for title in titles(at))
        assert any(title.startswith("━ ratio ± –") for title in titles(at))
