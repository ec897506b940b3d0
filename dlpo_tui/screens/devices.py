"""The list of output devices; looked for in a thread of its own, which may take a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from dlpo_tui import formats
from dlpo_tui.devices import DEFAULT, Output, outputs
from dlpo_tui.keys import bindings
from dlpo_tui.sound import excuse

WIDTH = 48


class Devices(ModalScreen[str | None]):
    """Answers with a device's name, the empty one for the default; None: as it was."""

    CSS_PATH = "panels.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("reading"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    class Found(Message):
        """The devices, or why there are none."""

        def __init__(self, devices: Sequence[Output], why: str = "") -> None:
            super().__init__()
            self.devices, self.why = devices, why

    def __init__(self, now: str, look: Callable[[], Sequence[Output]] = outputs) -> None:
        """`now`: the device in use."""
        super().__init__()
        self.device, self.look = now, look
        self.names: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Label("Play through", id="title")
            yield Label("looking for devices …", id="told")
            yield OptionList(compact=True)

    def on_mount(self) -> None:
        threading.Thread(target=self._find, name="devices", daemon=True).start()

    def _find(self) -> None:
        try:
            self.post_message(self.Found(self.look()))
        except Exception as error:
            # Whatever a driver raises is a sentence here.
            self.post_message(self.Found((), excuse(error)))

    def on_devices_found(self, event: Found) -> None:
        default = next((one.name for one in event.devices if one.default), "")
        self.names = [DEFAULT, *dict.fromkeys(one.name for one in event.devices)]
        drivers = {one.name: one.driver for one in event.devices}
        listed = self.query_one(OptionList)
        if event.why:
            told = f"{event.why}: clips are at their paths, and o serves them"
        else:
            told = f"the system's default is {default}" if default else "the system has no default"
        self.query_one("#told", Label).update(Text(told))
        if event.why:
            self.names = []
        listed.add_options([self.option(name, drivers.get(name, "")) for name in self.names])
        if self.device in self.names:
            listed.highlighted = self.names.index(self.device)
        listed.focus()

    def option(self, name: str, driver: str) -> Option:
        sign = "●" if name == self.device else " "
        told = formats.shortened(
            formats.plain(name) or "the system's default", WIDTH - len(driver) - 2
        )
        return Option(Text.assemble(f" {sign} {told}", ("  " + driver, "dim")))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.names[event.option_index])

    def action_cursor(self, by: int) -> None:
        listed = self.query_one(OptionList)
        listed.action_cursor_down() if by > 0 else listed.action_cursor_up()
