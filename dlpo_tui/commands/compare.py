"""`dlpo-tui compare`: the same prompts and noise through two voices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dlpo_tui import completion
from dlpo_tui.console import Console, Exit, one_sentence, progress_bar, tell
from dlpo_tui.formats import MISSING, column_decimals, score, squeezed
from dlpo_tui.voice_files import require_file, resolved
from engine import plain_json

if TYPE_CHECKING:
    from engine.comparison import Comparison, Row, Side
    from engine.messages import Progressing
    from engine.preference import Preference
    from engine.rewards.base import ScoreModel

DEFAULT_MODELS = ("distillmos", "intelligibility", "loudness")
LOOK = {"B": "green", "A": "red", "differs": "yellow", "": ""}
"""Colour of a difference, by what it says."""
UNBOUND = 1000
"""Columns in which a table is measured."""
SAID = {"B": "B better", "A": "A better", "differs": "differs", "": ""}
MARKS = {"B": "B", "A": "A", "differs": "≠", "": ""}


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A voice: safetensors, a run (its newest checkpoint), RUN@NAME, or: bundled.",
            autocompletion=completion.run,
        ),
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="The other one.", autocompletion=completion.run)
    ],
    prompts: Annotated[
        str, typer.Option(help="Sentences: a file, a metadata.csv, a prepared corpus, or: bundled.")
    ] = "bundled",
    most: Annotated[int, typer.Option(help="At most so many prompts.", min=1)] = 16,
    speaker: Annotated[str, typer.Option(help="Name; the first that both have if left out.")] = "",
    steps: Annotated[
        int | None,
        typer.Option(help="Denoising timesteps; each voice's own if left out.", min=1, max=1000),
    ] = None,
    pace: Annotated[float, typer.Option(help="Above 1 is slower.", min=0.25, max=4.0)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 1234,
    models: Annotated[
        list[str],
        typer.Option(
            help=f"A score model, once for each; if left out: {', '.join(DEFAULT_MODELS)}."
        ),
    ] = [],  # noqa: B006 (typer reads the default, nobody writes it)
    report: Annotated[
        Path | None, typer.Option(help="New folder: scores, clips, a summary.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="One HTML page, clips within it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    blind: Annotated[
        bool, typer.Option("--blind", help="First hear them in pairs on a screen, and choose.")
    ] = False,
    order: Annotated[
        int | None, typer.Option(help="Seed of the pairs' order; another each time if left out.")
    ] = None,
) -> None:
    """Compare two voices: scores with intervals, prompt by prompt; with --blind, by ear first."""
    with one_sentence():
        if blind and not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ValueError("--blind needs a terminal: there is nobody here to listen")
        a, b = resolved(a), resolved(b)
        asked = Asked(a, b, prompts, most, speaker, steps, pace, seed, tuple(models))
        heard, why = None, ""
        if blind:
            from dlpo_tui.commands.blind import listen_blind, pairs_file

            for source in (a, b):
                require_file(source)
            for why in chosen_models(asked.models)[1]:
                tell(f"left out: {why}")
        with place(report, page) as folder:
            if blind:
                done, heard, why = listen_blind(asked, order, pairs_file(a, b, report, page))
            else:
                with progress_bar("comparing") as advance:
                    done = asked.compare(advance)
            if folder is not None:
                from engine.report import write

                write(folder, done, heard)
        show(done, heard, as_json)
        if report is not None:
            tell(f"report {report / 'index.md'}")
        if page is not None:
            write_page(page, done, heard)
    if why:
        tell(f"dlpo-tui: the screen failed, the answers before are kept; {why}")
        raise typer.Exit(Exit.FAILED)


def show(done: Comparison, heard: Preference | None, as_json: bool) -> None:
    """One JSON object, or the preference and the table; what to know beside them on stderr."""
    for notice in done.notices:
        tell(notice)
    if as_json:
        told = done.plain() | ({"listening": heard.plain(done.texts)} if heard else {})
        typer.echo(plain_json.line(told))
        return
    console = Console()
    if heard is not None:
        draw_preference(heard, console)
    draw(done, console)


def place(report: Path | None, page: Path | None) -> AbstractContextManager[Path | None]:
    """The report's folder, or none; refused before the work where it or the page cannot be."""
    if page is not None:
        from engine.files import check_target

        if page.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{page} must end in .html")
        check_target(page)
    if report is None:
        return nullcontext()
    from engine.report import new_folder

    return new_folder(report)


def write_page(path: Path, done: Comparison, heard: Preference | None) -> None:
    """The page, and how large it is."""
    from engine import comparison_page

    silent = comparison_page.write(path, done, heard)
    left = f"; {silent} of {len(done.texts)} prompts without sound" if silent else ""
    tell(f"page {path} ({path.stat().st_size / 1e6:.1f} MB{left})")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be compared, as it was asked for."""

    a: str
    b: str
    prompts: str
    most: int
    speaker: str
    steps: int | None
    pace: float
    seed: int
    models: tuple[str, ...]

    def compare(self, advance: Progressing, scored: bool = True) -> Comparison:
        """Both voices say every prompt, and are scored where `scored`."""
        from engine import checkpoint, comparison
        from engine.assembly import prompt_texts
        from engine.device import choose_device
        from engine.profile import DeviceSpec

        texts = prompt_texts(self.prompts, 1, "", [])[: self.most]
        device = choose_device(DeviceSpec())
        one, other = (checkpoint.load(path, device) for path in (self.a, self.b))
        comparison.common_rate(one, other)  # before models are loaded for nothing
        comparison.common_speaker(one, other, self.speaker)
        judges = load_models(list(self.models), str(device)) if scored else []
        return comparison.compare(
            one, other, texts, judges, speaker=self.speaker, timesteps=self.steps,
            pace=self.pace, seed=self.seed, advance=advance,
        )  # fmt: skip

    def judge(self, spoken: Comparison, advance: Progressing) -> Comparison:
        """What was spoken, with its scores."""
        from engine import comparison
        from engine.device import choose_device
        from engine.profile import DeviceSpec
        from engine.rewards import registry

        device = choose_device(DeviceSpec())
        names, _ = chosen_models(self.models)
        return comparison.scored(spoken, [registry.load(n, device) for n in names], advance)


def chosen_models(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The score models asked for, of the default ones those that there are; why others are not.

    Errors: ValueError, one sentence, for one that is asked for and cannot be had.
    """
    from engine.rewards import registry

    wanted = [name.strip() for told in names for name in told.split(",") if name.strip()]
    found = dict.fromkeys(registry.model_of(name) for name in wanted or DEFAULT_MODELS)
    whys = {name: registry.missing(name) for name in found}
    missing = [why for why in whys.values() if why]
    if missing and wanted:
        raise ValueError(missing[0])
    return [name for name, why in whys.items() if not why], missing


def load_models(names: list[str], device: str) -> list[ScoreModel]:
    """The score models asked for; of the default ones those that can be had, and a line if not."""
    from engine.rewards import registry

    chosen, missing = chosen_models(names)
    for why in missing:
        tell(f"left out: {why}")
    return [registry.load(name, device) for name in chosen]


def draw_preference(heard: Preference, console: Console) -> None:
    """What was preferred, how sure, and what is still needed; fits 60 columns."""
    early = "" if len(heard.answers) == len(heard.trials) else f" of {len(heard.trials)}"
    console.print(Text(f"blind  {len(heard.answers)}{early} pairs", "bold"), end="")
    console.print(Text("  which was X was drawn for each", "dim"))
    for line in filter(None, heard.lines()):
        console.print(line)
    if heard.decided:
        console.print(Text("exact binomial interval; exact two-sided sign test", "dim"))
    console.print()


def draw(done: Comparison, console: Console) -> None:
    """The two voices, the table, and what its marks mean; fits 60 columns."""
    width = console.width
    for name, side in (("A", done.a), ("B", done.b)):
        console.print(named(name, side, width), no_wrap=True)
    said = f"{len(done.texts)} prompts, speaker {done.speaker}, seed {done.seed}"
    console.print(Text(said if done.pace == 1.0 else f"{said}, pace {done.pace:g}", "dim"))
    console.print()
    grids = [table(done, layout) for layout in LAYOUTS]
    free = console.options.update(max_width=UNBOUND)
    fitting = (grid for grid in grids if Measurement.get(console, free, grid).maximum <= width)
    console.print(next(fitting, grids[-1]))
    console.print()
    for line in footnotes(done):
        console.print(Text(line, "dim"))


def named(name: str, side: Side, width: int) -> Text:
    """A voice on one line, its path squeezed to the width."""
    tail = f"  {side.timesteps} timesteps"
    source = squeezed(side.source, max(width - len(tail) - 3, 12))
    return Text.assemble((name, "bold"), "  ", source, (tail, "dim"))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table has room for."""

    direction: bool
    means: bool
    wins: bool
    said: bool
    """Who is better in words, not by a letter."""
    coarser: int = 0
    """Decimals fewer."""


LAYOUTS = (
    Layout(direction=True, means=True, wins=True, said=True),
    Layout(direction=True, means=True, wins=True, said=False),
    Layout(direction=False, means=True, wins=False, said=False, coarser=1),
    Layout(direction=False, means=False, wins=False, said=False, coarser=1),
)
"""From the widest on; the first that fits is taken."""


def table(done: Comparison, layout: Layout) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column("score", no_wrap=True)
    if layout.direction:
        grid.add_column("good", no_wrap=True)
    means, wins = ("A", "B") * layout.means, ("A:B wins",) * layout.wins
    for header in (*means, "B - A", "95 %", "p", *wins):
        grid.add_column(header, justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    for row in done.rows:
        grid.add_row(*cells(row, layout))
    return grid


def cells(row: Row, layout: Layout) -> list[Text]:
    """One score: direction, both means, the paired difference and its test, prompts won."""
    decimals = min(column_decimals(row.column) + 1, 3) - layout.coarser
    direction = {True: "high", False: "low", None: MISSING}[row.column.higher_is_better]
    means = [score(v.mean if v else None, decimals) for v in (row.a, row.b)]
    wins = f"{row.wins[0]}:{row.wins[2]}" if row.wins else MISSING
    mark = SAID[row.verdict] if layout.said else MARKS[row.verdict]
    return [
        Text(row.column.name),
        *[Text(direction, "dim")] * layout.direction,
        *map(Text, means * layout.means),
        *difference(row, decimals),
        Text(p_value(row.p_holm)),
        *[Text(wins)] * layout.wins,
        Text(mark, LOOK[row.verdict]),
    ]


def difference(row: Row, decimals: int) -> list[Text]:
    """The paired difference and its interval."""
    d, look = row.difference, LOOK[row.verdict]
    if d is None:
        return [Text(MISSING)] * 2
    span = f"{d.low:+.{decimals}f} to {d.high:+.{decimals}f}"
    return [Text(f"{d.mean:+.{decimals}f}", look), Text(span, look)]


def p_value(p: float | None) -> str:
    if p is None:
        return MISSING
    return "<.001" if p < 0.001 else f"{p:.3f}"


def footnotes(done: Comparison) -> list[str]:
    """How the table's numbers were made; each fits 60 columns."""
    tests = sum(row.p_value is not None for row in done.rows)
    if not tests:
        return []
    holm = f", Holm over {tests} scores" if tests > 1 else ""
    return [
        "95 %: bootstrap over the prompts (BCa)",
        f"p: sign-flip test{holm}; marked below 0.05",
    ]
