"""The keys of one screen, place by place, made from the table of keys."""

from __future__ import annotations

from collections.abc import Mapping

from dlpo_tui.keys import Place
from dlpo_tui.screens.reading import Page, keys_told
from dlpo_tui.widgets.sheet import Row


class KeyPage(Page):
    """The help of a screen that is not the session's."""

    title_told = "Keys"

    def __init__(self, headings: Mapping[Place, str], without: tuple[str, ...] = ()) -> None:
        """`headings`: the places to tell of, in order, and what to call each.

        `without`: beginnings of actions that this screen does not have.
        """
        super().__init__()
        self.headings, self.without = headings, without

    def content(self) -> list[Row]:
        return keys_told(self.headings, self.without)
