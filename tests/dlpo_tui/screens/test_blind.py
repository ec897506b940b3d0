"""The blind test's screen: every key, what is asked, and that nothing tells whose clip it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import Noted
from textual.pilot import Pilot

from dlpo_tui.blind_app import BlindApp
from dlpo_tui.keys import KEYS
from dlpo_tui.palette import possible
from dlpo_tui.rendering import Pair, Rendering
from dlpo_tui.screens.blind import BlindScreen
from dlpo_tui.screens.devices import Devices
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.sound import Silent, Sound
from engine.preference import Trial

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
TEXTS = ("Go on.", "No [bold]markup[/bold] in here.", "A longer sentence " * 8)
TRIALS = (Trial(1, "B"), Trial(0, "A"), Trial(2, "B"))


def rendered(folder: Path) -> Rendering:
    """A rendering whose pairs are there already; its thread never runs."""

    def never(*_: object) -> None:
        raise AssertionError

    made = Rendering(never, never, never, folder)  # type: ignore[arg-type]
    made.start = lambda: None  # type: ignore[method-assign]
    made.trials = TRIALS
    made.pairs = tuple(
        Pair(TEXTS[trial.prompt], {"X": folder / f"{n}-x.wav", "Y": folder / f"{n}-y.wav"})
        for n, trial in enumerate(TRIALS, 1)
    )
    return made


class Seat:
    def __init__(self, folder: Path, sound: Sound | None = None) -> None:
        self.rendering = rendered(folder)
        self.sound = Noted()
        self.app = BlindApp(self.rendering, sound or self.sound, ("a.safetensors", "bundled"))
        self.pilot: Pilot[None]

    @property
    def screen(self) -> BlindScreen:
        return self.app.blind_screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        self.app.tick()
        await self.pilot.pause()

    def lines(self) -> list[str]:
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.lines())

    def heard(self) -> list[str]:
        return [path.name for path in self.sound.played]


@asynccontextmanager
async def seated(
    folder: Path, size: tuple[int, int] = (80, 24), sound: Sound | None = None
) -> AsyncIterator[Seat]:
    seat = Seat(folder, sound)
    async with seat.app.run_test(size=size) as seat.pilot:
        seat.app.tick()
        await seat.pilot.pause()
        yield seat


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["speaking", "pair", "over", "result"])
def test_picture(
    size: tuple[int, int], state: str, snap_compare: Callable[..., bool], tmp_path: Path
) -> None:
    seat = Seat(tmp_path)
    if state == "speaking":
        seat.rendering.pairs = None
        seat.rendering.progress = (40, 160, "A speaks")

    async def shown(pilot: Pilot[None]) -> None:
        seat.pilot = pilot
        over = "1 2 = 1 2 x 1 2 y"
        states = {"pair": "1 2 = 1 2 x 1 2 1", "over": over, "result": f"{over} enter"}
        pressed = states.get(state, "")
        await seat.press(*("equals_sign" if key == "=" else key for key in pressed.split()))

    assert snap_compare(seat.app, terminal_size=size, run_before=shown)


async def test_a_pair_is_heard_and_answered(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        assert TEXTS[1] in at.text()
        await at.press("1")
        assert at.heard() == ["1-x.wav"]
        assert " X  ♪" in at.text()
        await at.press("2")
        assert at.heard() == ["1-x.wav", "1-y.wav"]
        assert " X  ✓" in at.text()
        assert " Y  ♪" in at.text()
        await at.press("x")
        assert at.screen.answers == ["B"], "X was B there"
        assert at.sound.current is None
        assert "› pair 1: X is better; ⌫ takes it back" in at.text()
        assert "1/3" in at.lines()[1]


@pytest.mark.parametrize(
    ("keys", "answers"),
    [
        (("x", "x"), ["B", "A"]),
        (("left", "left"), ["B", "A"]),
        (("y", "y"), ["A", "B"]),
        (("right", "right"), ["A", "B"]),
        (("equals_sign", "0"), ["", ""]),
    ],
)
async def test_answers_are_kept_by_voice(
    tmp_path: Path, keys: tuple[str, str], answers: list[str]
) -> None:
    async with seated(tmp_path) as at:
        for key in keys:
            await at.press("1", "2", key)
        assert at.screen.answers == answers


async def test_both_must_be_heard_before_an_answer(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.press("x")
        assert "› hear X (1) and Y (2) first" in at.text()
        await at.press("2", "y")
        assert "› hear X (1) first" in at.text()
        await at.press("1", "equals_sign", "x")
        assert at.screen.answers == [""]
        assert "› hear X (1) and Y (2) first" in at.text(), "the next pair begins anew"


async def test_space_repeats_and_s_silences(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.press("space", "2", "space", "space")
        assert at.heard() == ["1-x.wav", "1-y.wav", "1-y.wav", "1-y.wav"]
        await at.press("s")
        assert at.sound.current is None
        assert "♪" not in at.text()


async def test_an_answer_is_taken_back(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.press("backspace")
        assert "there is no answer to take back" in at.text()
        await at.press("1", "2", "x", "backspace")
        assert at.screen.answers == []
        assert TEXTS[1] in at.text()
        assert "› pair 1 once more" in at.text()


async def test_after_the_last_answer_it_may_be_taken_back_until_the_result_is_seen(
    tmp_path: Path,
) -> None:
    async with seated(tmp_path) as at:
        await at.press("enter")
        assert "answer every pair first" in at.text()
        for _ in TRIALS:
            await at.press("1", "2", "x")
        assert "every pair is answered" in at.text()
        assert "A better" not in at.text(), "a tally would tell whose clips were heard"
        await at.press("1")
        assert at.heard()[-1] == "3-y.wav", "nothing more to hear"
        await at.press("backspace")
        assert len(at.screen.answers) == 2
        await at.press("1", "2", "y", "enter")
        assert "A better 2   no difference 0   B better 1" in at.text()
        assert "A preferred in 2 of 3 decided: 67 %" in at.text()
        assert "95 % interval 9 % to 99 %, p = 1" in at.text()
        assert "about 38 more pairs would settle it, if choices go on so" in at.text()
        await at.press("backspace")
        assert "› the result is seen: the answers stand" in at.text()
        assert not at.app._exit
        await at.press("enter")
        assert at.app._exit
        assert at.screen.answers == ["B", "A", "A"]


async def test_no_tally_is_shown_before_the_end(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        for _ in TRIALS[:2]:
            await at.press("1", "2", "x")
            assert "A better" not in at.text()
            assert "decided" not in at.text()


class Kept:
    """In the place of what writes answers down: notes them, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.told: list[tuple[object, ...]] = []
        self.error = error

    def answered(self, spoken: object, *told: object) -> None:
        if self.error:
            raise self.error
        self.told.append(told)

    def taken_back(self, number: int) -> None:
        self.told.append((number,))


@asynccontextmanager
async def kept(folder: Path, keeping: Kept) -> AsyncIterator[tuple[Seat, list[float]]]:
    """A seat whose answers go to `keeping`, and the clock that it looks at."""
    seat, clock = Seat(folder), [100.0]
    seat.rendering.spoken = object()  # type: ignore[assignment]
    seat.screen.keeping = keeping  # type: ignore[assignment]
    seat.screen.clock = lambda: clock[0]
    async with seat.app.run_test(size=(80, 24)) as seat.pilot:
        seat.app.tick()
        yield seat, clock


async def test_each_answer_is_kept_as_it_is_given_with_its_seconds(tmp_path: Path) -> None:
    keeping = Kept()
    async with kept(tmp_path, keeping) as (at, clock):
        clock[0] = 107.5
        await at.press("1", "2", "x")
        assert keeping.told == [(TRIALS[0], 1, "B", 7.5)]
        clock[0] = 110.0
        await at.press("1", "2", "equals_sign")
        assert keeping.told[1:] == [(TRIALS[1], 2, "", 2.5)]
        clock[0] = 111.0
        await at.press("backspace")
        assert keeping.told[2:] == [(2,)]
        clock[0] = 112.0
        await at.press("1", "2", "y")
        assert keeping.told[3:] == [(TRIALS[1], 2, "B", 1.0)], "from the pair's coming back"


async def test_an_answer_that_cannot_be_written_down_still_counts(tmp_path: Path) -> None:
    full = OSError(28, "No space left on device", "runs/q/pairs.jsonl")
    async with kept(tmp_path, Kept(full)) as (at, _):
        await at.press("1", "2", "x")
        assert at.screen.answers == ["B"]
        assert "› it counts, but could not be written down: No space left on device" in at.text()
        assert TEXTS[0] in at.text(), "the next pair is there"


@pytest.mark.parametrize("key", ["q", "escape", "ctrl+c", "ctrl+q"])
async def test_leaving_early_is_asked_once(tmp_path: Path, key: str) -> None:
    async with seated(tmp_path) as at:
        await at.press("1", "2", "x", key)
        assert not at.app._exit
        assert "q again ends the test; its 1 of 3 answers count" in at.text()
        await at.press("1", key)
        assert not at.app._exit, "going on takes the wish back"
        await at.press(key)
        assert at.app._exit
        assert at.screen.answers == ["B"]


async def test_leaving_without_an_answer_is_at_once(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.press("1", "q")
        assert at.app._exit


async def test_before_the_pairs_nothing_can_be_answered(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.rendering.pairs = None
    seat.rendering.progress = (40, 160, "A speaks")
    async with seat.app.run_test(size=(60, 20)) as seat.pilot:
        await seat.press("1")
        assert "the pairs are not spoken yet" in seat.text()
        assert "A speaks" in seat.lines()[1]
        assert "40/160" in seat.lines()[1]
        assert "play X" not in seat.lines()[-1]
        await seat.press("x", "equals_sign", "space", "o")
        assert seat.sound.played == []
        await seat.press("q")
        assert seat.app._exit


async def test_voices_that_cannot_be_rendered_end_the_screen(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.rendering.pairs = None
    seat.rendering.error = "there is no speaker in common"
    async with seat.app.run_test() as seat.pilot:
        seat.app.tick()
        assert seat.app._exit


async def test_scores_that_fail_do_not_end_the_test(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        at.rendering.error = "distillmos is gone"
        await at.press("1")
        assert not at.app._exit


async def test_without_a_device_the_path_is_told_and_tells_no_name(tmp_path: Path) -> None:
    async with seated(tmp_path, (200, 24), Silent("no sound device")) as at:
        await at.press("2")
        assert f"no sound device: the clip is at {tmp_path / '1-y.wav'}" in at.text()
        await at.press("1", "x")
        assert at.screen.answers == ["B"], "whoever hears the files elsewhere can answer"


async def test_volume_mute_device_browser_and_help(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.press("o")
        assert "hear a clip first" in at.text()
        (tmp_path / "1-x.wav").write_bytes(b"RIFF")
        await at.press("1", "less_than_sign")
        assert at.sound.volume == 90
        await at.press("greater_than_sign", "M")
        assert at.sound.muted
        await at.press("o")
        assert "127.0.0.1" in at.text()
        await at.press("escape", "D")
        assert isinstance(at.app.screen, Devices)
        await at.press("escape", "question_mark")
        assert isinstance(at.app.screen, KeyPage)
        assert "neither is better" in at.text()
        await at.press("escape")
        assert at.app.screen is at.screen


async def test_no_size_cuts_the_question(tmp_path: Path) -> None:
    for size in SIZES:
        async with seated(tmp_path, size) as at:
            assert "x X is better   = no difference   y Y is better" in at.text()
            assert "q end" in at.lines()[-1]


def test_every_key_of_the_table_has_its_action(tmp_path: Path) -> None:
    screen = Seat(tmp_path).screen
    for key in KEYS:
        if key.where == "blind":
            assert hasattr(screen, f"action_{key.action.split('(')[0]}"), key


async def test_the_palette_offers_what_can_be_done_now(tmp_path: Path) -> None:
    def offered(seat: Seat) -> set[str]:
        return {key.action.removeprefix("screen.") for key, _ in possible(seat.screen)}

    answering = {"prefer('X')", "prefer('Y')", "prefer('')"}
    hearing = {"hear('X')", "hear('Y')", "again"}
    async with seated(tmp_path) as at:
        assert hearing <= offered(at)
        assert not offered(at) & {*answering, "serve", "take_back", "finish", "silence"}
        await at.press("1", "2")
        assert {*answering, "serve", "silence"} <= offered(at)
        await at.press("x")
        assert "take_back" in offered(at)
        assert not offered(at) & answering
        await at.press(*"12y12x")
        assert {"finish", "take_back"} <= offered(at)
        assert not offered(at) & hearing
        await at.press("enter")
        assert "take_back" not in offered(at)
    unspoken = Seat(tmp_path)
    unspoken.rendering.pairs = None
    async with unspoken.app.run_test() as unspoken.pilot:
        await unspoken.press("backspace")
        assert offered(unspoken) & {*hearing, *answering, "finish"} == set()
        assert {"help", "ask"} <= offered(unspoken)
