"""The question where a clip is to be saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from dlpo_tui import formats


class Saving(ModalScreen[Path | None]):
    """Answers with the path that was written; None: nothing was. A refusal keeps what was typed."""

    CSS_PATH = "panels.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, proposed: Path, write: Callable[[str], Path]) -> None:
        """`write(path)` saves the clip; ValueError or OSError, one sentence, where it cannot."""
        super().__init__()
        self.proposed, self.write = proposed, write

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Label("Save the clip as", id="title")
            yield Input(str(self.proposed), select_on_focus=False, compact=True)
            yield Label("WAV or FLAC; enter saves, esc goes back", id="told")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            path = self.write(event.value)
        except ValueError as error:
            self.tell(str(error))
        except OSError as error:
            from engine.files import told

            self.tell(told(error))
        else:
            self.dismiss(path)

    def tell(self, sentence: str) -> None:
        self.query_one("#told", Label).update(Text(formats.plain(sentence)))
