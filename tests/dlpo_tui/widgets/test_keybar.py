"""The key bar by mouse."""

from __future__ import annotations

import pytest
from conftest import Stage, Stager

from dlpo_tui.screens.question import Question
from dlpo_tui.widgets.keybar import KeyBar
from engine.messages import Pause


async def click(at: Stage, hint: str) -> None:
    column = at.lines()[-1].index(hint)
    await at.pilot.click(KeyBar, offset=(column + 2, 0))
    at.app.tick()
    await at.pilot.pause()


async def test_a_click_on_a_hint_is_its_key(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await click(at, "space pause")
        assert "PAUSING" in at.lines()[0]
        assert at.commands() == [Pause()]


@pytest.mark.parametrize("size", [(60, 20), (200, 60)])
async def test_quit_at_the_end_of_the_bar(stage: Stager, size: tuple[int, int]) -> None:
    async with stage(size=size) as at:
        await click(at, "q quit")
        assert isinstance(at.app.screen, Question)
        await at.press("escape")


async def test_a_click_on_a_hint_of_the_knobs(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("b")
        before = at.app.run_screen.knobs.chosen
        await click(at, "↑ ↓ choose")
        assert at.app.run_screen.knobs.has_focus
        assert at.app.run_screen.knobs.chosen == before + 1


async def test_a_click_between_the_hints_does_nothing(stage: Stager) -> None:
    async with stage(size=(200, 60)) as at:
        line = at.lines()[-1]
        await at.pilot.click(KeyBar, offset=(line.index("? help") - 3, 0))
        assert at.app.screen is at.app.run_screen
        assert at.commands() == []
