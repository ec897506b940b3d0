"""The keys of one screen, place by place, made from the table of keys."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from dlpo_tui.keys import KEYS, Place
from dlpo_tui.screens.reading import Page


class KeyPage(Page):
    """The help of a screen that is not the session's."""

    title_told = "Keys"

    def __init__(self, headings: Mapping[Place, str], without: tuple[str, ...] = ()) -> None:
        """`headings`: the places to tell of, in order, and what to call each.

        `without`: beginnings of actions that this screen does not have.
        """
        super().__init__()
        self.headings, self.without = headings, without

    def content(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        for place, heading in self.headings.items():
            table.add_row("", Text(heading, "bold"))
            for key in KEYS:
                held_back = bool(self.without) and key.action.startswith(self.without)
                if key.where == place and key.help and key.shown and not held_back:
                    table.add_row(Text(key.told, "bold"), Text(key.help))
            table.add_row("", "")
        return table
