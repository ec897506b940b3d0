"""`dlpo-tui fetch`: the weights of a score model, which a session never downloads itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui.console import err, one_sentence, tell


def fetch(
    model: Annotated[str, typer.Argument(help="nisqa, utmos or whisper.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="One you have already: checked, then kept."),
    ] = None,
) -> None:
    """Fetch the weights of a score model that are a file of their own, once."""
    with one_sentence():
        from engine.rewards import fetching, registry

        fetching.check_fetchable(model)
        tell(fetching.LICENCES[model])
        with bytes_bar(f"fetching {model}") as advance:
            path = fetching.fetch(model, source, advance)
        if why := registry.missing(model):
            raise ValueError(why)
        tell(f"weights {path}")


@contextmanager
def bytes_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; yields what to call with (bytes done, bytes in all)."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn())  # fmt: skip
    hidden = not err.is_terminal  # in a log the bar would be nothing but an empty line
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
