"""Scores of several methods on the same prompts, folded to a table; and the table as Markdown.

Numbers in, numbers and text out: knows no file, no voice and no process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from engine.evaluation import interval
from engine.messages import Column, Interval

MISSING = "–"
DECIMALS = {"LUFS": 1, "L1": 4}
"""By unit; 2 for any other."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one voice scored: that of the start, or of the end of one run."""

    scores: Mapping[str, tuple[float | None, ...]]
    """Column -> score of each prompt (or recording), in one order for all voices; None: failed."""
    updates: int = 0
    minutes: float = 0.0
    """Wall time of its updates; evaluations are not counted."""
    alarms: int = 0
    """How often its session saw the reward rise while a judge got worse."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of one method."""

    mean: Interval | None
    """Over prompts, each prompt's score being its mean over the seeds."""
    difference: Interval | None
    """To the starting voice, prompt by prompt; None for that voice itself."""
    over_seeds: Interval | None
    """The same difference over seeds, each seed's being its mean over prompts."""
    by_seed: Mapping[int, float | None]
    """Seed -> mean over prompts."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method."""

    name: str
    seeds: tuple[int, ...]
    """Those whose run finished; empty for the starting voice."""
    updates: int
    minutes: float
    """Mean over the seeds."""
    alarms: int
    """Sum over the seeds."""
    cells: Mapping[str, Cell]
    """By column."""


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """The starting voice first."""
    about: Mapping[str, Any]
    """How it came about, as JSON holds it: `command`, `machines`, `reward` by method, `prompts`,
    `speaker`, `noise_seed`, `timesteps`, and whatever else."""
    notices: tuple[str, ...] = ()
    """What a reader should know: failed runs, scores that are missing, a stand-in."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            **self.about,
            "columns": [asdict(column) for column in self.columns],
            "methods": [plain_row(row) for row in self.rows],
            "notices": list(self.notices),
        }


def plain_row(row: Row) -> dict[str, Any]:
    scores = {
        name: {
            **asdict(cell),
            "significant": sure(cell.difference),
            "significant_over_seeds": sure(cell.over_seeds),
        }
        for name, cell in row.cells.items()
    }
    facts = {k: v for k, v in asdict(row).items() if k != "cells"}
    return {**facts, "scores": scores}


def fold(
    start: Sheet, methods: Mapping[str, Mapping[int, Sheet]], base: str, columns: Sequence[str]
) -> tuple[Row, ...]:
    """A row for the starting voice, named `base`, then one for each method (name -> seed -> sheet).

    A method's score of a prompt is its mean over the seeds that have one, and the interval is
    Student's t over these N means: it tells how far another draw of prompts would move the
    figure, with these seeds. The difference to the start is taken prompt by prompt, under the
    same noise, before its mean. How far another seed would move it says `over_seeds`: t over the
    seeds' own mean differences, without a width where there is one seed.
    """
    nobody = Row(base, (), 0, 0.0, 0, {name: start_cell(start, name) for name in columns})
    rows = [nobody]
    for method, sheets in methods.items():
        runs = [sheets[seed] for seed in sorted(sheets)]
        rows.append(
            Row(
                method,
                tuple(sorted(sheets)),
                max((run.updates for run in runs), default=0),
                sum(run.minutes for run in runs) / max(len(runs), 1),
                sum(run.alarms for run in runs),
                {name: cell(start, sheets, name) for name in columns},
            )
        )
    return tuple(rows)


def start_cell(start: Sheet, name: str) -> Cell:
    return Cell(interval(values(start, name)), None, None, {})


def cell(start: Sheet, sheets: Mapping[int, Sheet], name: str) -> Cell:
    """One score of one method, as `fold` says; nothing in it where no seed has a sheet."""
    if not sheets:
        return Cell(None, None, None, {})
    seeds = sorted(sheets)
    before = values(start, name)
    after = torch.stack([values(sheets[seed], name) for seed in seeds])  # (seeds, N)
    change = after - before
    return Cell(
        interval(after.nanmean(0)),
        interval(change.nanmean(0)),
        interval(change.nanmean(1)),
        {seed: finite(float(row.nanmean())) for seed, row in zip(seeds, after, strict=True)},
    )


def values(sheet: Sheet, name: str) -> Tensor:
    """(N,) float64 scores of a column; NaN where there is none."""
    told = [math.nan if value is None else value for value in sheet.scores[name]]
    return torch.tensor(told, dtype=torch.float64)


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def sure(difference: Interval | None) -> bool:
    """Whether a 95 % interval of several values leaves out 0."""
    d = difference
    return d is not None and d.count > 1 and (d.low > 0 or d.high < 0)


# --- Markdown -------------------------------------------------------------------


def shown(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Those that a page has room for: no clipping, no nisqa_noisiness beside nisqa."""
    names = [column.name for column in columns]
    part = [any(n.startswith(f"{name}_") for name in names) or n == "clipping" for n in names]
    return tuple(column for column, left in zip(columns, part, strict=True) if not left)


def markdown(table: Table) -> str:
    """The page: scores, differences over prompts, differences over seeds, how it came about."""
    columns = shown(table.columns)
    parts = [
        "# A study",
        "\n".join(facts(table)),
        "## Scores",
        "Mean with its 95 % interval over prompts; a prompt's score is its mean over the seeds.",
        grid(table, [mean_cells(row, columns) for row in table.rows], ran=True),
    ]
    if len(table.rows) > 1:
        parts += [
            f"## Difference to `{table.rows[0].name}`",
            "Paired, prompt by prompt under the same noise, with its 95 % interval over prompts; "
            "bold where that leaves out 0.",
            grid(table, [change_cells(row, columns) for row in table.rows]),
        ]
    if any(len(row.seeds) > 1 for row in table.rows):
        parts += [
            "## The same over seeds",
            "Each seed's mean difference is one value: what another seed could have given.",
            grid(table, [change_cells(row, columns, True) for row in table.rows]),
        ]
    if len(table.rows) > 1:
        parts.append(chances(table))
    parts += ["\n".join(f"- {notice}" for notice in table.notices)] if table.notices else []
    return "\n\n".join(parts) + "\n"


def facts(table: Table) -> list[str]:
    """What was done, where, and how to do it again."""
    about = table.about
    lines = [
        f"- {len(about['prompts'])} held-out prompts, speaker {about['speaker']}, noise of seed "
        f"{about['noise_seed']}, {about['timesteps']} timesteps",
        *(f"- reward: {told}" for told in rewards(about["reward"])),
        *(f"- run on: {line}" for line in about["machines"]),
    ]
    return [*lines, "", f"    {about['command']}"]


def rewards(by_method: Mapping[str, str]) -> list[str]:
    """Each reward once, with the methods of it where there are several."""
    found: dict[str, list[str]] = {}
    for method, reward in by_method.items():
        found.setdefault(reward, []).append(method)
    if len(found) == 1:
        return list(found)
    return [f"{reward} of {', '.join(methods)}" for reward, methods in found.items()]


def chances(table: Table) -> str:
    """How many intervals were looked at, and so how many mark by chance."""
    looked = sum(
        row.cells[column.name].difference is not None
        for row in table.rows
        for column in shown(table.columns)
    )
    return (
        f"Each difference is one of {looked}: of twenty that are 0, one is bold by chance. An "
        "alarm: the reward rose while a judge got worse, during the session."
    )


def grid(table: Table, cells: Sequence[Sequence[str]], ran: bool = False) -> str:
    """A Markdown table: a row a method, a column a score; with what each method cost if `ran`."""
    heads = [column.name + arrow(column) for column in shown(table.columns)]
    costs = ["seeds", "updates", "minutes", "alarms"] if ran else []
    lines = ["| | " + " | ".join([*costs, *heads]) + " |", "|---" * (1 + len(costs + heads)) + "|"]
    for row, told in zip(table.rows, cells, strict=True):
        spent = cost(row) if ran else []
        if ran or row is not table.rows[0]:
            lines.append(f"| `{row.name}` | " + " | ".join([*spent, *told]) + " |")
    return "\n".join(lines)


def cost(row: Row) -> list[str]:
    if not row.seeds:
        return [MISSING] * 4
    return [str(len(row.seeds)), str(row.updates), f"{row.minutes:.1f}", str(row.alarms)]


def arrow(column: Column) -> str:
    """Which way is better."""
    return {True: " ↑", False: " ↓", None: ""}[column.higher_is_better]


def mean_cells(row: Row, columns: Sequence[Column]) -> list[str]:
    told = []
    for column in columns:
        value, n = row.cells[column.name].mean, digits(column)
        span = f" ({value.low:.{n}f} to {value.high:.{n}f})" if value and value.count > 1 else ""
        told.append(f"{value.mean:.{n}f}{span}" if value else MISSING)
    return told


def change_cells(row: Row, columns: Sequence[Column], seeds: bool = False) -> list[str]:
    """Differences with their intervals; over seeds a single one stands without."""
    told = []
    for column in columns:
        found = row.cells[column.name]
        told.append(change(found.over_seeds if seeds else found.difference, digits(column)))
    return told


def change(value: Interval | None, n: int) -> str:
    if value is None:
        return MISSING
    mean = f"{value.mean:+.{n}f}"
    if value.count < 2:
        return mean
    mean = f"**{mean}**" if sure(value) else mean
    return f"{mean} ({value.low:+.{n}f} to {value.high:+.{n}f})"


def digits(column: Column) -> int:
    return DECIMALS.get(column.unit, 2)
