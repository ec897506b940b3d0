"""Which columns the table of clips has at a width, and what stands in them; draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dlpo_tui import formats
from engine.messages import Clip, Column, SessionStarted

LEAST_PROMPT = 16
"""Cells that the prompt keeps, or a third, before any other column may appear."""
GAP = 2
LONGEST_NAME = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the table."""

    column: str
    """What it is sorted by."""
    name: str
    """In the heading."""
    width: int
    read: Callable[[Clip], str]
    right: bool = True
    """Numbers stand flush right, so that their points align."""


def fitting(
    started: SessionStarted | None, width: int, told_twice: str = "", sorted_by: str = ""
) -> list[Cell]:
    """As many columns as fit, in reading order; the prompt takes what is left over.

    `told_twice`: a score that is the reward itself, and the first to be left out.
    `sorted_by`: the last to be left out.
    """
    scores = [*started.rewards, *started.judges] if started else []
    update = Cell("update", "update", 6, lambda clip: str(clip.update))
    reward = Cell("reward", "reward", 7, lambda clip: formats.score(clip.reward, 3))
    advantage = Cell("advantage", "advantage", 9, lambda clip: signed(clip.advantage))
    seconds = Cell("seconds", "seconds", 7, lambda clip: formats.score(clip.seconds, 1))
    speaker = Cell("speaker", "speaker", 10, lambda clip: formats.plain(clip.speaker), right=False)
    judged = [score_cell(column) for column in scores if column.name != told_twice]
    double = [score_cell(column) for column in scores if column.name == told_twice]

    least = max(LEAST_PROMPT, width // 3)
    room = width - update.width - GAP - least
    kept: list[Cell] = []
    # The most telling first: what does not fit any more is left out, and all after it.
    wanted = [reward, advantage, *judged, seconds, speaker, *double]
    wanted.sort(key=lambda cell: cell.column != sorted_by)
    for cell in wanted:
        room -= cell.width + GAP
        if room < 0:
            room += cell.width + GAP
            break
        kept.append(cell)
    prompt = Cell("prompt", "prompt", least + room, lambda c: formats.plain(c.prompt), right=False)
    order = (update, prompt, speaker, seconds, reward, *double, *judged, advantage)
    return [cell for cell in order if cell in kept or cell in (update, prompt)]


def score_cell(column: Column) -> Cell:
    name = formats.shortened(formats.plain(column.name), LONGEST_NAME)
    decimals = formats.column_decimals(column)
    return Cell(
        column.name, name, max(len(name), 6), partial(told, name=column.name, decimals=decimals)
    )


def told(clip: Clip, name: str, decimals: int) -> str:
    return formats.score(clip.scores.get(name), decimals)


def signed(value: float | None) -> str:
    """An advantage with its sign, which is what matters."""
    return formats.MISSING if value is None else f"{value:+.2f}"
