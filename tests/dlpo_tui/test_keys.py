"""Every key of the session's screen, pressed."""

from __future__ import annotations

from pathlib import Path

import pytest
import scenes
from conftest import Stager

from dlpo_tui.keys import KEYS
from dlpo_tui.screens.question import Question
from dlpo_tui.screens.reading import Help, Log
from dlpo_tui.widgets.clips import ClipTable
from dlpo_tui.widgets.knobs import KnobPanel
from engine.messages import (
    Command,
    CommandRefused,
    Evaluate,
    Pause,
    PhaseEntered,
    Resume,
    SaveCheckpoint,
    SessionEnded,
    SingleUpdate,
    Stop,
)


@pytest.mark.parametrize(
    ("key", "scene", "command"),
    [
        ("space", "running", Pause()),
        ("space", "paused", Resume()),
        ("n", "paused", SingleUpdate()),
        ("s", "running", SaveCheckpoint("by hand")),
        ("e", "running", Evaluate()),
    ],
)
async def test_a_key_sends_its_command(
    stage: Stager, key: str, scene: str, command: Command
) -> None:
    async with stage(scene) as at:
        await at.press(key)
        assert "› asked " in at.text()
        assert at.commands() == [command]


async def test_pausing_shows_until_it_is_so_and_can_be_taken_back(stage: Stager) -> None:
    async with stage() as at:
        await at.press("space")
        assert "PAUSING …" in at.lines()[0]
        await at.press("space")
        assert "PAUS" not in at.lines()[0]
        await at.press("space")
        await at.happen(PhaseEntered(40, "paused"))
        assert "PAUSED" in at.lines()[0]
        assert "space resume" in at.lines()[-1]
        await at.press("space")
        assert "RESUMING …" in at.lines()[0]
        await at.happen(PhaseEntered(41, "rollout"))
        assert "ING" not in at.lines()[0]
        assert at.commands() == [Pause(), Resume(), Pause(), Resume()]


@pytest.mark.parametrize(("key", "name"), [("a", "alpha"), ("b", "beta")])
async def test_a_and_b_go_to_their_knobs(stage: Stager, key: str, name: str) -> None:
    async with stage() as at:
        await at.press(key)
        panel = at.app.run_screen.knobs
        assert panel.has_focus
        assert panel.name_chosen == name
        assert "turn" in at.lines()[-1]
        await at.press("escape")
        assert at.app.run_screen.clips.has_focus


async def test_tab_goes_round(stage: Stager) -> None:
    async with stage() as at:
        seen = []
        for _ in range(3):
            assert at.app.focused is not None
            seen.append(at.app.focused.id)
            await at.press("tab")
        assert seen == ["clips", "knobs", "clips"]


@pytest.mark.parametrize("key", ["p", "enter"])
async def test_play_gives_the_selected_clip_to_the_sound(stage: Stager, key: str) -> None:
    async with stage() as at:
        await at.press("down", key)
        folder = Path(scenes.STARTED.folder)
        assert at.sound.played == [folder / "samples/update-000040-06.wav"]
        assert any("♪" in line and "3.850" not in line for line in at.lines())
        await at.press("x")
        assert at.sound.current is None
        assert "♪" not in at.text()


async def test_play_is_heard_from_the_knobs_as_well(stage: Stager) -> None:
    async with stage() as at:
        await at.press("b", "p")
        assert len(at.sound.played) == 1


async def test_what_the_sound_says_is_shown(stage: Stager) -> None:
    async with stage(size=(60, 20)) as at:
        at.sound.play = lambda path, start=0.0: None  # type: ignore[method-assign]
        at.sound.said = f"no sound device: the clip is at /home/somebody/{'x' * 40}/clip-07.wav"
        await at.press("p")
        assert "no sound device" in at.text()
        assert "clip-07.wav" in at.text()
        assert "o serve clip" in at.lines()[-1]


async def test_a_clip_that_was_not_written_cannot_be_played(stage: Stager) -> None:
    async with stage() as at:
        await at.press(*["down"] * 5, "p")
        assert at.sound.played == []
        assert "this clip was not written to disk" in at.text()


async def test_play_without_clips(stage: Stager) -> None:
    async with stage("fresh") as at:
        await at.press("p", "down", "end", "pageup")
        assert "there is no clip yet" in at.text()


async def test_charts_turn_zoom_and_look_back(stage: Stager) -> None:
    async with stage() as at:
        grid = at.app.run_screen.charts
        assert "charts 1–2 of 8" in at.text()
        await at.press("right_square_bracket")
        assert "charts 3–4 of 8" in at.text()
        assert "penalty" in at.text()
        await at.press("left_square_bracket", "left_square_bracket")
        assert "charts 7–8 of 8" in at.text()
        await at.press("right_square_bracket", "z")
        assert grid.alone
        assert "chart 1 of 8" in at.text()
        await at.press("z", "w", "w")
        assert "last 50 updates" in at.text()


@pytest.mark.parametrize(
    ("key", "page", "told"),
    [
        ("question_mark", Help, "pause at the next safe point"),
        ("l", Log, "the reward rose (distillmos +0.71) while a judge got worse (wer +0.03)"),
    ],
)
async def test_pages_open_and_close(stage: Stager, key: str, page: type, told: str) -> None:
    async with stage() as at:
        await at.press(key)
        assert isinstance(at.app.screen, page)
        assert told in at.text()
        await at.press("down", "up", "escape")
        assert at.app.screen is at.app.run_screen


async def test_quitting_asks_and_can_be_taken_back(stage: Stager) -> None:
    async with stage() as at:
        for key in ("k", "escape", "q"):
            await at.press("q")
            assert isinstance(at.app.screen, Question)
            await at.press(key)
            assert at.app.screen is at.app.run_screen
        assert at.app.is_running
        assert at.commands() == []


@pytest.mark.parametrize(
    ("keys", "commands"),
    [
        (("q", "s"), [SaveCheckpoint("on quitting"), Stop()]),
        (("ctrl+q", "enter"), [SaveCheckpoint("on quitting"), Stop()]),
        (("ctrl+c", "x"), [Stop(save=False)]),
        (("q", "down", "enter"), [Stop(save=False)]),
    ],
)
async def test_stopping_waits_for_the_end_and_leaves(
    stage: Stager, keys: tuple[str, ...], commands: list[Command]
) -> None:
    async with stage() as at:
        await at.press(*keys)
        assert at.bridge.join(10)
        assert at.session.told == commands
        at.app.tick()
        assert at.app._exit
        assert at.bridge.now.ended is not None


async def test_q_twice_leaves_a_session_that_does_not_stop(stage: Stager) -> None:
    async with stage() as at:
        at.session.told.append(Stop())
        at.bridge.send = lambda command: None  # type: ignore[method-assign]
        at.app.run_screen.send = at.bridge.send
        await at.press("q", "x")
        assert "STOPPING …" in at.lines()[0]
        assert not at.app._exit
        await at.press("q")
        assert at.app._exit
        del at.bridge.send  # type: ignore[misc]


async def test_a_session_that_outlives_the_terminal_can_be_left(stage: Stager) -> None:
    async with stage() as at:
        at.app.run_screen.outlives = True
        await at.press("q")
        assert "training goes on" in at.text()
        await at.press("l")
        assert at.app._exit
        assert at.commands() == []


async def test_l_is_no_answer_where_the_session_ends_with_the_terminal(stage: Stager) -> None:
    async with stage() as at:
        await at.press("q", "l")
        assert isinstance(at.app.screen, Question)


@pytest.mark.parametrize("scene", ["finished", "failed", "stillborn", "loading"])
async def test_q_leaves_at_once_where_nothing_runs(stage: Stager, scene: str) -> None:
    async with stage(scene) as at:
        assert not at.app._exit
        await at.press("q")
        assert at.app._exit


async def test_the_question_goes_when_the_session_ends_meanwhile(stage: Stager) -> None:
    async with stage() as at:
        await at.press("q")
        await at.happen(SessionEnded(40, "finished"))
        assert at.app.screen is at.app.run_screen
        assert "FINISHED" in at.lines()[0]
        assert "finished after 40 updates" in at.lines()[1]
        assert not at.app._exit


async def test_after_the_end_no_command_is_sent(stage: Stager) -> None:
    async with stage("finished") as at:
        for key in ("space", "n", "s", "e"):
            await at.press(key)
            assert "the session has ended" in at.text()
        assert at.session.told == []


async def test_a_refusal_is_shown(stage: Stager) -> None:
    async with stage() as at:
        await at.happen(CommandRefused(40, "nothing can be saved here"))
        assert "nothing can be saved here" in at.text()


def test_the_table_has_no_key_twice_in_a_place() -> None:
    for place in ("session", "charts", "clips", "knobs", "typing"):
        names = [n for key in KEYS if key.where == place for n in key.keys.split(",")]
        assert len(names) == len(set(names)), place


async def test_every_key_of_the_table_has_its_action(stage: Stager) -> None:
    async with stage() as at:
        screen = at.app.run_screen
        homes = {
            "session": screen,
            "charts": screen,
            "clips": screen.query_one(ClipTable),
            "knobs": screen.query_one(KnobPanel),
        }
        for key in KEYS:
            if key.where in homes and key.action and not key.action.startswith("app."):
                name = key.action.removeprefix("screen.").split("(")[0]
                home = screen if key.action.startswith("screen.") else homes[key.where]
                assert hasattr(home, f"action_{name}"), key
