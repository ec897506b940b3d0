"""`dlpo-tui report`: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui import completion
from dlpo_tui.commands.replay import no_journal
from dlpo_tui.console import one_sentence, tell


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder.", autocompletion=completion.run)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="HTML to write; report.html in the run's folder if left out."),
    ] = None,
    most_mb: Annotated[
        float, typer.Option("--most-mb", help="Megabytes of sound in the page, at most.", min=0)
    ] = 16.0,
) -> None:
    """Write a run as one HTML page: curves, knobs, clips to play, scores, profile."""
    with one_sentence():
        from engine import page
        from engine.files import check_target

        if not (run / "events.jsonl").is_file():
            raise ValueError(no_journal(run))
        path = out or run / "report.html"
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{path} must end in .html")
        check_target(path)
        heard = page.write(run, path, round(most_mb * 1e6))
        silent = sum(not one.sound for one in heard)
        left = f"; {silent} of {len(heard)} clips are without sound" if silent else ""
        tell(f"report {path} ({path.stat().st_size / 1e6:.1f} MB{left})")
