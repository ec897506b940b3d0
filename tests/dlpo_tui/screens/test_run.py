"""What the session's screen looks like in its states; whole pictures, and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import scenes
from conftest import Stager
from textual.pilot import Pilot

from dlpo_tui.app import DlpoApp
from dlpo_tui.sound import Silent
from engine.messages import PhaseProgressed, Snapshot, Stop

SIZES = [(20, 6), (60, 20), (200, 60), (40, 12), (300, 100), (80, 24), (120, 40)]


PICTURED = [(60, 20), (80, 24), (120, 40), (200, 60)]


@pytest.mark.parametrize("size", PICTURED, ids=[f"{w}x{h}" for w, h in PICTURED])
@pytest.mark.parametrize("scene", ["running", "paused", "failed", "loading"])
def test_picture(scene: str, size: tuple[int, int], snap_compare: Callable[..., bool]) -> None:
    bridge, _ = scenes.scripted(scenes.SCENES[scene]())
    app = DlpoApp(bridge, Silent(), clock=lambda: 0.0)

    async def shown(pilot: Pilot[None]) -> None:
        app.tick()
        await pilot.pause()

    same = snap_compare(app, terminal_size=size, run_before=shown)
    bridge.send(Stop())
    assert bridge.join(10)
    assert same


@pytest.mark.parametrize("scene", sorted(scenes.SCENES))
async def test_every_scene_at_every_size(stage: Stager, scene: str) -> None:
    async with stage(scene, (120, 40)) as at:
        for size in SIZES:
            await at.resize(*size)
            await at.happen()
            lines = at.lines()
            assert len(lines) == size[1]
            assert "q quit" in lines[-1]
            if at.bridge.now.started and size[0] >= 60:
                assert scenes.STARTED.run[:12] in lines[0]


async def test_the_head_and_the_status_tell_the_facts(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        assert "dlpo · bundled · cpu · fp32" in at.lines()[0]
        assert "! alarm at 30" in at.lines()[0]
        assert "optimise" in at.lines()[1]
        assert "5/16" in at.lines()[1]
        assert "update 40 / 100 · 4.2 a minute · 14 min left" in at.lines()[1]


async def test_a_failure_is_told_in_full(stage: Stager) -> None:
    async with stage("failed", size=(120, 40)) as at:
        assert "FAILED" in at.lines()[0]
        assert "failed: the reward failed on 75% of the clips" in at.lines()[1]
        assert "after update 23" in at.lines()[1]


async def test_a_session_that_never_started_says_why_and_where(stage: Stager) -> None:
    async with stage("stillborn") as at:
        at.app.run_screen.waiting.log_path = Path("runs/x/session.log")
        at.app.run_screen.waiting.refresh()
        await at.happen()
        assert "details in runs/x/session.log" in at.text()
        assert "the session could not start" in at.text()
        assert "there is no file pretrained/ljspeech.ckpt" in at.text()


async def test_loading_shows_a_sign_of_life(stage: Stager) -> None:
    async with stage("loading") as at:
        assert "loading …" in at.text()
        at.app.clock = lambda: 12.0
        await at.happen()
        assert "loading …  12 s" in at.text()


@pytest.mark.parametrize("theme", ["paper", "textual-light", "nord"])
async def test_other_themes_can_be_chosen(stage: Stager, theme: str) -> None:
    async with stage() as at:
        before = at.app.export_screenshot()
        at.app.theme = theme
        await at.happen()
        assert at.app.export_screenshot() != before


async def test_without_colour_nothing_is_lost(
    stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with stage("paused", size=(120, 40)) as at:
        assert at.app.no_color
        assert "PAUSED" in at.text()
        assert "╍ penalty" in at.text()


async def test_progress_in_a_phase_redraws_no_chart(stage: Stager) -> None:
    async with stage() as at:
        painted: list[Snapshot] = []
        at.app.run_screen.charts.show = painted.append  # type: ignore[method-assign]
        await at.happen(*(PhaseProgressed(41, "optimise", 6 + i, 16) for i in range(9)))
        assert "14/16" in at.text()
        assert painted == []
