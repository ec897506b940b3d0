"""A stage: the app over a scripted session, at a size, with a sound that only notes."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot

# A wheel among the dependencies installs a package called tests: ours is reached by folder.
sys.path.insert(0, str(Path(__file__).parent))

import scenes

from dlpo_tui.app import DlpoApp
from dlpo_tui.bridge import Bridge
from engine.messages import Command, Event, Stop


@pytest.fixture(autouse=True)
def whole_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick takes in all there is, however busy the machine; the burst's own test does not."""
    monkeypatch.setattr("dlpo_tui.app.DRAIN_SECONDS", math.inf)


@pytest.fixture(autouse=True)
def collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand apps in one process each must be freed; in its own process one need not."""
    monkeypatch.setattr("dlpo_tui.collecting.gc", SimpleNamespace(freeze=lambda: None))


class Noted:
    """Plays whatever it is given, without an end, and remembers it."""

    def __init__(self) -> None:
        self.played: list[Path] = []
        self.current: Path | None = None
        self.at = 0.0
        self.starts: list[float] = []
        self.said = ""
        self.volume, self.muted, self.device = 100, False, ""

    def play(self, path: Path, start: float = 0.0) -> None:
        self.played.append(path)
        self.starts.append(start)
        self.current = path

    def stop(self) -> None:
        self.current = None

    def playing(self) -> Path | None:
        return self.current

    def position(self) -> float | None:
        return self.at if self.current else None

    def describe(self) -> str:
        return self.said

    def close(self) -> None:
        self.current = None


class Stage:
    def __init__(self, events: list[Event]) -> None:
        self.bridge: Bridge
        self.bridge, self.session = scenes.scripted(events)
        self.sound = Noted()
        self.app = DlpoApp(self.bridge, self.sound, clock=lambda: 0.0)
        self.pilot: Pilot[None]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        self.app.tick()
        await self.pilot.pause()

    async def resize(self, width: int, height: int) -> None:
        """A terminal of another size; returns when the screen is laid out for it."""
        await self.pilot.resize_terminal(width, height)
        for _ in range(1000):
            if len(self.app.screen._compositor.render_strips()) == height:
                return
            await self.pilot.pause()
        raise AssertionError(f"the screen was never laid out for {width} x {height}")

    async def happen(self, *events: Event) -> None:
        """The session says something more; charts and table are painted, too."""
        for event in events:
            self.session.emit(event)
        for _ in range(6):
            self.app.tick()
        await self.pilot.pause()

    def commands(self) -> list[Command]:
        """What the session was told; ends it."""
        self.bridge.send(Stop())
        assert self.bridge.join(10)
        return self.session.told[:-1]

    def lines(self) -> list[str]:
        """The screen as text."""
        width, height = self.app.size
        strips = self.app.screen._compositor.render_strips()
        assert len(strips) == height
        assert all(strip.cell_length == width for strip in strips)
        return [strip.text for strip in strips]

    def text(self) -> str:
        return "\n".join(self.lines())


Stager = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def stage() -> Stager:
    @asynccontextmanager
    async def staged(
        scene: str | list[Event] = "running", size: tuple[int, int] = (80, 24)
    ) -> AsyncIterator[Stage]:
        events = scenes.SCENES[scene]() if isinstance(scene, str) else scene
        made = Stage(events)
        async with made.app.run_test(size=size) as made.pilot:
            await made.happen()
            yield made
        made.bridge.send(Stop())
        assert made.bridge.join(10)

    return staged
