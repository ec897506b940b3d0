"""`dlpo-tui replay`: a finished or crashed run in the session's screen, or as lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui import completion
from dlpo_tui.console import Console, Exit, one_sentence, tell
from engine import plain_json


def replay(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder.", autocompletion=completion.run)
    ],
    at: Annotated[
        int | None, typer.Option(help="The update to show first; the end if left out.", min=0)
    ] = None,
    headless: Annotated[bool, typer.Option(help="Plain lines instead of the screen.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Every event as a line of JSON on stdout (headless).")
    ] = False,
) -> None:
    """Look at a run that is over, and listen to its clips."""
    with one_sentence():
        if not (run / "events.jsonl").is_file():
            raise ValueError(no_journal(run))
        plain = headless or as_json
        if plain and at is not None:
            raise ValueError("--at is for the screen: leave it out, or --headless")
        if not plain and not (sys.stdin.isatty() and sys.stderr.isatty()):
            tell("no terminal here: plain lines, as with --headless")
            plain = True
        code = lines(run, as_json) if plain else screen(run, at)
    raise typer.Exit(code)


def no_journal(run: Path) -> str:
    """Why there is nothing to replay, and the nearest thing that could be."""
    from difflib import get_close_matches

    if run.is_file():
        return f"{run} is a file; name a run's folder, such as runs/NAME-DATE"
    inside = sorted(run.glob("*/events.jsonl"))
    if inside:
        return f"{run} is a folder of runs; name one, such as {inside[-1].parent}"
    if run.is_dir():
        return f"{run} holds no events.jsonl: it is not the folder of a run"
    beside = run.parent
    names = [p.parent.name for p in beside.glob("*/events.jsonl")] if beside.is_dir() else []
    near = get_close_matches(run.name, names, n=1, cutoff=0.4)
    hint = f"did you mean {beside / near[0]}?" if near else "a run is a folder, runs/NAME-DATE"
    return f"there is no run {run}; {hint}"


def lines(run: Path, as_json: bool) -> int:
    """The journal as a session's lines, then how it ended."""
    from dlpo_tui.lines import Lines
    from dlpo_tui.replaying import verdict
    from engine import journal
    from engine.messages import to_json

    console = Console(soft_wrap=True)
    told = Lines(console, quiet=as_json)
    for event in journal.events(run):
        if as_json:
            sys.stdout.write(plain_json.line(to_json(event)) + "\n")
        told.show(event)
    tell(f"replay {verdict(told.now, run)}")
    return Exit.DONE


def screen(run: Path, at: int | None) -> int:
    from dlpo_tui.replay_app import ReplayApp
    from dlpo_tui.replaying import Replay
    from dlpo_tui.sound import speaker
    from dlpo_tui.themed import run_quietly

    sound, film = speaker(), Replay(run, at)
    why = run_quietly(ReplayApp(film, sound, run), "replay", sound)
    if film.error:
        raise ValueError(film.error)
    if why:
        tell(f"dlpo-tui: the screen failed; {why}")
        return Exit.FAILED
    tell(f"replay {film.verdict}")
    return Exit.DONE
