"""What the charts look like read at one update, zoomed and smoothed, and in their list."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scenes
from textual.pilot import Pilot

from dlpo_tui.app import DlpoApp
from dlpo_tui.screens.run import curves
from dlpo_tui.sound import Silent
from engine.messages import Stop

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
STATES = {
    "read": ("m", "m", "c", "left_parenthesis"),
    "zoomed": ("g", "c", *["left_parenthesis"] * 2, "plus", "left_curly_bracket"),
    "list": ("f", "down", "space"),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", STATES)
def test_picture(state: str, size: tuple[int, int], snap_compare: Callable[..., bool]) -> None:
    bridge, _ = scenes.scripted(scenes.running())
    app = DlpoApp(bridge, Silent(), clock=lambda: 0.0)

    async def shown(pilot: Pilot[None]) -> None:
        # A burst of events is taken in by helpings, and drawn at every fifth tick at most.
        drawn = app.run_screen.charts
        for _ in range(1000):
            app.tick()
            await pilot.pause()
            same = zip(curves(drawn.now), curves(bridge.now), strict=True)
            if not bridge.waiting and all(one is other for one, other in same):
                break
        await pilot.press(*STATES[state])
        await pilot.pause()

    same = snap_compare(app, terminal_size=size, run_before=shown)
    bridge.send(Stop())
    assert bridge.join(10)
    assert same
