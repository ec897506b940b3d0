"""`dlpo-tui compare`: the same prompts and noise through two voices."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlpo_tui.console import one_sentence, progress_bar, tell
from dlpo_tui.formats import MISSING, column_decimals, score, squeezed

if TYPE_CHECKING:
    from engine.comparison import Comparison, Row, Side
    from engine.rewards.base import ScoreModel

DEFAULT_MODELS = ("distillmos", "intelligibility", "loudness")
WIDE = 80
"""Columns from which the interval is written out and who is better is said."""
LOOK = {"B": "green", "A": "red", "differs": "yellow", "": ""}
"""Colour of a difference, by what it says."""
SAID = {"B": "B better", "A": "A better", "differs": "differs", "": ""}


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A safetensors voice, or: bundled.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
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
    report: Annotated[Path | None, typer.Option(help="New folder: scores, clips, a page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare two voices: scores with intervals, prompt by prompt."""
    with one_sentence():
        from engine import checkpoint, comparison
        from engine.assembly import prompt_texts
        from engine.device import choose_device
        from engine.profile import DeviceSpec
        from engine.report import new_folder, write

        texts = prompt_texts(prompts, 1, "", [])[:most]
        with new_folder(report) if report else nullcontext() as folder:
            device = choose_device(DeviceSpec())
            one, other = (checkpoint.load(path, device) for path in (a, b))
            comparison.common_rate(one, other)  # before models are loaded for nothing
            comparison.common_speaker(one, other, speaker)
            judges = load_models(models, str(device))
            with progress_bar("comparing") as advance:
                done = comparison.compare(
                    one, other, texts, judges, speaker=speaker, timesteps=steps, pace=pace,
                    seed=seed, advance=advance,
                )  # fmt: skip
            if folder is not None:
                write(folder, done)
        for notice in done.notices:
            tell(notice)
        if as_json:
            typer.echo(json.dumps(done.plain(), ensure_ascii=False))
        else:
            draw(done, Console(highlight=False))
        if report is not None:
            tell(f"report {report / 'index.md'}")


def load_models(names: list[str], device: str) -> list[ScoreModel]:
    """The score models asked for; of the default ones those that can be had, and a line if not."""
    from engine.rewards import registry

    wanted = [name.strip() for told in names for name in told.split(",") if name.strip()]
    found = dict.fromkeys(registry.model_of(name) for name in wanted or DEFAULT_MODELS)
    for name in tuple(found):
        why = registry.missing(name)
        if why and wanted:
            raise ValueError(why)
        if why:
            tell(f"left out: {why}")
            del found[name]
    return [registry.load(name, device) for name in found]


def draw(done: Comparison, console: Console) -> None:
    """The two voices, the table, and what its marks mean; fits 60 columns."""
    width = console.width
    for name, side in (("A", done.a), ("B", done.b)):
        console.print(named(name, side, width), no_wrap=True)
    said = f"{len(done.texts)} prompts, speaker {done.speaker}, seed {done.seed}"
    console.print(Text(said if done.pace == 1.0 else f"{said}, pace {done.pace:g}", "dim"))
    console.print()
    console.print(table(done, width >= WIDE))
    console.print()
    mark = "better, differs" if width >= WIDE else "*"
    console.print(Text(f"{mark}: the 95 % interval of B - A leaves out 0", "dim"))


def named(name: str, side: Side, width: int) -> Text:
    """A voice on one line, its path squeezed to the width."""
    tail = f"  {side.timesteps} timesteps"
    source = squeezed(side.source, max(width - len(tail) - 3, 12))
    return Text.assemble((name, "bold"), "  ", source, (tail, "dim"))


def table(done: Comparison, wide: bool) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    grid.add_column("score", no_wrap=True)
    grid.add_column("good", no_wrap=True)
    headers = ("A", "B", "B - A", "95 %") if wide else ("A", "B", "B - A, 95 %")
    for header in (*headers, "A:B wins" if wide else "wins"):
        grid.add_column(header, justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    for row in done.rows:
        grid.add_row(*cells(row, wide))
    return grid


def cells(row: Row, wide: bool) -> list[Text]:
    """One score: its direction, both means, the paired difference, who wins how many prompts."""
    decimals = min(column_decimals(row.column) + 1, 3)
    direction = {True: "high", False: "low", None: MISSING}[row.column.higher_is_better]
    means = [score(v.mean if v else None, decimals) for v in (row.a, row.b)]
    mark = SAID[row.verdict] if wide else "*" * row.significant
    return [
        Text(row.column.name),
        Text(direction, "dim"),
        *map(Text, means),
        *difference(row, decimals, wide),
        Text(f"{row.wins[0]}:{row.wins[2]}" if row.wins else MISSING),
        Text(mark, LOOK[row.verdict]),
    ]


def difference(row: Row, decimals: int, wide: bool) -> list[Text]:
    """The paired difference and its interval, one cell or two."""
    d, look = row.difference, LOOK[row.verdict]
    if d is None:
        return [Text(MISSING)] * (2 if wide else 1)
    mean = f"{d.mean:+.{decimals}f}"
    if not wide:
        return [Text(f"{mean} ±{(d.high - d.low) / 2:.{decimals}f}", look)]
    span = f"{d.low:+.{decimals}f} to {d.high:+.{decimals}f}"
    return [Text(mean, look), Text(span, look)]
