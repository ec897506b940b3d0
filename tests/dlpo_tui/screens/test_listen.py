"""The listen screen: every key, what it looks like, and what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Noted
from studios import Desk
from textual.pilot import Pilot

from dlpo_tui.keys import KEYS
from dlpo_tui.listening import ListenApp
from dlpo_tui.palette import possible
from dlpo_tui.screens.devices import Devices
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.screens.listen import ListenScreen
from dlpo_tui.screens.saving import Saving
from dlpo_tui.sound import Silent, Sound
from dlpo_tui.speaking import Speaking
from dlpo_tui.speech_settings import Settings
from dlpo_tui.takes import Listening

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
QUIET = Settings(scores=False)


class Seat:
    """The screen over a desk, with a clock that a test moves."""

    def __init__(
        self, folder: Path, voices: int = 1, settings: Settings = QUIET, sound: Sound | None = None
    ) -> None:
        self.time = 0.0
        self.desk = Desk(folder, voices, ("anna", "ben"))
        self.speaking = Speaking(lambda tell: self.desk)
        self.sound = Noted()
        names = tuple(facts.source for facts in self.desk.voices)
        self.app = ListenApp(
            self.speaking, sound or self.sound, names, settings, clock=lambda: self.time
        )
        self.pilot: Pilot[None]

    @property
    def screen(self) -> ListenScreen:
        return self.app.listen_screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        self.app.tick()
        await self.pilot.pause()

    async def type(self, text: str, enter: bool = True) -> None:
        await self.press(*(c if c.isalnum() else NAMES[c] for c in text))
        if enter:
            await self.press("enter")

    async def until(self, so: Callable[[Listening], bool]) -> None:
        for _ in range(2000):
            self.app.tick()
            await self.pilot.pause()
            if so(self.speaking.now):
                return
            await self.pilot.pause(0.005)
        raise AssertionError(self.text())

    async def say(self, *texts: str) -> None:
        """Says sentences; returns when the last is spoken."""
        count = len(self.speaking.now.utterances)
        for text in texts:
            self.screen.sentence.value = text
            await self.press("enter")
        wanted = count + len(texts)
        await self.until(
            lambda now: len(now.utterances) == wanted and all(u.takes for u in now.utterances)
        )

    def lines(self) -> list[str]:
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.lines())

    def heard(self) -> list[str]:
        return [path.name for path in self.sound.played]


NAMES = {" ": "space", ".": "full_stop", "?": "question_mark"}


@asynccontextmanager
async def seated(
    folder: Path, size: tuple[int, int] = (80, 24), voices: int = 1, settings: Settings = QUIET
) -> AsyncIterator[Seat]:
    seat = Seat(folder, voices, settings)
    async with seat.app.run_test(size=size) as seat.pilot:
        await seat.until(lambda now: bool(now.voices))
        yield seat
        seat.desk.gate.set()
    assert seat.speaking.close(30)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("voices", [1, 2], ids=["one", "two"])
def test_picture(
    size: tuple[int, int], voices: int, snap_compare: Callable[..., bool], tmp_path: Path
) -> None:
    seat = Seat(tmp_path, voices, Settings(seed=7), Silent("no sound device"))

    async def shown(pilot: Pilot[None]) -> None:
        seat.pilot = pilot
        await seat.until(lambda now: bool(now.voices))
        await seat.say("Go on.", "I saw it when she rolled, and then it was gone for good.")
        await seat.until(
            lambda now: all(len(t.scores) == 3 for u in now.utterances for t in u.takes.values())
        )
        await seat.until(lambda now: seat.screen.picture.picture is not None)
        seat.screen.say("")
        seat.desk.gate.clear()
        seat.desk.at_gate.clear()
        seat.screen.sentence.value = "Wait."
        await seat.press("enter")
        await seat.until(lambda now: now.working is not None)
        await seat.press("tab", "tab", "down")
        await seat.until(lambda now: seat.screen.picture.picture is not None)
        seat.screen.sentence.value = "No [bold]markup[/bold]"
        await seat.pilot.pause()

    same = snap_compare(seat.app, terminal_size=size, run_before=shown)
    seat.desk.gate.set()
    assert seat.speaking.close(30)
    assert same


async def test_it_is_there_before_the_voice_and_takes_sentences(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.speaking.start = lambda: None  # type: ignore[method-assign]
    async with seat.app.run_test(size=(80, 24)) as seat.pilot:
        seat.app.tick()
        assert "loading  the program's libraries …" in seat.text()
        seat.time = 12.0
        seat.app.tick()
        await seat.pilot.pause()
        assert "12 s" in seat.lines()[1]
        await seat.type("Go on.")
        assert "it is said as soon as the voice is loaded" in seat.text()
        assert "waits" in seat.text()
        del seat.speaking.start  # type: ignore[method-assign]
        seat.speaking.start()
        await seat.until(lambda now: bool(now.utterances and now.utterances[0].takes))
    assert seat.speaking.close(30)


async def test_a_sentence_is_typed_and_heard(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.type("Go on.", enter=False)
        assert "Go on." in at.lines()[3]
        await at.press("enter")
        await at.until(lambda now: bool(now.utterances[0].takes))
        assert at.heard() == ["001.wav".replace("001", "001-a")]
        assert any(line.lstrip().startswith("♪ Go on.") for line in at.lines())
        assert at.screen.sentence.value == ""


async def test_the_next_is_typed_and_made_while_one_is_heard(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.", "Two.", "Three.")
        assert at.heard() == ["001-a.wav"]
        for number in (2, 3):
            at.sound.current = None
            at.app.tick()
            assert at.heard()[-1] == f"00{number}-a.wav"


async def test_progress_and_giving_up(tmp_path: Path) -> None:
    async with seated(tmp_path, (120, 40)) as at:
        at.desk.gate.clear()
        await at.type("One.")
        await at.type("Two.")
        await at.until(lambda now: now.working is not None)
        assert "speaking  One." in at.lines()[1]
        assert "0/3  1 wait" in at.lines()[1]
        await at.press("escape", "escape")
        assert "› given up" in at.text()
        at.desk.gate.set()
        await at.until(lambda now: all(u.state == "cancelled" for u in now.utterances))
        assert at.text().count("given up") == 3
        await at.press("ctrl+r")
        assert "› it was given up" in at.text()
        assert at.sound.played == []


async def test_escape_then_silences_and_goes_back_to_the_sentence(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.", "Two.")
        await at.press("escape")
        assert at.sound.current is None
        at.app.tick()
        assert at.heard() == ["001-a.wav"], "what waited to be heard is silent, too"
        await at.press("tab", "tab", "escape")
        assert at.screen.sentence.has_focus


async def test_nothing_to_say_is_told(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.type(" ?")
        assert "type a sentence first; it needs a word" in at.text()
        await at.press("ctrl+r")
        assert "nothing was said yet" in at.text()


async def test_a_sentence_that_fails_says_why(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        at.desk.broken = lambda text: ValueError("no [i]phones[/i] for it")
        await at.type("Go on.")
        await at.until(lambda now: now.utterances[0].state == "failed")
        assert "› no [i]phones[/i] for it" in at.text()
        assert "failed" in at.text()


async def test_a_sentence_is_never_markup(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("No [bold]markup[/] in [/here")
        assert at.text().count("No [bold]markup[/] in [/here") == 2
        assert "in [/here · 1.00 s" in at.text()


async def test_arrows_recall_sentences(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.", "Two.")
        seen = []
        for key in ("up", "up", "up", "down", "down"):
            await at.press(key)
            seen.append(at.screen.sentence.value)
        assert seen == ["Two.", "One.", "One.", "Two.", ""]


async def test_the_history_is_walked_and_heard_again(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.", "Two.", "Three.")
        await at.press("escape", "tab", "tab")
        assert at.screen.said.has_focus
        wanted = {"down": "002", "end": "001", "pageup": "003", "pagedown": "001", "home": "003"}
        for key, name in wanted.items():
            await at.press(key, "enter")
            assert at.heard()[-1] == f"{name}-a.wav", key
        await at.press("j", "p", "k", "space")
        assert at.heard()[-2:] == ["002-a.wav", "003-a.wav"]
        await at.press("x")
        assert at.sound.current is None


async def test_the_cursor_stays_with_its_sentence(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.", "Two.")
        await at.press("tab", "tab", "down")
        at.speaking.say("Three.", QUIET)
        await at.until(lambda now: len(now.utterances) == 3)
        assert at.screen.said.selected is not None
        assert at.screen.said.selected.text == "One."


async def test_what_was_said_is_taken_up_again_with_its_settings(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        at.screen.settings = Settings(5, 0.5, 1.5, "ben", 99, False)
        await at.say("One.")
        at.screen.settings = QUIET
        await at.press("tab", "tab", "e")
        assert at.screen.sentence.has_focus
        assert at.screen.sentence.value == "One."
        assert at.screen.settings == Settings(5, 0.5, 1.5, "ben", 99, False)
        assert "1.5" in at.text()


async def test_settings_turn_and_are_typed(tmp_path: Path) -> None:
    async with seated(tmp_path, (120, 40), settings=Settings()) as at:
        await at.press("tab", "right", "right", "left", "plus", "minus")
        assert at.screen.settings.timesteps == 4
        await at.press("down", "right", "down", "enter", *"2", "full_stop", *"5", "enter")
        assert (at.screen.settings.eta, at.screen.settings.pace) == (0.0, 2.5)
        await at.press("down", "enter", *"ben", "enter", "down", *"42", "enter")
        assert (at.screen.settings.speaker, at.screen.settings.seed) == ("ben", 42)
        await at.press("down", "right")
        assert not at.screen.settings.scores
        await at.press("up", "up", "up", "9", "enter")
        assert "pace must lie between 0.25 and 4, not at 9" in " ".join(at.text().split())
        await at.press("backspace", "1", "enter")
        assert at.screen.settings.pace == 1.0
        await at.press("5", "escape")
        assert at.screen.settings.pace == 1.0
        await at.press("escape")
        assert at.screen.sentence.has_focus


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_what_cannot_be_typed_is_told_at_every_size(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with seated(tmp_path, size) as at:
        await at.press("tab", *"5000", "enter")
        assert "must lie between 1 and 1000" in " ".join(at.text().split())
        assert "enter set" in at.lines()[-1]


async def test_a_new_seed(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.press("ctrl+n")
        first = at.screen.settings.seed
        assert first != 0
        assert f"seed {first}" in at.text()
        await at.say("One.")
        await at.press("tab", "tab", "n")
        assert at.screen.settings.seed != first


async def test_the_settings_of_a_sentence_are_those_at_enter(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.")
        await at.press("tab", "right", "escape")
        await at.say("One.")
        steps = [u.settings.timesteps for u in at.speaking.now.utterances]
        assert steps == [None, 4]


async def test_switching_scores_off_drops_those_to_come(tmp_path: Path) -> None:
    async with seated(tmp_path, settings=Settings()) as at:
        dropped: list[bool] = []
        at.speaking.forget_scores = lambda: dropped.append(True)  # type: ignore[method-assign]
        await at.press("tab", "up", "left")
        assert dropped == [True]
        del at.speaking.forget_scores  # type: ignore[method-assign]


async def test_two_voices_are_flipped_from_the_same_place_on(tmp_path: Path) -> None:
    async with seated(tmp_path, (120, 40), voices=2) as at:
        starts = at.sound.starts
        await at.say("Go on.")
        at.sound.at = 0.4
        await at.press("ctrl+t")
        assert at.heard() == ["001-a.wav", "001-b.wav"]
        assert starts == [0.0, 0.4]
        assert at.screen.side == "B"
        at.sound.current = None
        await at.press("tab", "tab", "t")
        assert at.heard()[-1] == "001-a.wav"
        assert starts[-1] == 0.0
        assert at.screen.head.side == "A"


async def test_the_palette_offers_what_can_be_done_now(tmp_path: Path) -> None:
    def offered(seat: Seat) -> set[str]:
        return {key.action.removeprefix("screen.") for key, _ in possible(seat.screen)}

    about_a_clip = {"play", "save", "serve", "edit"}
    async with seated(tmp_path) as seat:
        assert not offered(seat) & {*about_a_clip, "flip", "silence"}
        assert {"new_seed", "help", "ask"} <= offered(seat)
        await seat.say("One.")
        assert about_a_clip <= offered(seat)
    async with seated(tmp_path, voices=2) as seat:
        assert "flip" in offered(seat)


async def test_there_is_no_other_voice_to_flip_to(tmp_path: Path) -> None:
    async with seated(tmp_path, (120, 40)) as at:
        assert "other voice" not in at.lines()[-1]
        await at.press("ctrl+t")
        assert "--against B brings another" in at.text()


async def test_saving_asks_for_a_path_and_never_writes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    async with seated(tmp_path) as at:
        await at.press("ctrl+s")
        assert "nothing was said yet" in at.text()
        await at.say("Go on.")
        await at.press("ctrl+s")
        assert isinstance(at.app.screen, Saving)
        assert "go-on-seed0.wav" in at.text()
        await at.press("enter")
        assert "› 1.00 s in go-on-seed0.wav" in at.text()
        await at.press("tab", "tab", "s")
        assert "go-on-seed0-2.wav" in at.text()
        await at.press(*["backspace"] * 6, "full_stop", *"wav", "enter")
        assert "go-on-seed0.wav is there already; name another" in at.text()
        await at.press("escape")
        assert at.app.screen is at.screen
        assert [path.name for path in Path().iterdir()] == ["go-on-seed0.wav"]


async def test_a_click_on_the_picture_plays_from_there(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.")
        await at.until(lambda now: at.screen.picture.picture is not None)
        at.sound.current = None
        await at.pilot.click("#picture", offset=(20, 3))
        await at.press()
        assert at.heard() == ["001-a.wav", "001-a.wav"]
        assert 0.3 < at.sound.starts[1] < 0.6


async def test_volume_mute_device_and_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with seated(tmp_path) as at:
        await at.say("One.")
        await at.press("tab", "tab", "less_than_sign")
        assert at.sound.volume == 90
        await at.press("greater_than_sign", "M")
        assert at.sound.muted
        await at.press("o")
        assert "127.0.0.1" in at.text()
        await at.press("escape", "D")
        assert isinstance(at.app.screen, Devices)
        await at.press("escape")


async def test_without_a_sound_device_the_path_is_told(tmp_path: Path) -> None:
    seat = Seat(tmp_path, sound=Silent("no sound device"))
    async with seat.app.run_test(size=(120, 24)) as seat.pilot:
        await seat.until(lambda now: bool(now.voices))
        await seat.say("One.")
        assert "no sound device: the clip is at" in seat.text()
    assert seat.speaking.close(30)


@pytest.mark.parametrize("keys", [("f1",), ("tab", "question_mark"), ("tab", "tab", "f1")])
async def test_help_tells_every_key(tmp_path: Path, keys: tuple[str, ...]) -> None:
    async with seated(tmp_path, (120, 60)) as at:
        await at.press(*keys)
        assert isinstance(at.app.screen, KeyPage)
        assert "say the sentence; more can be typed meanwhile" in at.text()
        await at.press("escape")
        assert at.app.screen is at.screen


async def test_a_question_mark_in_a_sentence_is_one(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        await at.type("q?", enter=False)
        assert at.screen.sentence.value == "q?"


@pytest.mark.parametrize(
    "keys", [("ctrl+q",), ("ctrl+c",), ("tab", "q"), ("tab", "tab", "q"), ("tab", "ctrl+c")]
)
async def test_ways_out(tmp_path: Path, keys: tuple[str, ...]) -> None:
    async with seated(tmp_path) as at:
        assert not at.app._exit
        await at.press(*keys)
        assert at.app._exit


async def test_a_voice_that_cannot_be_loaded_ends_the_screen(tmp_path: Path) -> None:
    seat = Seat(tmp_path)

    def refuse(tell: Callable[[str], None]) -> Desk:
        raise ValueError("there is no checkpoint away.safetensors")

    seat.speaking._open_studio = refuse
    async with seat.app.run_test() as seat.pilot:
        await seat.until(lambda now: now.ended is not None)
        assert seat.app._exit


async def test_a_worker_that_dies_later_is_told(tmp_path: Path) -> None:
    async with seated(tmp_path) as at:
        at.desk.broken = lambda text: SystemExit(3)
        await at.type("Go on.")
        await at.until(lambda now: now.ended is not None)
        assert "SystemExit: 3" in at.lines()[1]
        assert not at.app._exit
        await at.type("More.")
        assert "› SystemExit: 3" in at.text()


async def test_voices_of_unlike_chains_are_told(tmp_path: Path) -> None:
    seat = Seat(tmp_path, voices=2)
    a, b = seat.desk.voices
    seat.desk.voices = (a, replace(b, timesteps=8))
    async with seat.app.run_test(size=(160, 24)) as seat.pilot:
        await seat.until(lambda now: bool(now.voices))
        assert "A takes 3 timesteps and B 8" in seat.text()
    assert seat.speaking.close(30)


async def test_every_size_is_filled(tmp_path: Path) -> None:
    async with seated(tmp_path, (120, 40), voices=2) as at:
        await at.say("Go on.")
        for size in (*SIZES, (20, 6), (40, 12), (300, 100)):
            await at.pilot.resize_terminal(*size)
            await at.until(lambda now, size=size: len(at.lines()) == size[1])
            assert {len(line) for line in at.lines()} <= {size[0]}
            if size[0] >= 60:
                assert "^q quit" in at.lines()[-1]
                assert any("Go on." in line for line in at.lines()[5:])


def test_no_key_stands_twice_in_a_place() -> None:
    for place in ("listen", "sentence", "settings", "said", "replay", "blind"):
        names = [n for key in KEYS if key.where == place for n in key.keys.split(",")]
        assert len(names) == len(set(names)), place


def test_every_key_of_the_table_has_its_action() -> None:
    seat = Seat(Path())
    homes = {
        "listen": seat.screen,
        "sentence": seat.screen.sentence,
        "settings": seat.screen.panel,
        "said": seat.screen.said,
    }
    for key in KEYS:
        if key.where in homes and key.action and not key.action.startswith("app."):
            name = key.action.removeprefix("screen.").split("(")[0]
            home = seat.screen if key.action.startswith("screen.") else homes[key.where]
            assert hasattr(home, f"action_{name}"), key
