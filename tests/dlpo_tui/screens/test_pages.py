"""The boxes over a screen, at every size: the question, the help, the log, devices, an address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import scenes
from conftest import Stager
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import OptionList

from dlpo_tui.app import DlpoApp
from dlpo_tui.devices import Output
from dlpo_tui.screens.devices import Devices
from dlpo_tui.screens.hearing import Served
from dlpo_tui.screens.question import Question
from dlpo_tui.screens.reading import Help, Log
from dlpo_tui.sound import Silent
from dlpo_tui.theme import PAPER
from dlpo_tui.widgets.sheet import Sheet
from engine.messages import Noticed, Stop

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
CARDS = [Output("Built-in speakers", "ALSA", 2, True), Output("USB [audio] 2", "ALSA", 8, False)]
CLIP = Path("runs/quickstart-20260102-030405/samples/update-000040-07.flac")
PAGES: dict[str, Callable[[], Screen[object]]] = {
    "question": lambda: Question(40, False),
    "help": Help,
    "log": lambda: Log(lambda: scenes.fold(scenes.running()).log),
    "devices": lambda: Devices("USB [audio] 2", lambda: CARDS),
    "served": lambda: Served(
        "http://127.0.0.1:8123/k3y/update-000040-07.flac", "ssh -L 8123:127.0.0.1:8123 HOST", CLIP
    ),
}


@pytest.mark.parametrize("size", SIZES, ids=[f"{w}x{h}" for w, h in SIZES])
@pytest.mark.parametrize("page", sorted(PAGES))
def test_picture(page: str, size: tuple[int, int], snap_compare: Callable[..., bool]) -> None:
    bridge, _ = scenes.scripted(scenes.running())
    app = DlpoApp(bridge, Silent(), clock=lambda: 0.0)

    async def shown(pilot: Pilot[None]) -> None:
        while bridge.waiting:
            app.tick()
        app.tick()
        await pilot.pause()
        app.push_screen(PAGES[page]())
        await pilot.pause()
        screen = app.screen
        while isinstance(screen, Devices) and not screen.query_one(OptionList).size.height:
            await pilot.pause(0.01)
        await pilot.pause()

    same = snap_compare(app, terminal_size=size, run_before=shown)
    bridge.send(Stop())
    assert bridge.join(10)
    assert same


async def test_help_and_log_are_laid_out_before_they_are_asked_for(stage: Stager) -> None:
    async with stage() as at:
        at.app.get_screen("help").query_one(Sheet)
        at.app.get_screen("log").query_one(Sheet)
        await at.press("question_mark")
        assert at.app.screen is at.app.get_screen("help")


async def test_a_kept_page_begins_at_its_top_with_what_is_so_now(stage: Stager) -> None:
    async with stage(size=(80, 24)) as at:
        await at.press("l")
        assert "hot off the press" not in at.text()
        await at.press("escape", "question_mark", "j", "j", "escape", "question_mark")
        assert at.app.screen.query_one(Sheet).scroll_offset.y == 0
        assert "The session" in at.text()
        await at.press("escape")
        await at.happen(Noticed(20, "info", "hot off the press"))
        await at.press("l")
        assert "hot off the press" in at.text()


async def test_a_kept_page_wears_the_theme_of_its_opening(stage: Stager) -> None:
    async with stage(size=(80, 24)) as at:
        await at.press("question_mark")
        before = at.app.screen.query_one(Sheet).styles.background
        await at.press("escape")
        at.app.wear(PAPER.name)
        await at.press("question_mark")
        assert at.app.screen.query_one(Sheet).styles.background != before
