"""The session's screen over a journal: everything is seen and heard, nothing is obeyed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.keys import Key, Place, bindings, hints
from dlpo_tui.replaying import REFUSED, Replay
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.screens.run import SERVE, RunScreen
from dlpo_tui.sound import Sound
from dlpo_tui.widgets.head import RunHead
from dlpo_tui.widgets.knobs import KnobPanel
from dlpo_tui.widgets.status import Status
from engine.messages import Clip, Command

HEADINGS: dict[Place, str] = {
    "replay": "The replay",
    "session": "The run",
    "clips": "In the clips",
    "asking": "In the filter",
    "charts": "Charts",
    "choosing": "In the list of charts",
}
HELD_BACK = ("pause", "save", "name", "evaluate", "single", "knob", "undo")
"""Actions that would be commands."""


class ReplayHead(RunHead):
    """A badge says that this has been."""

    def badges(self) -> Text:
        alarms = [mark.update for mark in self.now.marks if mark.kind == "alarm"]
        alarm = Text(f"! alarm at {alarms[-1]}  " if alarms else "", self.ink("alarm"))
        return Text.assemble(alarm, (" REPLAY ", self.ink("calm")))


class ReplayStatus(Status):
    """How the run ended, and which update is shown."""

    COMPONENT_CLASSES: ClassVar[set[str]] = Status.COMPONENT_CLASSES

    def __init__(self, replay: Replay) -> None:
        super().__init__()
        self.replay = replay

    def line(self, y: int, width: int) -> Text:
        if self.now.started is None:
            return Text()
        film, total = self.replay.film, self.now.started.updates
        right = Text.assemble(
            ("update ", self.ink("label")),
            (f"{self.now.update}", self.ink("value")),
            (f" / {total}", self.ink("label")),
        )
        ended = film is not None and film.end.ended is not None and not film.end.ended.error
        left = Text("replay  ", self.ink("phase"))
        left.append(formats.plain(self.replay.verdict), self.ink("label" if ended else "failed"))
        return formats.spread(left, right, width)


class ReplayScreen(RunScreen):
    """Keys step through the updates; a command is answered in one sentence."""

    BINDINGS = bindings("replay")

    def __init__(self, replay: Replay, sound: Sound, folder: Path) -> None:
        super().__init__(replay.send, sound, folder)
        self.replay = replay
        self.head, self.status = ReplayHead(), ReplayStatus(replay)

    def ask_for(self, command: Command, sentence: str) -> bool:
        self.refuse_command()
        return False

    def ask_for_start(self, clip: Clip) -> None:
        self.say("its start was never rendered; clips with ● have theirs")

    def on_knob_panel_turned(self, event: KnobPanel.Turned) -> None:
        self.refuse_command()

    def action_undo(self) -> None:
        self.refuse_command()

    def action_name(self) -> None:
        self.refuse_command()

    def refuse_command(self) -> None:
        self.knobs.refuse(REFUSED)
        self.say(REFUSED)

    def show_keys(self) -> None:
        """The bar's keys, without those that are commands; where nothing sounds, the way round."""
        if self.filter_line.input.has_focus:
            self.bar.show(hints("asking"))
            return
        keys = [key for key in hints("replay", "session") if not key.action.startswith(HELD_BACK)]
        self.bar.show([SERVE if self.deaf and key.action == "play" else key for key in keys])

    def possible(self, key: Key) -> bool:
        """Whether the command palette should offer a key."""
        return not key.action.startswith((*HELD_BACK, "type"))

    def action_step(self, by: int) -> None:
        self.replay.step(by)
        self._ticks = 10**6  # a step is shown at once, not at the next painting

    def help_page(self) -> KeyPage:
        return KeyPage(HEADINGS, HELD_BACK)

    def action_ask(self) -> None:
        self.app.exit()
