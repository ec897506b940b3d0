"""`dlpo-tui export-pairs`: what was chosen in blind listening, for a preference learner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlpo_tui import completion
from dlpo_tui.console import one_sentence, tell
from engine import plain_json

if TYPE_CHECKING:
    from engine.human_pairs import Export


def export_pairs(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_OR_FILE...",
            help="Runs' folders, or files of answers.",
            autocompletion=completion.run,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="JSON lines to write; stdout if left out.")
    ] = None,
) -> None:
    """Write the choices of blind listening as JSON lines: prompt, chosen, rejected."""
    with one_sentence():
        from engine.files import check_target, replacing
        from engine.human_pairs import PairsError, export, files

        paths = list(files(sources))
        if out is not None:
            check_target(out)
            if any(out.resolve() == path.resolve() for path in paths):
                raise PairsError(f"{out} is read from; name another file for --out")
        done = export(paths)
        complain(done)
        if not done.rows:
            told = left_out(done)
            raise PairsError(f"there is no preference to export{told and f': {told}'}")
        lines = "".join(plain_json.line(row) + "\n" for row in done.rows)
        if out is None:
            typer.echo(lines, nl=False)
        else:
            with replacing(out) as temporary:
                temporary.write_text(lines, "utf-8")
        told = left_out(done)
        where = f" in {out}" if out is not None else ""
        tell(f"preferences: {len(done.rows)}{where}{told and f'; left out: {told}'}")


def complain(done: Export) -> None:
    """One sentence for each file that holds something else, too."""
    for path, lines in done.foreign.items():
        tell(f"{path}: lines that are torn or no answers of a blind test, left out: {lines}")


def left_out(done: Export) -> str:
    """Answers that make no preference."""
    parts = [f"{done.neither} without a choice"] if done.neither else []
    parts += [f"{done.silent} whose clips are gone"] if done.silent else []
    return ", ".join(parts)
