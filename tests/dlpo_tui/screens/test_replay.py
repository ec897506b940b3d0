"""The session's screen over a journal: seen, heard, stepped through, never obeyed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import scenes
from conftest import Noted
from journals import write_run
from textual.pilot import Pilot

from dlpo_tui.palette import possible
from dlpo_tui.replay_app import ReplayApp
from dlpo_tui.replaying import REFUSED, Replay
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.sound import Silent
from engine.messages import Event

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]


class Seat:
    """A replay on a screen of some size."""

    def __init__(self, folder: Path, events: list[Event], at: int | None = None) -> None:
        self.replay = Replay(write_run(folder, events), at)
        assert self.replay.join(30)
        self.sound = Noted()
        self.app = ReplayApp(self.replay, self.sound, folder, clock=lambda: 0.0)
        self.pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        self.app.tick()
        await self.pilot.pause()

    def lines(self) -> list[str]:
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.lines())


@asynccontextmanager
async def seated(
    folder: Path,
    events: list[Event],
    size: tuple[int, int] = (80, 24),
    at: int | None = None,
) -> AsyncIterator[Seat]:
    seat = Seat(folder / "run", events, at)
    async with seat.app.run_test(size=size) as seat.pilot:
        for _ in range(6):
            seat.app.tick()
        await seat.pilot.pause()
        yield seat


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_picture(
    size: tuple[int, int], snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    replay = Replay(write_run(Path("run"), scenes.running()))
    assert replay.join(30)
    app = ReplayApp(replay, Silent(), Path("run"), clock=lambda: 0.0)

    async def shown(pilot: Pilot[None]) -> None:
        for _ in range(6):
            app.tick()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=shown)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_it_says_that_it_is_a_replay_and_how_it_ended(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with seated(tmp_path, scenes.finished(), size) as at:
        assert "REPLAY" in at.lines()[0]
        assert at.lines()[1].strip().startswith("replay  finished after 40 updates")
        assert "update 40 / 100" in at.lines()[1]
        assert "q quit" in at.lines()[-1]


async def test_a_run_that_was_cut_off_says_how_to_go_on(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.running(), (200, 60)) as at:
        told = f"cut off after update 40; dlpo-tui run --resume {tmp_path / 'run'} goes on"
        assert told in at.lines()[1]


async def test_a_failure_is_told(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.failed(), (120, 40)) as at:
        assert "failed after 23 updates: the reward failed on 75%" in at.lines()[1]


@pytest.mark.parametrize("key", ["space", "n", "s", "S", "e", "u"])
async def test_a_command_is_refused_in_one_sentence(tmp_path: Path, key: str) -> None:
    async with seated(tmp_path, scenes.running()) as at:
        await at.press(key)
        assert f"› {REFUSED}" in at.text()


async def test_a_start_that_was_never_rendered_is_told_of(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.running()) as at:
        await at.press("r")
        assert "its start was never rendered; clips with ● have theirs" in at.text()
        assert REFUSED not in at.text()


async def test_a_knob_does_not_turn(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.running(), (120, 40)) as at:
        await at.press("a", "right")
        assert REFUSED in at.text()
        assert "pending" not in at.text()
        assert at.app.run_screen.knobs.pending == {}


async def test_clips_play_from_the_folder(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.finished()) as at:
        await at.press("down", "p")
        assert at.sound.played == [tmp_path / "run" / "samples/update-000040-06.wav"]
        await at.press("x")
        assert at.sound.current is None


async def test_keys_step_through_the_updates(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.finished()) as at:
        for key, update in (
            ("alt+left", 39),
            ("alt+right", 40),
            ("alt+up", 30),
            ("alt+down", 40),
            ("alt+home", 0),
            ("alt+right", 1),
            ("alt+end", 40),
        ):
            await at.press(key)
            assert f"update {update} / 100" in at.lines()[1], key


async def test_a_step_redraws_the_curves_at_once(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.finished(), at=20) as at:
        assert "update 20 / 100" in at.lines()[1]
        before = at.text()
        await at.press("alt+left")
        assert at.text() != before


async def test_help_and_the_end(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.running()) as at:
        await at.press("question_mark")
        assert isinstance(at.app.screen, KeyPage)
        assert "one update back, one on" in at.text()
        assert "play the selected clip" in at.text()
        assert "safe point" not in at.text()
        await at.press("escape", "q")
        assert at.app._exit


async def test_a_journal_that_cannot_be_read_ends_the_screen(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.running(3), at=9) as at:
        assert at.app._exit
        assert "no update 9" in at.replay.error


async def test_the_table_is_filtered_as_in_a_session(tmp_path: Path) -> None:
    async with seated(tmp_path, scenes.finished()) as at:
        await at.press("slash")
        assert "enter take" in at.lines()[-1]
        await at.press(*"Stop", "enter")
        assert at.app.run_screen.clips.has_focus
        await at.press("p")
        assert len(at.sound.played) == 1


async def test_the_palette_offers_no_command(tmp_path: Path) -> None:
    for events in (scenes.running(7), scenes.finished()):
        async with seated(tmp_path / str(len(events)), events) as seat:
            offered = {key.name for key, _ in possible(seat.app.screen)}
            assert not offered & {"pause", "save", "single", "evaluate", "undo", "alpha"}
            assert "knobs.type" not in offered
            assert {"play", "help", "charts.zoom"} <= offered
