"""All about one clip: its prompt, every number with its change since the start, its sound."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from dlpo_tui import formats
from dlpo_tui.widgets.clip_columns import signed
from dlpo_tui.widgets.clip_order import scored
from dlpo_tui.widgets.clip_start import Start
from dlpo_tui.widgets.lines import Lines
from dlpo_tui.widgets.score_grid import Parts, grid
from dlpo_tui.widgets.sound_view import SoundView
from engine.messages import Clip, Column, Snapshot

LEAST_VIEW = 2
"""Rows that the sound keeps where the text is long."""
LONGEST_NAME = 14
REWARD = Column("reward", "")


class ClipFacts(Lines):
    """Facts, prompt and scores of a clip, as many rows as they need."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}"
        for part in ("label", "value", "name", "missing", "calm", "waiting", "better", "worse")
    }

    def __init__(self) -> None:
        super().__init__()
        self.now, self.start = Snapshot(), Start()
        self.clip: Clip | None = None
        self.other = False
        self.room = 0
        """Rows that the text may take."""
        self.rows: list[Text] = []

    def show(self, now: Snapshot, clip: Clip | None, start: Start, other: bool) -> None:
        self.now, self.clip, self.start, self.other = now, clip, start, other
        self.lay_out()

    def lay_out(self) -> None:
        """As high as the text is, within the room."""
        self.rows = self.text(max(self.size.width, 1))
        self.styles.height = max(len(self.rows), 1)
        self.refresh()

    def on_resize(self) -> None:
        self.lay_out()

    def line(self, y: int, width: int) -> Text:
        return self.rows[y] if y < len(self.rows) else Text()

    # --- Text ---

    def text(self, width: int) -> list[Text]:
        """The rows, the prompt cut where there is no room for all of it."""
        if self.clip is None:
            return [Text("no clip yet", self.ink("missing"))]
        above, below = self.facts(self.clip, width), self.scores(self.clip, width)
        prompt = Text(formats.plain(self.clip.prompt), self.ink("name"))
        lines = list(prompt.wrap(self.app.console, width))
        room = max(self.room - len(above) - len(below), 1)
        if len(lines) > room:
            rest = " ".join(line.plain for line in lines[room - 1 :])
            lines[room - 1 :] = [Text(formats.shortened(rest, width), self.ink("name"))]
        return [*above, *lines, *below]

    def facts(self, clip: Clip, width: int) -> list[Text]:
        """Which clip this is; as many rows as it takes."""
        label, value = self.ink("label"), self.ink("value")
        parts = [self.badge()] if self.badge() else []
        parts += [
            Text(clip.kind, label),
            Text.assemble(("update ", label), (f"{clip.update}", value)),
        ]
        parts.append(Text.assemble(("clip ", label), (f"{clip.index}", value)))
        if clip.speaker:
            parts.append(Text(formats.plain(clip.speaker), value))
        parts.append(Text.assemble(("seed ", label), (f"{clip.seed}", value)))
        parts.append(Text(f"{clip.seconds:.2f} s", value))
        if clip.kind == "rollout":
            told = signed(clip.advantage)
            parts.append(Text.assemble(("advantage ", label), (told, value)))
        rows = [Text()]
        for part in parts:
            part.truncate(width, overflow="ellipsis")
            if rows[-1].cell_len and rows[-1].cell_len + 2 + part.cell_len > width:
                rows.append(Text())
            rows[-1].append("  " if rows[-1].cell_len else "").append_text(part)
        return rows

    def badge(self) -> Text:
        """Which of the two is seen, where there are two."""
        if self.start.awaited:
            return Text(" rendering the start … ", self.ink("waiting"))
        if self.other:
            return Text(" START ", self.ink("waiting"))
        return Text(" NOW ", self.ink("calm")) if self.start.path else Text()

    def scores(self, clip: Clip, width: int) -> list[Text]:
        """Every score with its unit and its change since the start, in columns."""
        columns = [REWARD, *(c for c in scored(self.now.started) if c.name != REWARD.name)]
        return grid([self.parts(clip, column) for column in columns], width)

    def parts(self, clip: Clip, column: Column) -> Parts:
        shown = self.start.value(column.name) if self.other else score(clip, column.name)
        decimals = 3 if column is REWARD else formats.column_decimals(column)
        told = formats.score(shown, decimals)
        name = formats.shortened(formats.plain(column.name), LONGEST_NAME)
        return (
            Text(name, self.ink("label")),
            Text(told, self.ink("missing" if told == formats.MISSING else "value")),
            Text(column.unit, self.ink("label")),
            self.change(clip, column, decimals),
        )

    def change(self, clip: Clip, column: Column, decimals: int) -> Text:
        """By how much the score has moved since the start; nothing where nobody knows."""
        one, other = self.start.value(column.name), score(clip, column.name)
        if self.other or one is None or other is None:
            return Text()
        change = round(other - one, decimals)
        better = column.higher_is_better
        good = better is not None and (change > 0) == better
        part = "label" if better is None or not change else "better" if good else "worse"
        return Text(f"{change:+.{decimals}f}", self.ink(part))


class ClipDetail(Vertical):
    """Follows the cursor of the table."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.facts, self.view = ClipFacts(), SoundView()

    def compose(self) -> ComposeResult:
        yield self.facts
        yield self.view

    def show(
        self, now: Snapshot, clip: Clip | None, folder: Path, start: Start, other: bool
    ) -> None:
        """`other`: the start's clip is to be seen and heard, not the clip itself."""
        self.facts.room = max(self.content_size.height - LEAST_VIEW, 1)
        self.facts.show(now, clip, start, other)
        path = folder / clip.path if clip is not None and clip.path else None
        beside = folder / start.path if start.path else None
        if other:
            path, beside = beside, path
        self.view.show(path, beside, other)

    def on_resize(self) -> None:
        self.facts.room = max(self.content_size.height - LEAST_VIEW, 1)
        self.facts.lay_out()


def score(clip: Clip, name: str) -> float | None:
    return clip.reward if name == REWARD.name else clip.scores.get(name)
