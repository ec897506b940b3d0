"""`python -m dlpo_tui.study_run RUN THREADS`: one run of a study, in a folder that lies ready.

Begins the session, or goes on with it where the folder has a state; events go to stdout as lines
of JSON. The run's profile says nothing of threads that are shared out among runs, so that their
number may change between two parts of it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import typer

from dlpo_tui.commands.run import Opening, headless_run, log_to, open_run
from dlpo_tui.console import one_sentence


def main(folder: Path, threads: int) -> None:
    with one_sentence():
        opening = begin(folder)
        device = replace(opening.settings.device, threads=threads)
        opening = replace(opening, settings=replace(opening.settings, device=device))
        raise typer.Exit(headless_run(opening, as_json=True))


def begin(folder: Path) -> Opening:
    """What the session starts with: nothing yet, or the fold of its journal."""
    from engine.journal import profile_of
    from engine.reopening import saved

    if saved(folder):
        return open_run(None, folder, None, [])
    opening = Opening(profile_of(folder), folder, None)
    log_to(folder)
    return opening


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except typer.Exit as left:
        sys.exit(left.exit_code)
