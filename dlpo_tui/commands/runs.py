"""`dlpo-tui runs`: which runs there are and how each stands; a look at files, nothing is loaded."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.console import Console, one_sentence, tell
from engine import plain_json

if TYPE_CHECKING:
    from engine.run_states import RunState

INKS = {"running": "green", "paused": "yellow", "failed": "red", "crashed": "red"}


def runs(
    folder: Annotated[Path, typer.Argument(help="A folder of runs.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a run.")] = False,
) -> None:
    """List the runs: how each stands, how far it is, and who is attached."""
    from engine.run_states import runs as runs_of

    with one_sentence():
        if not folder.is_dir():
            if folder == Path("runs"):
                tell("there is no run in runs/ yet; dlpo-tui run PROFILE starts one")
                return
            raise ValueError(
                f"there is no folder {folder}; runs lie in runs/ unless told otherwise"
            )
        found = runs_of(folder)
        if as_json:
            for run in found:
                data = asdict(run) | {"folder": str(run.folder)}
                sys.stdout.write(plain_json.line(data) + "\n")
            return
        if not found:
            tell(f"there is no run in {folder}")
        console, now = Console(), time.time()
        for line in table(found, now):
            console.print(line, soft_wrap=True)


def table(found: list[RunState], now: float) -> list[Text]:
    """A line a run: name, state, update, reward, when it last wrote, who is attached."""
    rows = [
        (
            formats.plain(run.name),
            run.state,
            f"{run.update}/{run.updates if run.updates is not None else '?'}",
            formats.score(run.reward, 3),
            f"{formats.duration(max(now - run.at, 0.0))} ago",
            told(run),
        )
        for run in found
    ]
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    lines = []
    for row in rows:
        name, state, update, reward, age, more = row
        lines.append(
            Text.assemble(
                (name.ljust(widths[0]), "bold"), "  ",
                (state.ljust(widths[1]), INKS.get(state, "")), "  ",
                update.rjust(widths[2]), "  ", reward.rjust(widths[3]), "  ",
                (age.rjust(widths[4]), "dim"), "  ", (more, "dim"),
            )
        )  # fmt: skip
        lines[-1].rstrip()
    return lines


def told(run: RunState) -> str:
    """Who is attached, the one with the knobs marked; or why the run failed."""
    if run.error:
        return formats.shortened(formats.plain(run.error), 60)
    names = [f"{name}*" if name == run.holder else name for name in run.attached]
    return formats.plain(", ".join(names))
