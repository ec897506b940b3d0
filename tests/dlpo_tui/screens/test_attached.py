"""The attached screen: who has the knobs, what is lost or slow, clips that lie elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import scenes
from conftest import Noted, Stage
from textual.pilot import Pilot

from dlpo_tui.attached_app import AttachedApp
from dlpo_tui.palette import possible
from dlpo_tui.screens.question import Question
from dlpo_tui.sound import Silent
from engine import messages as m
from engine import wire
from engine.attached import Link

HOLDS = Link(True, True, "ann@here/3", 2)
WATCHES = Link(True, False, "ben@there/1", 2)
LOST = Link(False, False, "ben@there/1", 2, why="the connection was closed")
SLOW = Link(True, True, "ann@here/3", 1, quiet_seconds=47.0)
OWNED = Link(True, False, "ben@there/1", 1, owned=True)


class Pretended:
    """An attachment without a socket, over a scripted session."""

    def __init__(self, session: scenes.Scripted, link: Link) -> None:
        self.outbox, self.link, self.name = session.commands, link, "ann@here/3"
        self.arrived: deque[wire.ClipSent] = deque()
        self.taken, self.fetched = 0, list[str]()

    def take_knobs(self) -> None:
        self.taken += 1

    def fetch(self, path: str) -> None:
        self.fetched.append(path)


class Attached(Stage):
    def __init__(self, events: list[m.Event], link: Link, folder: Path, fetches: bool) -> None:
        self.bridge, self.session = scenes.scripted(events)
        self.sound = Noted()
        self.attachment = Pretended(self.session, link)
        self.app = AttachedApp(
            self.bridge, self.attachment, self.sound, folder, fetches, clock=lambda: 0.0  # type: ignore[arg-type]
        )  # fmt: skip

    async def stand(self, link: Link) -> None:
        self.attachment.link = link
        await self.happen()


Attacher = Callable[..., AbstractAsyncContextManager[Attached]]


@pytest.fixture
def attach(tmp_path: Path) -> Attacher:
    @asynccontextmanager
    async def attached(
        link: Link = HOLDS,
        scene: str = "running",
        size: tuple[int, int] = (120, 24),
        fetches: bool = False,
    ) -> AsyncIterator[Attached]:
        made = Attached(scenes.SCENES[scene](), link, tmp_path, fetches)
        async with made.app.run_test(size=size) as made.pilot:
            await made.happen()
            yield made
        made.bridge.send(m.Stop())
        assert made.bridge.join(10)

    return attached


@pytest.mark.parametrize("size", [(60, 20), (120, 40)], ids=["60x20", "120x40"])
@pytest.mark.parametrize("state", ["watches", "holds", "lost"])
def test_picture(
    state: str, size: tuple[int, int], snap_compare: Callable[..., bool], tmp_path: Path
) -> None:
    bridge, session = scenes.scripted(scenes.running())
    pretended = Pretended(session, {"watches": WATCHES, "holds": HOLDS, "lost": WATCHES}[state])
    app = AttachedApp(bridge, pretended, Silent(), tmp_path, clock=lambda: 0.0)  # type: ignore[arg-type]

    async def shown(pilot: Pilot[None]) -> None:
        app.tick()
        await pilot.pause()
        if state == "lost":
            pretended.link = LOST
            app.tick()
            await pilot.pause()

    same = snap_compare(app, terminal_size=size, run_before=shown)
    bridge.send(m.Stop())
    assert bridge.join(10)
    assert same


STANDINGS = [
    (HOLDS, "has the knobs · 2 attached", "knobs · 2"),
    (WATCHES, "watches · 2 attached", "watches · 2"),
    (LOST, "no connection: trying again …", "no connection …"),
    (SLOW, "slow: last word 47 s ago", "quiet 47 s"),
    (replace(SLOW, quiet_seconds=3.0, silent=True), "slow: last word 3 s ago", "quiet 3 s"),
]


async def test_the_head_says_how_it_stands(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        for link, wide, _ in STANDINGS:
            await at.stand(link)
            assert wide in at.lines()[0]
        for size in ((80, 24), (60, 20)):
            await at.resize(*size)
            for link, _, narrow in STANDINGS:
                await at.stand(link)
                assert narrow in at.lines()[0]


async def test_who_pauses_is_quiet_by_right(attach: Attacher) -> None:
    async with attach(SLOW, "paused") as at:
        assert "slow" not in at.lines()[0]
        assert "PAUSED" in at.lines()[0]
        assert "has the knobs · 1 attached" in at.lines()[0]


async def test_a_beat_alone_redraws_nothing(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        drawn: list[int] = []
        at.app.run_screen.head.refresh = lambda *a, **k: drawn.append(1)  # type: ignore[method-assign]
        await at.stand(replace(HOLDS, quiet_seconds=2.0))
        await at.stand(replace(HOLDS, quiet_seconds=4.0))
        assert drawn == []
        await at.stand(replace(HOLDS, attached=3))
        assert drawn


async def test_who_has_the_knobs_is_obeyed_under_its_name(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        assert "K take" not in at.lines()[-1]
        await at.press("a", "right")
        assert "asked for alpha = 1.25" in at.text()
        await at.press("space")
        assert at.commands() == [m.SetKnobs({"alpha": 1.25}, "ann@here/3"), m.Pause()]


async def test_undoing_names_who_undid_and_is_no_change_to_undo(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        turned = m.KnobsChanged(
            40, "ann@here/3", {"alpha": 1.0}, {"alpha": 2.0}, m.Knobs(2.0, 1.25)
        )
        await at.happen(turned)
        await at.press("u")
        undone = m.SetKnobs({"alpha": 1.0}, "undo by ann@here/3")
        await at.happen(
            m.KnobsChanged(40, undone.who, {"alpha": 2.0}, {"alpha": 1.0}, m.Knobs(1.0, 1.25))
        )
        await at.press("u")
        assert at.commands() == [undone, m.SetKnobs({"beta": 1.0}, "undo by ann@here/3")]


async def test_a_watchers_keys_ask_for_nothing_and_say_how_to(attach: Attacher) -> None:
    async with attach(WATCHES) as at:
        for key in ("space", "s", "n", "e", "u", "S"):
            at.app.run_screen.say("")
            await at.press(key)
            assert "this terminal watches, ben@there/1 has the knobs; K takes them" in at.text()
        await at.press("a", "right")
        assert "pending" not in at.text()
        assert "K takes them" in at.app.run_screen.knobs.error
        assert at.commands() == []


async def test_the_knobs_are_taken_by_a_key(attach: Attacher) -> None:
    async with attach(WATCHES) as at:
        assert "K take the knobs" in at.lines()[-1]
        assert "pause" not in at.lines()[-1]
        await at.press("K")
        assert at.attachment.taken == 1
        await at.stand(HOLDS)
        assert "this terminal has the knobs" in at.text()
        assert "space pause" in at.lines()[-1]
        await at.press("K")
        assert at.attachment.taken == 1
        assert "this terminal has the knobs already" in at.text()
        await at.stand(WATCHES)
        assert "ben@there/1 has the knobs now" in at.text()


async def test_what_was_asked_for_when_the_knobs_went_is_not_waited_for(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        await at.press("space")
        assert "PAUSING" in at.lines()[0]
        await at.happen(m.CommandRefused(40, "Pause was not taken: ben has the knobs", "Pause"))
        assert "PAUSING" not in at.lines()[0]


async def test_the_knobs_of_a_session_in_a_terminal_stay_there(attach: Attacher) -> None:
    async with attach(OWNED) as at:
        assert "K " not in at.lines()[-1]
        await at.press("K")
        assert at.attachment.taken == 0
        assert "ben@there/1 keeps the knobs" in at.text()


async def test_the_palette_offers_what_is_obeyed(attach: Attacher) -> None:
    def offered(at: Attached) -> set[str]:
        return {key.name for key, _ in possible(at.app.run_screen)}

    async with attach(WATCHES) as at:
        watching = offered(at)
        assert "attached.take-knobs" in watching
        assert not {"pause", "save", "knobs.type"} & watching
        await at.stand(HOLDS)
        assert "attached.take-knobs" not in offered(at)
        assert {"pause", "save", "knobs.type"} <= offered(at)


async def test_the_help_has_the_key(attach: Attacher) -> None:
    async with attach(WATCHES) as at:
        await at.press("question_mark")
        assert "take the knobs from whoever has them" in at.text()


async def test_leaving_asks_for_nothing(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        await at.press("q")
        assert "leave this terminal; training goes on" in at.text()
        assert "save a snapshot, then stop" in at.text()
        await at.press("l")
        assert at.app._exit
        assert at.commands() == []


async def test_a_watcher_may_leave_but_not_stop(attach: Attacher) -> None:
    async with attach(WATCHES) as at:
        await at.press("q")
        assert "stop" not in at.text()
        await at.press("x")
        assert isinstance(at.app.screen, Question)
        await at.press("l")
        assert at.app._exit
        assert at.commands() == []


async def test_who_has_the_knobs_may_stop(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        await at.press("q", "x")
        assert at.bridge.join(10)
        assert at.session.told == [m.Stop(save=False)]


async def test_a_lost_connection_is_told_of_and_its_return_too(attach: Attacher) -> None:
    async with attach(HOLDS) as at:
        await at.stand(LOST)
        assert "the connection is lost (the connection was closed): trying again" in at.text()
        await at.press("space")
        assert "there is no connection to the session just now" in at.text()
        await at.stand(HOLDS)
        assert "connected again" in at.text()
        assert at.commands() == []


async def test_a_clip_that_lies_elsewhere_is_fetched_and_then_played(
    attach: Attacher, tmp_path: Path
) -> None:
    async with attach(WATCHES, fetches=True) as at:
        await at.press("down", "p")
        name = "samples/update-000040-06.wav"
        assert at.attachment.fetched == [name]
        assert at.sound.played == []
        assert "the clip is fetched" in at.text()
        await at.press("p")
        assert at.attachment.fetched == [name]
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"RIFF")
        at.attachment.arrived.append(wire.ClipSent(name))
        await at.happen()
        assert at.sound.played == [tmp_path / name]
        await at.press("p")
        assert at.sound.played == [tmp_path / name] * 2
        assert at.attachment.fetched == [name]


async def test_a_clip_that_cannot_be_had_says_why(attach: Attacher) -> None:
    async with attach(WATCHES, fetches=True) as at:
        await at.press("p")
        (name,) = at.attachment.fetched
        at.attachment.arrived.append(wire.ClipSent(name, error="there is none any more"))
        await at.happen()
        assert "there is none any more" in at.text()
        assert at.sound.played == []


async def test_the_picture_of_a_clip_from_elsewhere_is_drawn_when_it_comes(
    attach: Attacher, tmp_path: Path
) -> None:
    async with attach(WATCHES, fetches=True) as at:
        await at.press("v")
        (name,) = at.attachment.fetched
        view = at.app.run_screen.detail.view
        while view._reading is not None:
            await at.pilot.pause(0.01)
        assert isinstance(view.picture, str)
        scenes.write_babble(tmp_path / name, 0.5, 1, 1)
        at.attachment.arrived.append(wire.ClipSent(name))
        await at.happen()
        while view.picture is None:
            await at.pilot.pause(0.01)
        assert not isinstance(view.picture, str)


async def test_a_clip_of_a_run_that_lies_here_is_played_at_once(
    attach: Attacher, tmp_path: Path
) -> None:
    async with attach(WATCHES) as at:
        await at.press("p")
        assert at.attachment.fetched == []
        assert at.sound.played == [tmp_path / "samples/update-000040-07.wav"]
