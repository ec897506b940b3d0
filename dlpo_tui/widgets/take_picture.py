"""The selected take, seen."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from dlpo_tui.widgets.lines import Lines


class TakePicture(Lines):
    def show(self, path: Path | None) -> None:
        pass

    def play(self, share: float | None) -> None:
        pass

    def line(self, y: int, width: int) -> Text:
        return Text()
