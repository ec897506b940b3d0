"""The first line: which run this is, and whether it runs."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar, Literal, TypeAlias

from rich.cells import cell_len
from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines
from engine.messages import Snapshot

Asked: TypeAlias = Literal["", "pausing", "resuming", "stopping"]
"""What the user has asked for and the session has not done yet."""


GOING = ("voice", "algorithm", "memory", "precision", "device")
"""What is left out first as the line gets shorter."""


class RunHead(Lines):
    """Name · algorithm · voice · device · precision · memory, and a badge."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("name", "label", "calm", "waiting", "failed", "alarm")
    }

    now = Snapshot()
    asked: Asked = ""

    def show(self, now: Snapshot, asked: Asked) -> None:
        self.now, self.asked = now, asked
        self.refresh()

    def line(self, y: int, width: int) -> Text:
        started = self.now.started
        if started is None:
            left = Text("dlpo-tui", self.ink("name"))
        else:
            name = Text(formats.plain(started.run), self.ink("name"))
            room = width - name.cell_len - self.badges().cell_len - 4
            left = Text.assemble(name, "  ", Text(self.facts(room), self.ink("label")))
        return formats.spread(left, self.badges(), width)

    def facts(self, room: int) -> str:
        """What trains what, where: as much as there is room for, what never changes goes first."""
        started, stats = self.now.started, self.now.history[-1][1] if self.now.history else None
        assert started is not None
        held = formats.size(stats.memory_bytes) if stats and stats.memory_bytes else ""
        told = {
            "algorithm": started.algorithm,
            "voice": PurePath(formats.plain(started.voice)).name,
            "device": started.device,
            "precision": started.precision,
            "memory": held,
        }
        told = {name: formats.shortened(fact, 32) for name, fact in told.items() if fact}
        for name in GOING:
            if cell_len(" · ".join(told.values())) <= room:
                break
            told.pop(name, None)
        return " · ".join(told.values())

    def badges(self) -> Text:
        alarms = [mark.update for mark in self.now.marks if mark.kind == "alarm"]
        alarm = Text(f"! alarm at {alarms[-1]}", self.ink("alarm")) if alarms else Text()
        word, part = badge(self.now, self.asked)
        if not word:
            return alarm
        gap = "  " if alarm.cell_len else ""
        return Text.assemble(alarm, gap, (f" {word} ", self.ink(part)))


def badge(now: Snapshot, asked: Asked) -> tuple[str, str]:
    """The word in the corner and its ink; no word while the session simply runs."""
    if now.ended is not None:
        return now.ended.reason.upper(), "failed" if now.ended.reason == "failed" else "calm"
    if asked == "stopping":
        return "STOPPING …", "waiting"
    if now.paused:
        return ("RESUMING …" if asked == "resuming" else "PAUSED"), "waiting"
    return ("PAUSING …", "waiting") if asked == "pausing" else ("", "")
