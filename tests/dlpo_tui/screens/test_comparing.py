"""Clips sorted, filtered, jumped to, seen in full and heard against the session's start."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import scenes
from conftest import Noted, Stage, Stager
from textual.pilot import Pilot

from dlpo_tui.app import DlpoApp
from dlpo_tui.widgets.clips import ClipTable
from dlpo_tui.widgets.sound_view import SoundView
from engine.messages import (
    ClipRendered,
    ClipsScored,
    CommandRefused,
    Event,
    PhaseEntered,
    RenderStart,
    SaveCheckpoint,
    SessionEnded,
    Stop,
)

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
START = "samples/update-000041-07-start.wav"
RENDERED = ClipRendered(41, 7, START, {"distillmos": 2.5, "wer": 0.3}, 2.5)


def evaluated() -> list[Event]:
    """Two evaluations, and after them eight rollouts."""
    return [
        *scenes.running(),
        ClipsScored(0, scenes.evaluation_clips(0)),
        ClipsScored(40, scenes.evaluation_clips(40)),
        ClipsScored(41, scenes.clips_of(41, random.Random(1))),
    ]


Seer = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def seen(stage: Stager, tmp_path: Path) -> Seer:
    """A stage whose clips are on the disk."""

    @asynccontextmanager
    async def staged(*keys: str, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Stage]:
        events = evaluated()
        async with stage(events, size) as at:
            at.app.run_screen.folder = tmp_path
            clips = [*scenes.evaluation_clips(0), *at.bridge.now.clips[-12:]]
            for clip in clips:
                if clip.path:
                    scenes.write_babble(tmp_path / clip.path, clip.seconds, clip.index, clip.update)
            scenes.write_babble(tmp_path / START, 4.0, 7, 0)
            await at.press(*keys)
            await looked(at)
            yield at

    return staged


async def looked(at: Stage) -> None:
    """Whatever is being read has been read and drawn."""
    for _ in range(3):
        await at.app.workers.wait_for_complete()
        await at.pilot.pause()
    at.app.tick()
    await at.pilot.pause()


def pane(at: Stage) -> str:
    region = at.app.run_screen.detail.region
    rows = at.lines()[region.y : region.bottom]
    return "\n".join(row[region.x : region.right] for row in rows)


# --- The table ---


async def test_i_sorts_by_the_next_column_and_shows_it(stage: Stager) -> None:
    async with stage(evaluated()) as at:
        table = at.app.run_screen.clips
        assert "▾update" in at.text()
        await at.press("i")
        assert "prompt▴" in at.text()
        first = [clip.prompt.lower() for clip in table.rows]
        assert first == sorted(first)
        await at.press("i", "i")
        assert "▾seconds" in at.text(), "the column sorted by is shown whatever else is not"
        await at.press("I")
        assert "▴seconds" in at.text()
        assert table.rows[0].seconds == min(clip.seconds for clip in table.rows)


async def test_sorting_keeps_the_clip_under_the_cursor(stage: Stager) -> None:
    async with stage(evaluated()) as at:
        table = at.app.run_screen.clips
        await at.press("down", "down")
        chosen = table.selected
        await at.press("i", "I", "i", "i")
        assert table.selected == chosen
        assert chosen is not None
        assert any(f"{chosen.reward:.3f}" in line for line in at.lines())


async def test_a_click_on_a_heading_sorts_and_once_more_turns(stage: Stager) -> None:
    async with stage(evaluated()) as at:
        table = at.app.run_screen.clips
        row = table.region.y + 1
        x = at.lines()[row].index("reward") + 2
        await at.pilot.click(offset=(x, row))
        rewards = [clip.reward for clip in table.rows if clip.reward is not None]
        assert rewards == sorted(rewards, reverse=True)
        assert "▾reward" in at.text()
        await at.pilot.click(offset=(x, row))
        assert "▴reward" in at.text()


async def test_the_filter_narrows_while_it_is_typed_and_stays(stage: Stager) -> None:
    async with stage(evaluated()) as at:
        table = at.app.run_screen.clips
        await at.press("slash", *"eval")
        assert {clip.kind for clip in table.rows} == {"evaluation"}
        assert at.lines()[-1].split() == ["enter", "take", "esc", "give", "up"]
        await at.press("space", *"wer", "greater_than_sign", *"0.09", "enter")
        assert [clip.update for clip in table.rows] == [0] * 4
        assert table.has_focus
        assert f"clips · 4 of {len(at.bridge.now.clips)}" in at.text()
        assert "filter eval wer>0.09" in at.text()
        await at.happen(ClipsScored(50, scenes.evaluation_clips(50)))
        assert len(table.rows) == 4
        await at.press("escape")
        assert len(table.rows) == len(at.bridge.now.clips)
        assert "filter" not in at.text()


async def test_a_bad_filter_is_told_and_nothing_is_lost(stage: Stager) -> None:
    async with stage(evaluated(), (60, 20)) as at:
        table = at.app.run_screen.clips
        await at.press("slash", *"stop", "space", *"wre", "greater_than_sign", *"1", "enter")
        assert "there is no number 'wre': did you mean wer?" in at.text()
        assert "filter stop wre>1" in at.text()
        assert {clip.prompt for clip in table.rows} == {"Stop."}
        await at.press(*["backspace"] * 5, *"wer<1", "enter")
        assert "there is no" not in at.text()
        assert table.rows
        assert table.has_focus


async def test_a_filter_that_nothing_passes_says_so_and_esc_clears_it(stage: Stager) -> None:
    async with stage(evaluated()) as at:
        await at.press("slash", *"xyzzy", "enter")
        assert "no clip passes the filter" in at.text()
        assert at.app.run_screen.clips.selected is None
        await at.press("p", "1", "3", "v", "r", "down", "end", "i")
        assert "there is no clip yet" in at.text() or "no clip" in at.text()
        await at.press("slash", "escape")
        assert at.app.run_screen.clips.selected is not None
        assert at.app.run_screen.clips.has_focus


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("1", "best of"),
        ("2", "worst of"),
        ("3", "most changed: +1.600 since update 0, at update 40"),
    ],
)
async def test_jumps(stage: Stager, key: str, told: str) -> None:
    async with stage(evaluated()) as at:
        table = at.app.run_screen.clips
        await at.press(key)
        assert told in at.text()
        rewards = [clip.reward for clip in table.rows if clip.reward is not None]
        assert table.selected is not None
        wanted = {"1": max(rewards), "2": min(rewards), "3": 3.3 + 1.6}[key]
        assert table.selected.reward == pytest.approx(wanted)


async def test_jumps_without_anywhere_to_go_say_so(stage: Stager) -> None:
    async with stage("fresh") as at:
        await at.press("1")
        assert "no clip here has a reward" in at.text()
        await at.press("3")
        assert "no evaluation clip here can be compared with update 0" in at.text()


# --- The detail ---


@pytest.mark.parametrize("size", SIZES)
async def test_v_shows_all_about_the_clip(seen: Seer, size: tuple[int, int]) -> None:
    async with seen("v", "3", size=size) as at:
        told = " ".join(pane(at).split())
        for fact in (
            "evaluation update 40 clip 3 p225 seed 11 2.40 s",
            "Printing, in the only sense with which we are at present concerned.",
            "reward 4.900 +1.600", "distillmos 4.90 MOS +1.60", "wer 0.060 share -0.040",
            "cer 0.020 share +0.000", "loudness -23.0 LUFS +0.0", "NOW", "0 s",
        ):  # fmt: skip
            assert fact in told
        assert any(0x2800 <= ord(c) < 0x2900 for c in told), "the waveform"
        assert at.app.run_screen.clips.region.height >= 4
        assert ("▀" in told) is (size != (60, 20)), "five rows of scores leave one for the sound"
        await at.press("v")
        assert not at.app.run_screen.detail.display
        assert at.app.run_screen.charts.display


async def test_a_rollout_tells_its_advantage_and_follows_the_cursor(seen: Seer) -> None:
    async with seen("v") as at:
        clip = at.app.run_screen.clips.selected
        assert clip is not None
        assert f"advantage {clip.advantage:+.2f}" in pane(at)
        await at.press("down")
        assert "clip 6" in pane(at)
        await at.press("end")
        await looked(at)
        assert "there is no file at" in " ".join(pane(at).split())


async def test_every_clip_of_a_long_prompt_keeps_its_numbers(stage: Stager) -> None:
    long = scenes.evaluation_clips(9, 1)[0]
    clip = replace(long, prompt="word " * 300, scores=dict.fromkeys(long.scores))
    async with stage([*scenes.running(), ClipsScored(9, (clip,))], (60, 20)) as at:
        await at.press("v")
        await at.happen()
        assert "…" in pane(at)
        assert "loudness" in pane(at)
        await at.resize(40, 12)
        await at.resize(300, 100)


async def test_the_same_sound_is_read_once(seen: Seer, monkeypatch: pytest.MonkeyPatch) -> None:
    from dlpo_tui.widgets import sound_picture

    read, paths = sound_picture.read, []

    def counted(path: Path) -> object:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(sound_picture, "read", counted)
    async with seen("v") as at:
        for key in ("down", "up", "down", "v", "v"):
            await at.press(key)
            await looked(at)
        assert len(paths) == len(set(paths)) == 2


async def test_the_playhead_moves_with_the_sound(seen: Seer) -> None:
    async with seen("v", "enter") as at:
        clip, view = at.app.run_screen.clips.selected, at.app.run_screen.detail.view
        assert clip is not None

        def head() -> int:
            at.app.tick()
            row = view.render_line(view.size.height - 2).text
            return row.index("│") if "│" in row else -1

        assert head() == 0
        at.sound.at = clip.seconds / 2
        assert head() == view.size.width // 2
        at.sound.at = clip.seconds + 5
        assert head() == view.size.width - 1
        await at.press("x")
        assert head() == -1
        at.sound.current = Path("another.wav")
        assert head() == -1


async def test_a_click_on_the_sound_plays_from_there(seen: Seer) -> None:
    async with seen("v") as at:
        clip, view = at.app.run_screen.clips.selected, at.app.run_screen.detail.view
        assert clip is not None
        await at.pilot.click(SoundView, offset=(view.size.width // 4, 1))
        assert at.sound.played[-1].name == Path(clip.path).name
        share = (view.size.width // 4) / view.size.width
        assert at.sound.starts[-1] == pytest.approx(share * clip.seconds, rel=1e-3)
        assert any("♪" in line for line in at.lines())


async def test_without_colour_the_spectrogram_is_shaded(
    seen: Seer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with seen("v") as at:
        assert "+" in pane(at)
        assert "▀" not in pane(at)


async def test_in_ascii_the_spectrogram_is_shaded(seen: Seer) -> None:
    async with seen() as at:
        at.app.ascii.enabled = True
        await at.press("v")
        await looked(at)
        rows = [row for row in pane(at).splitlines() if "=" in row or "+" in row]
        assert len(rows) > 4
        assert pane(at).isascii()


@pytest.mark.parametrize("theme", ["paper", "nord"])
async def test_another_theme_has_its_own_ramp(seen: Seer, theme: str) -> None:
    async with seen("v") as at:
        view = at.app.run_screen.detail.view
        before = view.render_line(view.size.height - 2)
        at.app.theme = theme
        await looked(at)
        assert view.render_line(view.size.height - 2) != before


# --- Against the start ---


async def test_r_plays_the_evaluation_at_the_start_and_then_the_clip(seen: Seer) -> None:
    async with seen("v", "3", "r") as at:
        assert at.sound.played[-1].name == "evaluation-000000-03.wav"
        assert "START" in pane(at)
        assert "wer 0.100 share" in " ".join(pane(at).split())
        assert at.app.run_screen.detail.view.path == at.sound.played[-1]
        await at.press("r")
        assert at.sound.played[-1].name == "evaluation-000040-03.wav"
        assert "NOW" in pane(at)
        await at.press("r", "down")
        assert "START" not in pane(at)
        assert at.commands() == []


async def test_r_asks_for_a_rollouts_start_and_plays_it_when_it_comes(seen: Seer) -> None:
    async with seen("v", "r", "r") as at:
        assert "the start's clip is being rendered" in at.text()
        assert "rendering the start …" in pane(at)
        assert at.sound.played == []
        await at.happen(RENDERED)
        await looked(at)
        assert at.sound.played[-1].name == Path(START).name
        assert "START" in pane(at)
        assert "reward 2.500" in " ".join(pane(at).split())
        await at.press("r")
        clip = at.app.run_screen.clips.selected
        assert clip is not None
        assert at.sound.played[-1].name == Path(clip.path).name
        assert f"{clip.reward - 2.5:+.3f}" in pane(at)
        assert at.commands() == [RenderStart(41, 7)]


async def test_a_start_that_comes_too_late_is_not_played(seen: Seer) -> None:
    async with seen("r", "down") as at:
        await at.happen(RENDERED)
        assert at.sound.played == []
        assert "the start's clip of update 41, clip 7, is there" in at.text()


async def test_what_another_terminal_asked_for_is_seen_and_not_played(seen: Seer) -> None:
    async with seen("v") as at:
        await at.happen(RENDERED)
        assert "NOW" in pane(at)
        assert at.sound.played == []


async def test_newer_clips_do_not_come_between(seen: Seer) -> None:
    async with seen("v", "r") as at:
        await at.happen(RENDERED, ClipsScored(42, scenes.clips_of(42, random.Random(2))))
        clip = at.app.run_screen.clips.selected
        assert clip is not None
        assert (clip.update, clip.index) == (41, 7)
        assert "START" in pane(at)
        await at.press("home")
        assert "update 42" in pane(at)


async def test_while_paused_it_is_rendered_at_once(seen: Seer) -> None:
    async with seen() as at:
        await at.press("r")
        assert "after this update …" in at.text()
        await at.happen(CommandRefused(41, "its voice is gone", "RenderStart"))
        assert "its voice is gone" in at.text()
        await at.happen(PhaseEntered(41, "paused"))
        await at.press("r")
        assert "rendering the start's clip …" in at.text()


async def test_a_refused_start_leaves_the_knobs_alone(seen: Seer) -> None:
    async with seen("a", "right", "r") as at:
        await at.happen(CommandRefused(41, "its voice is gone", "RenderStart"))
        assert "1.25 pending" in at.text()
        assert at.app.run_screen.awaited is None


async def test_where_there_is_nothing_to_compare_with_it_is_said(stage: Stager) -> None:
    async with stage("fresh") as at:
        await at.press("r")
        assert "there is no clip yet" in at.text()
        await at.happen(ClipsScored(0, scenes.evaluation_clips(0)))
        await at.press("r")
        assert "this clip is the session's start" in at.text()
    async with stage([*scenes.running(), ClipsScored(40, scenes.evaluation_clips(40))]) as at:
        await at.press("r")
        assert "no evaluation at update 0 has this prompt" in at.text()
    async with stage("finished") as at:
        await at.press("r")
        assert "the session has ended" in at.text()


async def test_the_end_ends_the_waiting(seen: Seer) -> None:
    async with seen("v", "r") as at:
        await at.happen(SessionEnded(41, "finished"))
        assert "rendering" not in pane(at)


# --- Knobs and names ---


async def test_a_snapshot_gets_its_name(stage: Stager) -> None:
    async with stage() as at:
        await at.press("S", *"warm_2-b", "enter")
        assert "asked for a snapshot warm_2-b after this update" in at.text()
        assert at.app.run_screen.clips.has_focus
        assert at.commands() == [SaveCheckpoint("warm_2-b")]


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a/b é", "a name has letters, digits, - and _, without ' ' '/' 'é'"),
        ("", "a name has letters, digits, - and _"),
        ("x" * 41, "a name has at most 40 characters, not 41"),
    ],
)
async def test_a_bad_name_is_told_and_stays(
    stage: Stager, size: tuple[int, int], name: str, told: str
) -> None:
    async with stage(size=size) as at:
        await at.press("S")
        at.app.run_screen.name_line.input.value = name
        await at.press("enter")
        assert told in at.text()
        assert at.app.run_screen.name_line.text == name
        await at.press("escape")
        assert "snapshot name" not in at.text()
        assert at.commands() == []


async def test_after_the_end_no_name_is_asked_for(stage: Stager) -> None:
    async with stage("finished") as at:
        await at.press("S")
        assert "the session has ended" in at.text()
        assert not at.app.run_screen.name_line.display


async def test_a_click_opens_the_filter_again(stage: Stager) -> None:
    async with stage(evaluated()) as at:
        await at.press("slash", *"eval", "enter")
        await at.pilot.click("#filter")
        assert at.app.run_screen.filter_line.input.has_focus
        assert isinstance(at.app.run_screen.query_one("#clips"), ClipTable)


# --- Pictures ---

PICTURES = {
    "detail": ("v", "3", "enter"),
    "start": ("v", "3", "r"),
    "filter": (
        "i",
        "i",
        "i",
        "i",
        "slash",
        *"eval",
        "space",
        *"wre",
        "greater_than_sign",
        "1",
        "enter",
    ),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", PICTURES)
def test_picture(
    state: str, size: tuple[int, int], snap_compare: Callable[..., bool], tmp_path: Path
) -> None:
    bridge, _ = scenes.scripted(evaluated())
    sound = Noted()
    sound.at = 0.8
    app = DlpoApp(bridge, sound, tmp_path, clock=lambda: 0.0)
    for update in (0, 40):
        for clip in scenes.evaluation_clips(update):
            scenes.write_babble(tmp_path / clip.path, clip.seconds, clip.index, update)

    async def shown(pilot: Pilot[None]) -> None:
        for _ in range(6):
            app.tick()
        await pilot.pause()
        await pilot.press(*PICTURES[state])
        for _ in range(3):
            await app.workers.wait_for_complete()
            await pilot.pause()
        app.tick()
        await pilot.pause()

    same = snap_compare(app, terminal_size=size, run_before=shown)
    bridge.send(Stop())
    assert bridge.join(10)
    assert same
