"""A panel whose chosen row takes a typed value: the keys of typing, and nothing else."""

from __future__ import annotations

from textual import events
from textual.message import Message

from dlpo_tui import formats
from dlpo_tui.widgets.lines import Lines

STARTS = "0123456789."
"""Characters that begin a value at once."""


class TypedPanel(Lines):
    """Subclasses say in `submit` what becomes of the text, and draw it and `error` themselves."""

    class Typing(Message):
        """Typing began or ended: other keys hold now."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.typed: str | None = None
        """What was typed so far; None while nothing is typed."""
        self.error = ""
        """One sentence on the last value, where it cannot be."""

    def submit(self) -> None:
        """Takes the typed value; one that cannot be stays, with the sentence beside it."""
        raise NotImplementedError

    def action_type(self) -> None:
        self.start_typing("")

    def start_typing(self, text: str) -> None:
        self.typed, self.error = text, ""
        self.post_message(self.Typing())
        self.refresh()

    def stop_typing(self) -> None:
        self.typed = None
        self.post_message(self.Typing())
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        if self.typed is None:
            if event.character and event.character in STARTS:
                event.stop().prevent_default()
                self.start_typing(event.character)
            return
        if event.key in ("tab", "shift+tab"):
            self.stop_typing()
            return
        if not event.is_printable and event.key not in ("enter", "escape", "backspace"):
            return
        event.stop().prevent_default()
        if event.key == "enter":
            self.submit()
        elif event.key == "escape":
            self.error = ""
            self.stop_typing()
        elif event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.character:
            self.typed += event.character
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.start_typing((self.typed or "") + formats.plain(event.text.strip()))

    def on_blur(self) -> None:
        self.error = ""
        self.stop_typing()
