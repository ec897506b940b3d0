"""The command palette: the table of keys by words."""

from __future__ import annotations

from conftest import Stager
from textual.command import CommandPalette

from dlpo_tui.palette import possible
from engine.messages import Pause


async def test_a_command_is_found_by_its_words_and_done(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("ctrl+p")
        assert isinstance(at.app.screen, CommandPalette)
        await at.press(*"next safe point")
        for _ in range(200):
            if "pause at the next safe point" in at.text():
                break
            await at.pilot.pause(0.02)
        await at.pilot.pause()
        await at.press("down", "enter")
        for _ in range(200):
            if "PAUSING" in at.lines()[0]:
                break
            await at.pilot.pause(0.02)
        assert at.app.screen is at.app.run_screen
        assert at.commands() == [Pause()]


def offered(at: object) -> set[str]:
    return {key.name for key, _ in possible(at.app.run_screen)}  # type: ignore[attr-defined]


async def test_only_what_can_be_done_now_is_offered(stage: Stager) -> None:
    async with stage() as at:
        running = offered(at)
        assert {"pause", "save", "play", "clips.sort", "knobs.type", "charts.zoom"} <= running
        assert "command-palette" not in running
        assert "volume-previous" not in running
    async with stage("finished") as at:
        assert running - offered(at) >= {"pause", "save", "single", "evaluate", "alpha"}
        assert {"play", "log", "charts.zoom"} <= offered(at)
    async with stage("loading") as at:
        assert offered(at) == {"log", "help", "ask", "focus-next", "next-theme"}
