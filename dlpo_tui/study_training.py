"""The runs of a study: each a process in its folder, begun or gone on with, to its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import tomli_w

from dlpo_tui.children import Child, Children
from dlpo_tui.console import progress_bar, tell
from dlpo_tui.study_lines import StudyLines
from engine import journal
from engine.doctor import usable_cores
from engine.report import new_folder
from engine.study import place
from engine.study.plan import Run

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def train(due: Sequence[Run], at_once: int) -> list[str]:
    """Runs what is due; a sentence for each run that did not finish, the others going on.

    Errors: KeyboardInterrupt after an interrupt, when every run has saved and ended.
    """
    with progress_bar("updates") as advance:
        lines = StudyLines({run.name: run.profile.train.updates for run in due}, tell, advance)
        children = Children(at_once, lines.hear, lines.left)
        with stopping(children.stop):
            ends = children.run([child(run, at_once) for run in due])
    if children.stopped():
        raise KeyboardInterrupt
    return [
        f"{name} failed: {end.sentence or 'somebody stopped it; the same command goes on with it'}"
        for name, end in ends.items()
        if not end.finished
    ]


def child(run: Run, at_once: int) -> Child:
    """The process of a run, with its share of the cores."""
    threads = str(run.profile.device.threads or max(usable_cores() // at_once, 1))
    command = (sys.executable, "-m", "dlpo_tui.study_run", str(run.folder), threads)
    return Child(run.name, command, {"OMP_NUM_THREADS": threads}, partial(lay_ready, run))


def lay_ready(run: Run) -> None:
    """The folder of a run with its profile in it, unless there is one to go on with."""
    if place.stage(run) != "new":
        return
    if run.folder.exists():
        tell(f"{run.name}  ended before its first update, and begins anew")
        journal.discard(run.folder)
    with new_folder(run.folder) as folder:
        for name in ("samples", "checkpoints"):
            (folder / name).mkdir()
        text = tomli_w.dumps(journal.plain(run.profile))
        (folder / "profile.toml").write_text(text, encoding="utf-8")


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Inside, what would interrupt or end this process stops its runs in good order instead."""

    def handler(signum: int, frame: object) -> None:
        tell("stopping; each run saves where it is; once more to end at once")
        stop()

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
