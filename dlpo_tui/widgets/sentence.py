"""Where a sentence is typed; the arrows bring back those that were said."""

from __future__ import annotations

from textual.message import Message
from textual.widgets import Input

from dlpo_tui import formats
from dlpo_tui.keys import bindings

LONGEST = 600
"""Characters; a longer text is several sentences."""


class Sentence(Input):
    """One line; enter says it."""

    BINDINGS = bindings("sentence")

    class Leaving(Message):
        """Ctrl+C, where no text is selected, is a wish to quit."""

    def __init__(self, id: str) -> None:
        super().__init__(placeholder="a sentence; enter says it", id=id, max_length=LONGEST)
        self.said: list[str] = []
        self.at = 0
        """Which of `said` stands here; their count: none of them."""

    def keep(self, text: str) -> None:
        """Remembers a sentence that was said, and makes room for the next."""
        if not self.said or self.said[-1] != text:
            self.said.append(text)
        self.at = len(self.said)
        self.value = ""

    def action_recall(self, by: int) -> None:
        """The sentence before or after; past the last, an empty line."""
        self.at = min(max(self.at + by, 0), len(self.said))
        self.value = self.said[self.at] if self.at < len(self.said) else ""
        self.cursor_position = len(self.value)

    def action_copy(self) -> None:
        if self.selected_text:
            super().action_copy()
        else:
            self.post_message(self.Leaving())

    def text(self) -> str:
        """What stands here, on one line."""
        return " ".join(formats.plain(self.value).split())
