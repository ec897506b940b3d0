"""What every command shares: one line on stderr, exit codes, errors in one sentence, progress."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import rich.console
import typer
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from engine.visible import lines, visible

if TYPE_CHECKING:
    from engine.messages import Progressing


class Console(rich.console.Console):
    """rich's, of which a terminal gets no control character but those of rich's own styles.

    All that is printed passes through `render`: lines, tables, bars, whatever foreign text is in
    them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(lines(text), style)


LONGEST = 2000
"""Characters of an error."""
err = Console(stderr=True)


def tell(text: str) -> None:
    """One line on stderr; never markup, never wrapped (a path stays one word to copy)."""
    err.print(text, markup=False, soft_wrap=True)


class Exit(enum.IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """Bad input ends in one sentence on stderr and exit code 2; an interrupt in 130."""
    try:
        yield
    except KeyboardInterrupt:
        tell("interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except ValueError as error:  # every error of ours about input is one
        tell(sentence(str(error)))
        raise typer.Exit(Exit.USAGE) from None
    except OSError as error:
        from engine.files import told

        tell(sentence(told(error)))
        raise typer.Exit(Exit.USAGE) from None


def sentence(words: str) -> str:
    """An error as the one line that is told of it; one that repeats a file without end is cut."""
    return visible(f"dlpo-tui: {words if len(words) <= LONGEST else words[:LONGEST] + ' ...'}")


Changes = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the profile.")
]


@contextmanager
def progress_bar(what: str) -> Iterator[Progressing]:
    """A bar on stderr; yields what to call with (done, total, name)."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn(), TextColumn("{task.fields[at]}", markup=False))  # fmt: skip
    hidden = not err.is_terminal  # in a log the bar would be nothing but an empty line
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None, at="")
        yield lambda done, total, at: bar.update(task, completed=done, total=total, at=at)
