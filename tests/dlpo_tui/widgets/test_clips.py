"""The table of clips: which rows, which columns, where the cursor stays."""

from __future__ import annotations

import random

import pytest
import scenes
from conftest import Stager

from dlpo_tui.widgets.clip_columns import GAP, fitting
from dlpo_tui.widgets.clips import ClipTable
from engine.messages import Clip, ClipsScored


def names(width: int, told_twice: str = "distillmos") -> list[str]:
    return [cell.name for cell in fitting(scenes.STARTED, width, told_twice)]


def test_columns_by_width() -> None:
    assert names(30) == ["update", "prompt"]
    assert names(55) == ["update", "prompt", "reward", "wer", "advantage"]
    assert names(78) == ["update", "prompt", "reward", "wer", "cer", "advantage"]
    assert set(names(160)) == {
        *("update", "prompt", "speaker", "seconds", "reward", "distillmos"),
        *("wer", "cer", "loudness", "advantage"),
    }


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_columns_fill_the_width_and_no_more(width: int) -> None:
    cells = fitting(scenes.STARTED, width)
    used = sum(cell.width for cell in cells) + GAP * (len(cells) - 1)
    assert used == width


async def test_newest_first_and_foreign_text_as_it_is(stage: Stager) -> None:
    odd = Clip(41, 0, "evaluation", "[red]日本[/] \x1b[31m\n", "p", 7, 1.0, "", {"wer": None})
    async with stage([*scenes.running(), ClipsScored(41, (odd,))]) as at:
        rows = [line for line in at.lines() if line.strip().startswith(("●", "40"))]
        assert "● " in rows[0]
        assert "[red]日本[/]" in rows[0]
        assert rows[0].count("–") == 4
        assert "\x1b" not in at.text()


async def test_the_cursor_follows_the_newest_until_it_is_moved(stage: Stager) -> None:
    async with stage() as at:
        table = at.app.run_screen.clips
        dice = random.Random(1)
        await at.happen(ClipsScored(41, scenes.clips_of(41, dice)))
        assert table.selected is not None
        assert table.selected.update == 41
        await at.press("down", "down")
        chosen = table.selected
        line = next(i for i, told in enumerate(at.lines()) if told.strip().startswith("41"))
        await at.happen(ClipsScored(42, scenes.clips_of(42, dice)))
        assert table.selected == chosen
        assert at.lines()[line].strip().startswith("41"), "the rows in sight stay in place"
        await at.press("home")
        assert table.selected.update == 42


async def test_every_clip_can_be_reached(stage: Stager) -> None:
    async with stage() as at:
        table = at.app.run_screen.clips
        await at.press("end")
        assert table.selected == at.bridge.now.clips[0]
        assert at.lines()[-3].strip().startswith("1 ")
        await at.press("pageup", "pagedown", "down")
        assert table.selected == at.bridge.now.clips[0]


async def test_a_click_selects_and_a_second_one_plays(stage: Stager) -> None:
    async with stage() as at:
        table = at.app.run_screen.clips
        await at.pilot.click(ClipTable, offset=(10, 4))
        assert table.selected == at.bridge.now.clips[-3]
        assert at.sound.played == []
        await at.pilot.click(ClipTable, offset=(10, 5), times=2)
        assert len(at.sound.played) == 1
