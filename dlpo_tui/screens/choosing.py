"""The list of charts: go to one, or say which are shown at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from dlpo_tui import formats
from dlpo_tui.keys import bindings


class Choosing(ModalScreen[str | None]):
    """Answers with the title of the chart to go to; None: none. A letter goes to its charts."""

    CSS_PATH = "panels.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("choosing")

    def __init__(self, titles: list[str], first: int, turn: Callable[[str], set[str]]) -> None:
        """`first`: the chart to stand on; `turn` shows or hides one and returns all hidden."""
        super().__init__()
        self.titles, self.first, self.turn = titles, first, turn
        self.hidden: set[str] = turn("")
        self.listed = OptionList(*(Option(self.line(title)) for title in titles), compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Label("Charts", id="title")
            yield Label("enter goes there, space shows or hides", id="told")
            yield self.listed

    def line(self, title: str) -> Text:
        sign = " " if title in self.hidden else "●"
        return Text(f" {sign} {formats.plain(title)}", "dim" if title in self.hidden else "")

    def on_mount(self) -> None:
        self.listed.highlighted = self.first
        self.listed.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.titles[event.option_index])

    def action_turn(self) -> None:
        at = self.listed.highlighted
        if at is not None:
            self.hidden = self.turn(self.titles[at])
            self.listed.replace_option_prompt_at_index(at, self.line(self.titles[at]))

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_key(self, event: events.Key) -> None:
        """A letter: the next chart that begins with it."""
        at = self.listed.highlighted or 0
        order = [*range(at + 1, len(self.titles)), *range(at + 1)]
        found = [i for i in order if event.character and self.titles[i].startswith(event.character)]
        if found and event.is_printable:
            event.stop()
            self.listed.highlighted = found[0]
