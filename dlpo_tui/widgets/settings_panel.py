"""The settings of the next sentence: choose one, turn it by arrows or type its value."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.message import Message

from dlpo_tui import formats
from dlpo_tui.keys import bindings
from dlpo_tui.speech_settings import SETTINGS, Setting, Settings, VoiceFacts, with_value
from dlpo_tui.widgets.typed import TypedPanel

LONGEST = max(len(setting.name) for setting in SETTINGS)
SHORT = {"timesteps": "t", "speaker": "as"}
"""In the one-row form of a narrow terminal."""


class SettingsPanel(TypedPanel, can_focus=True):
    """One setting a row, and below a sentence on what was typed; or all in one row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("value", "chosen", "typed", "error", "label")
    }
    BINDINGS = bindings("settings")

    class Changed(Message):
        """A setting has another value."""

        def __init__(self, settings: Settings) -> None:
            super().__init__()
            self.settings = settings

    def __init__(self, settings: Settings, id: str) -> None:
        super().__init__(id=id)
        self.settings = settings
        self.facts: VoiceFacts | None = None
        self.chosen = 0

    # --- State ---

    def show(self, settings: Settings, facts: VoiceFacts | None) -> None:
        if (settings, facts) != (self.settings, self.facts):
            self.settings, self.facts = settings, facts
            self.refresh()

    @property
    def setting(self) -> Setting:
        """The one that is chosen."""
        return SETTINGS[self.chosen]

    def value(self, setting: Setting) -> Any:
        return getattr(self.settings, setting.name)

    def take(self, value: Any) -> None:
        """Another value of the chosen setting."""
        self.settings = with_value(self.settings, self.setting.name, value)
        self.post_message(self.Changed(self.settings))
        self.refresh()

    # --- Keys ---

    def action_choose(self, by: int) -> None:
        self.chosen, self.error = (self.chosen + by) % len(SETTINGS), ""
        self.stop_typing()

    def action_turn(self, by: int) -> None:
        self.error = ""
        self.take(self.setting.turned(self.value(self.setting), by, self.facts))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and self.tall and offset.y < len(SETTINGS):
            self.action_choose(offset.y - self.chosen)

    def submit(self) -> None:
        """Takes the typed value; one that cannot be stays, with the sentence beside it."""
        assert self.typed is not None
        speakers = self.facts.speakers if self.facts else ()
        if self.setting.name == "speaker" and not speakers:
            self.error = "the voice is not loaded yet, so its speakers are not known"
            return
        try:
            value = self.setting.read(self.typed.strip(), speakers)
        except ValueError as error:
            self.error = str(error)
            return
        self.stop_typing()
        self.take(value)

    # --- Drawing ---

    @property
    def tall(self) -> bool:
        return self.size.height >= len(SETTINGS)

    def line(self, y: int, width: int) -> Text:
        if not self.tall:
            return self.one_row(width) if y == 0 else Text()
        if self.error and y >= len(SETTINGS):
            words = Text(formats.plain(self.error), self.ink("error"))
            rows = words.wrap(self.app.console, max(width - 2, 1))
            at = y - len(SETTINGS)
            return Text("  ") + rows[at] if at < len(rows) else Text()
        return self.row(y, width) if y < len(SETTINGS) else Text()

    def row(self, index: int, width: int) -> Text:
        setting = SETTINGS[index]
        chosen = index == self.chosen and self.has_focus
        line = Text.assemble(
            ("▸ " if chosen else "  ", self.ink("chosen")),
            (setting.name.ljust(LONGEST + 2), self.ink("chosen" if chosen else "label")),
        )
        if self.error and chosen and self.size.height == len(SETTINGS):
            told = self.error.removeprefix(f"{setting.name} ")
            return formats.cut(line.append(formats.plain(told), self.ink("error")), width)
        return formats.cut(line.append_text(self.told(setting)), width)

    def told(self, setting: Setting) -> Text:
        if self.typed is not None and setting is self.setting:
            return Text(f"{self.typed}▏", self.ink("typed"))
        told = setting.told(self.value(setting), self.facts)
        return Text(formats.plain(told), self.ink("value"))

    def one_row(self, width: int) -> Text:
        """All settings in one row; while one is typed or wrong, that one with its sentence."""
        if self.typed is not None or self.error:
            line = Text.assemble((f"▸ {self.setting.name} ", self.ink("chosen")))
            line.append_text(self.told(self.setting)).append("  ")
            told = self.error.removeprefix(f"{self.setting.name} ")
            room = max(width - line.cell_len, 0)
            return line.append(formats.shortened(formats.plain(told), room), self.ink("error"))
        full = self.items({})
        fits = sum(item.cell_len + 2 for item in full) - 2 <= width
        return formats.joined(full if fits else self.items(SHORT), width, " " if not fits else "  ")

    def items(self, short: dict[str, str]) -> list[Text]:
        parts = []
        for index, setting in enumerate(SETTINGS):
            chosen = index == self.chosen and self.has_focus
            name = short.get(setting.name, setting.name)
            item = Text(
                f"{'▸' if chosen else ' '}{name} ", self.ink("chosen" if chosen else "label")
            )
            told = self.told(setting)
            if short:
                told = formats.cut(Text(told.plain.split(" (")[0], told.style), 10)
            parts.append(item.append_text(told))
        return parts
