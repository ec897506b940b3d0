"""The blind part of `dlpo-tui compare`: the screen, then what is still to be scored."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dlpo_tui.console import Exit, progress_bar, tell

if TYPE_CHECKING:
    from dlpo_tui.commands.compare import Asked
    from dlpo_tui.rendering import Rendering
    from engine.comparison import Comparison
    from engine.messages import Progressing
    from engine.preference import Preference

WAIT_SECONDS = 0.1
PATIENCE_SECONDS = 10.0
"""How long a test that was left may still hold the process."""


def pairs_file(a: str, b: str, report: Path | None, page: Path | None) -> Path | None:
    """Where the answers go: into the run of B, else of A; else beside the report, or the page."""
    from engine.human_pairs import NAME
    from engine.run_voices import run_of

    for source in (b, a):
        run = run_of(Path(source)) if source != "bundled" else None
        if run is not None:
            return run / NAME
    if (beside := report or page) is not None:
        whole = beside.absolute()
        return whole.with_name(f"{whole.stem if beside is page else whole.name}-{NAME}")
    return None


def listen_blind(
    asked: Asked, order: int | None, pairs: Path | None
) -> tuple[Comparison, Preference, str]:
    """Has a person listen; the comparison, the answers, and why the screen failed, if it did.

    The answers are kept where the test was ended early, or by a failure; each is on the disk at
    once where there is a file for them, `pairs`.

    Errors: ValueError, one sentence, for voices that cannot be compared; typer.Exit where the
    listener left without an answer, or the screen failed.
    """
    from dlpo_tui.blind_app import run_blind
    from dlpo_tui.keeping import Keeping
    from dlpo_tui.rendering import Rendering
    from engine.preference import Preference, trials

    seed = random.SystemRandom().randrange(10**6) if order is None else order
    keeping = Keeping(pairs, (asked.a, asked.b), seed) if pairs is not None else None
    if keeping is None:
        tell("the answers go into no file, since neither voice is a run's; --report keeps them")

    def speak(advance: Progressing) -> Comparison:
        if keeping is not None:
            keeping.look()
        return asked.compare(advance, scored=False)

    with tempfile.TemporaryDirectory(prefix="dlpo-tui-blind-") as folder:
        rendering = Rendering(
            speak,
            asked.judge,
            lambda prompts: trials(prompts, seed),
            Path(folder),
        )
        why, answers = run_blind(rendering, (asked.a, asked.b), keeping)
        if not answers or rendering.spoken is None:
            leave(rendering, why)
        if keeping is not None and keeping.path.is_file():
            tell(f"answers {keeping.path}; dlpo-tui export-pairs makes preferences of them")
        done = scores_of(rendering)
    return done, Preference(rendering.trials, answers, seed), why


def leave(rendering: Rendering, why: str) -> None:
    """Ends a test in which nothing was answered."""
    rendering.close()
    rendering.join(PATIENCE_SECONDS)
    if rendering.error and rendering.spoken is None:
        if rendering.refused:
            raise ValueError(rendering.error)
        tell(f"dlpo-tui: {rendering.error}")
        raise typer.Exit(Exit.FAILED)
    if why:
        tell(f"dlpo-tui: the screen failed; {why}")
        raise typer.Exit(Exit.FAILED)
    tell("left without an answer: nothing is reported")
    raise typer.Exit(Exit.INTERRUPTED)


def scores_of(rendering: Rendering) -> Comparison:
    """Waits for the scores; where they cannot be had, or are not waited for, what was spoken."""
    spoken = rendering.spoken
    assert spoken is not None
    try:
        with progress_bar("scoring") as advance:
            while not rendering.join(WAIT_SECONDS):
                advance(*rendering.progress)
    except KeyboardInterrupt:
        rendering.close()
        rendering.join(PATIENCE_SECONDS)
        tell("the scores are left out; the answers are kept")
        return spoken
    if rendering.scored is None:
        tell(f"the scores are left out: {rendering.error}")
        return spoken
    return rendering.scored
