"""`dlpo-tui convert`: a checkpoint of maum-ai/wavegrad2 becomes a voice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui.console import one_sentence, progress_bar, tell


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="maum-ai/wavegrad2's .ckpt, or an EMA file.")],
    out: Annotated[
        Path | None, typer.Option(help="Voice to write; beside the checkpoint if left out.")
    ] = None,
    speakers: Annotated[
        list[str],
        typer.Option(
            metavar="NAME", help="A speaker's name, once for each; the file's own if left out."
        ),
    ] = [],  # noqa: B006 (typer reads the default, nobody writes it)
    force: Annotated[bool, typer.Option("--force", help="Replace the file to write.")] = False,
) -> None:
    """Make a voice of maum-ai/wavegrad2's checkpoint, without running anything inside it."""
    with one_sentence():
        from engine import convert as conversion

        with progress_bar("converting") as advance:
            done = conversion.convert(
                checkpoint, out, speakers=speakers, force=force, on_progress=advance
            )
        tell(f"voice {done.summary()}")
