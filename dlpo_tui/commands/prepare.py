"""`dlpo-tui prepare`: a corpus becomes phones, durations and audio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui.console import one_sentence, progress_bar, tell


def prepare(
    corpus: Annotated[Path, typer.Argument(help="Folder with metadata.csv and wavs/.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; prepared/NAME if left out.")
    ] = None,
    speaker: Annotated[str | None, typer.Option(help="Name of who speaks.")] = None,
    textgrids: Annotated[
        Path | None, typer.Option(help="Folder of MFA TextGrids; else pocketsphinx aligns.")
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(help="Clips held back; 2 % of them, at least 8, if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """Turn a corpus into phones, durations and audio ready to train on; resumable."""
    from dataclasses import asdict

    with one_sentence():
        from engine import prepare as preparation

        target = out or Path("prepared") / corpus.resolve().name
        with progress_bar("aligning") as advance:
            report = preparation.prepare(
                corpus, target, speaker=speaker, held_out=held_out, textgrids=textgrids,
                on_progress=advance,
            )  # fmt: skip
        tell(report.summary())
        if as_json:
            typer.echo(json.dumps(asdict(report)))
