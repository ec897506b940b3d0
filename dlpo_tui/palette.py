"""The command palette: every key of the screen by its help, as far as it can be used now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from dlpo_tui import theme
from dlpo_tui.keys import KEYS, Key

PALETTE = "app.command_palette"


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    """As the help says it."""
    key: str
    run: Callable[[], object]


class Commands(Provider):
    """The table of keys once more, by words; then the themes."""

    async def discover(self) -> Hits:
        for row in self.rows():
            yield DiscoveryHit(Content(row.text), row.run, row.text, row.key)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for row in self.rows():
            if (score := matcher.match(row.text)) > 0:
                yield Hit(score, Content(row.text), row.run, row.text, row.key)

    def rows(self) -> Iterator[Row]:
        for key, home in possible(self.screen):
            yield Row(f"{key.label}: {key.help}" if key.label else key.help, key.told,
                      partial(self.press, key, home))  # fmt: skip
        for name in theme.NAMES:
            yield Row(f"theme {name}", "", partial(self.app.wear, name))  # type: ignore[attr-defined]

    async def press(self, key: Key, home: DOMNode) -> None:
        """Does what the key does, where it does it."""
        if isinstance(home, Widget) and home.focusable and not isinstance(home, Screen):
            self.screen.set_focus(home)
        await self.app.run_action(key.action, default_namespace=home)


def possible(screen: Screen[object]) -> list[tuple[Key, DOMNode]]:
    """The keys of a screen that would do something now, each with who does it.

    A key of two directions is left out: it is for the hand, and its words name both.
    """
    homes: dict[str, DOMNode] = {}
    for node in (screen, *screen.query("*")):
        if node is screen or node.display:
            for held in node._bindings.key_to_bindings.values():
                for binding in held:
                    homes.setdefault(binding.id or "", node)
    allowed = getattr(screen, "possible", None)
    return [
        (key, homes[key.name])
        for key in KEYS
        if key.name in homes and key.action and key.help and key.shown
        and key.action != PALETTE
        and not any(key.pairs_with(other) for other in KEYS)
        and (allowed is None or allowed(key))
    ]  # fmt: skip
