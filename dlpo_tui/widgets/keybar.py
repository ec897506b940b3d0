"""The last line: the keys that do something here; help and quit are never left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events

from dlpo_tui import formats
from dlpo_tui.keys import Key, hints
from dlpo_tui.widgets.lines import Lines

ALWAYS = ("?", "q", "F1", "^q")


class KeyBar(Lines):
    """As many of the keys as fit, in the order of the table; `?` shows all of them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"ink--key", "ink--label"}

    keys: Sequence[Key] = tuple(hints("session"))
    relabelled: dict[str, str] = {}  # noqa: RUF012 (replaced whole, never changed)
    """Shown key -> another label, such as space -> resume."""

    def show(self, keys: Sequence[Key], relabelled: dict[str, str] | None = None) -> None:
        if (keys, relabelled or {}) != (self.keys, self.relabelled):
            self.keys, self.relabelled = keys, relabelled or {}
            self.refresh()

    def line(self, y: int, width: int) -> Text:
        kept = [self.hint(key) for key in self.keys if key.shown in ALWAYS]
        others = [self.hint(key) for key in self.keys if key.shown not in ALWAYS]
        tail = formats.joined(kept, width)
        gap = 2 if tail.cell_len else 0
        return formats.spread(formats.joined(others, width - tail.cell_len - gap), tail, width)

    def hint(self, key: Key) -> Text:
        label = self.relabelled.get(key.shown, key.label)
        meta = Style(meta={"key": key.name})
        return Text.assemble(
            (key.told, self.ink("key")), (f" {label}", self.ink("label")), style=meta
        )

    async def on_click(self, event: events.Click) -> None:
        """A click on a hint does what its key does, in the focused panel first."""
        name = event.style.meta.get("key")
        for node in (self.screen.focused, self.screen):
            for held in node._bindings.key_to_bindings.values() if node else ():
                for binding in held:
                    if binding.id == name:
                        await self.app.run_action(binding.action, default_namespace=node)
                        return
