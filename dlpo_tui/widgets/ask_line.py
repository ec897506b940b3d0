"""One line to type into, with its name before it and a sentence below where the text is off."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from dlpo_tui import formats
from dlpo_tui.keys import bindings


class AskLine(Vertical):
    """Hidden until it is opened; what was typed stays until it is taken or given up."""

    BINDINGS = bindings("asking")

    class Changed(Message):
        """The text is another one; it may be half typed."""

        def __init__(self, line: AskLine, text: str) -> None:
            super().__init__()
            self.line, self.text = line, text

    class Entered(Changed):
        """The text is meant."""

    class Left(Message):
        """The wish is given up."""

        def __init__(self, line: AskLine) -> None:
            super().__init__()
            self.line = line

    def __init__(self, label: str, example: str, id: str) -> None:
        super().__init__(id=id)
        self.label = label
        self.input = Input(placeholder=example, compact=True, select_on_focus=False)
        self.input.cursor_blink = False
        self.side, self.told = Static(classes="side"), Static(classes="told")

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(Text(f"{self.label} "), classes="label")
            yield self.input
            yield self.side
        yield self.told

    @property
    def text(self) -> str:
        return self.input.value

    def open(self) -> None:
        """Shows the line and takes the keys."""
        self.add_class("-open")
        self.screen.set_focus(self.input)

    def close(self, keep: bool = False) -> None:
        """Hides the line, unless its text goes on to hold."""
        self.refuse("")
        if not keep:
            self.input.value = ""
            self.remove_class("-open")

    def note(self, text: str) -> None:
        """What the text comes to, beside it."""
        self.side.update(Text(text))

    def refuse(self, sentence: str) -> None:
        """Why the text cannot be taken; it stays to be mended."""
        self.told.update(Text(formats.plain(sentence)))
        self.told.display = bool(sentence)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.refuse("")
        self.post_message(self.Changed(self, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered(self, event.value))

    def action_leave(self) -> None:
        self.post_message(self.Left(self))

    def on_click(self, event: events.Click) -> None:
        self.open()
