"""`dlpo-tui study`: several methods from one voice, each with several seeds, to one table."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlpo_tui import completion
from dlpo_tui.console import Exit, err, one_sentence, progress_bar, tell
from engine import plain_json
from engine.visible import lines

if TYPE_CHECKING:
    from engine.messages import Progressing
    from engine.study.plan import Method
    from engine.study.table import Table

MODELS = ("utmos", "distillmos", "nisqa", "dnsmos", "intelligibility", "loudness")
"""Who scores where nobody else is asked for: rewards and judges alike, those that can be had."""


def study(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="PROFILE...",
            help="A profile for each method, or a folder of them, such as profiles/paper.",
            autocompletion=completion.profile,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The study's folder; one that is there is gone on with.")
    ],
    seeds: Annotated[
        str, typer.Option(help="Runs of each method: a seed for each, with commas.")
    ] = "0,1,2",
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="[METHOD:]KEY=VALUE",
            help="Change one key of every profile, or of one method's.",
        ),
    ] = [],  # noqa: B006 (typer reads the default, nobody writes it)
    jobs: Annotated[
        int, typer.Option(help="Runs at a time; they share the CPU's cores.", min=1, max=64)
    ] = 1,
    prompts: Annotated[
        int | None,
        typer.Option(
            help="Held-out prompts to score; the profiles' evaluation.prompts if left out.", min=1
        ),
    ] = None,
    recordings: Annotated[
        list[Path],
        typer.Option(
            help="A prepared corpus, once for each: the diffusion loss on held-out clips."
        ),
    ] = [],  # noqa: B006
    models: Annotated[
        list[str],
        typer.Option(help=f"A score model, once for each; if left out: {', '.join(MODELS)}."),
    ] = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON on stdout.")] = False,
) -> None:
    """Compare methods: train each from the same voice with several seeds, score, write a table."""
    with one_sentence():
        asked = Asked(
            tuple(sources), out, seeds, tuple(changes), jobs, prompts, tuple(recordings),
            tuple(models),
        )  # fmt: skip
        try:
            table, failed = carry_out(asked)
        except KeyboardInterrupt:
            tell(f"go on  {asked.command}")
            raise
        show(table, as_json)
        tell(f"table  {out / 'table.md'}")
    raise typer.Exit(Exit.FAILED if failed else Exit.DONE)


def show(table: Table, as_json: bool) -> None:
    """The table on stdout, as JSON or as it stands in table.md."""
    from engine.study.table import markdown

    typer.echo(plain_json.line(table.plain()) if as_json else lines(markdown(table)))


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as it was typed."""

    sources: tuple[Path, ...]
    out: Path
    seeds: str
    changes: tuple[str, ...]
    jobs: int
    prompts: int | None
    recordings: tuple[Path, ...]
    models: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line that does it again."""
        options: list[tuple[str, object]] = [("--out", self.out), ("--seeds", self.seeds)]
        options += [("--set", change) for change in self.changes]
        options += [("--jobs", self.jobs)] if self.jobs != 1 else []
        options += [("--prompts", self.prompts)] if self.prompts else []
        options += [("--recordings", folder) for folder in self.recordings]
        options += [("--models", name) for name in self.models]
        words = [*self.sources, *(word for option in options for word in option)]
        return shlex.join(["dlpo-tui", "study", *map(str, words)])


def carry_out(asked: Asked) -> tuple[Table, bool]:
    """Checks all that can be known, runs, scores, writes; the table, and whether a run failed."""
    tell("looking for what the profiles name")
    from engine.data import open_corpora
    from engine.study import place, plan

    methods = plan.load_methods(asked.sources, asked.changes)
    study = plan.Study(asked.out, methods, plan.parse_seeds(asked.seeds))
    begins = {method.name: place.beginning(method.profile) for method in methods}
    place.check(study, begins)
    corpus = open_corpora(asked.recordings) if asked.recordings else None
    models, absent = score_models(asked.models, methods)

    from dlpo_tui.study_training import train
    from engine.rewards import registry
    from engine.study import ground, judging

    base = ground.prepare(study, asked.prompts, corpus)
    with place.locked(study.folder):
        due = [run for run in study.runs if place.stage(run) != "finished"]
        if len(due) < len(study.runs):
            tell(f"{len(study.runs) - len(due)} of {len(study.runs)} runs are finished already")
        here = [place.machine(asked.jobs)] if due else []
        told = place.record(study, begins, here)
        failed = train(due, asked.jobs) if due else []
        with scoring() as advance:
            done = judging.judge(
                study, base, models, lambda name: registry.load(name, base.device), advance
            )
        about = {
            "command": asked.command,
            "machines": told["machines"],
            "reward": {name: told["methods"][name]["begins_with"]["reward"] for name in begins},
        }
        table = judging.tabulate(study, done, about, [*failed, *absent])
        judging.write(study, table)
    return table, bool(failed or done.lost)


def score_models(names: Sequence[str], methods: Sequence[Method]) -> tuple[list[str], list[str]]:
    """Who scores: those asked for, or the rewards and MODELS; a sentence for each left out.

    Errors: ValueError, one sentence, for one that is asked for and cannot be had.
    """
    from engine.assembly import choose_rewards
    from engine.rewards import registry

    wanted = [name.strip() for told in names for name in told.split(",") if name.strip()]
    rewards = [name for method in methods for name in choose_rewards(method.profile).weights]
    found = dict.fromkeys(registry.model_of(name) for name in wanted or (*rewards, *MODELS))
    whys = {name: registry.missing(name) for name in found}
    absent = [f"left out: {why}" for why in whys.values() if why]
    if absent and wanted:
        raise ValueError(next(why for why in whys.values() if why))
    for told in absent:
        tell(told)
    return [name for name, why in whys.items() if not why], absent


@contextmanager
def scoring() -> Iterator[Progressing]:
    """A bar on a terminal; in a log, a line for whatever comes to be at work, once."""
    told: set[str] = set()
    with progress_bar("scoring") as bar:

        def advance(done: int, total: int, what: str) -> None:
            if what not in told and not err.is_terminal:
                tell(f"scoring {100 * done // max(total, 1):3d} %  {what}")
            told.add(what)
            bar(done, total, what)

        yield advance
