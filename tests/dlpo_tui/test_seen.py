"""The screens over runs whose every text would write to the terminal: nothing gets there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import scenes
from conftest import Stager
from textual.app import ComposeResult
from textual.widgets import Input, Label, OptionList, Static

from dlpo_tui.base_app import BaseApp
from engine import messages as m

WRITES = "\x1b[2J\x9b31m\u202e"


def written_over(value: Any) -> Any:
    """An event with every text in it such that it would write, where any text may stand."""
    kept = ("kind", "phase", "reason", "level", "path", "at")
    if isinstance(value, dict):
        return {k: v if k in kept else written_over(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [written_over(item) for item in value]
    return f"{WRITES}{value}" if isinstance(value, str) else value


def hostile(events: list[m.Event]) -> list[m.Event]:
    return [m.from_json(written_over(m.to_json(event))) for event in events]  # type: ignore[misc]


def lines(app: BaseApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


class Shown(BaseApp):
    """Widgets of Textual's own, with text that writes."""

    def compose(self) -> ComposeResult:
        yield Static(WRITES, markup=False)
        yield Label(WRITES, markup=False)
        yield Input(WRITES, placeholder=WRITES)
        yield OptionList("one")


async def test_no_widget_of_textuals_own_writes() -> None:
    app = Shown()
    async with app.run_test(size=(60, 20), tooltips=True) as pilot:
        app.notify(WRITES, title=WRITES, markup=False)
        await pilot.pause()
        shown = lines(app)
    assert all(line.isprintable() for line in shown)
    assert any("␛[2J" in line for line in shown)


@pytest.mark.parametrize("keys", [(), ("v",), ("?",), ("f",), ("c",), ("a",), ("q",), ("D",)])
async def test_no_screen_of_a_session_writes(stage: Stager, keys: tuple[str, ...]) -> None:
    async with stage(hostile(scenes.SCENES["running"]()), size=(120, 40)) as at:
        await at.press(*keys)
        assert all(line.isprintable() for line in at.lines())
        if not keys:
            assert "␛[2J" in at.text()


async def test_a_session_that_could_not_start_writes_nothing(stage: Stager) -> None:
    ended = m.SessionEnded(0, "failed", f"no voice {WRITES}", refused=True)
    async with stage([m.Noticed(0, "warning", WRITES), ended]) as at:
        assert all(line.isprintable() for line in at.lines())
        assert "␛[2J" in at.text()


async def test_without_the_filter_it_would(stage: Stager, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the filter is for: a text that no widget of ours has made plain."""
    monkeypatch.setattr("dlpo_tui.seen.visible", lambda text: text)
    app = Shown()
    async with app.run_test(size=(60, 20)):
        assert not all(line.isprintable() for line in lines(app))


def test_the_scene_has_texts_to_spoil() -> None:
    (started,) = [e for e in hostile(scenes.SCENES["running"]()) if isinstance(e, m.SessionStarted)]
    assert started.run.startswith(WRITES)
    assert replace(started, run="x").run == "x"
