"""From finished runs to the table: every voice scored, folded, written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.files import replacing
from engine.messages import Progressing
from engine.own_schedule import chain_length
from engine.rewards.base import ScoreModel
from engine.study import place, scores
from engine.study.ground import Ground
from engine.study.plan import Run, Study
from engine.study.scores import Card
from engine.study.table import Sheet, Table, fold, markdown

FAILURES_TOLD = 3
"""Of one voice; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the voices were scored on, and what they scored."""

    ground: Ground
    cards: Mapping[str, Card]
    """By voice: the starting voice's name, and the runs'."""
    runs: tuple[Run, ...]
    """Those that are finished."""
    lost: tuple[str, ...]
    """A sentence for each run that is finished, and whose end is not there."""


def judge(
    study: Study,
    base: Ground,
    models: Sequence[str],
    load: Callable[[str], ScoreModel],
    advance: Progressing = lambda done, total, at: None,
) -> Judged:
    """Scores the starting voice and the end of every finished run.

    Args:
        study: whose runs.
        base: what they are scored on.
        models: names of score models.
        load: makes one on the ground's device, when it is needed.
        advance: told what is done, and what is at work.

    Errors: CheckpointError, one sentence.
    """
    finished = [run for run in study.runs if place.stage(run) == "finished"]
    runs = tuple(run for run in finished if run.end.is_file())
    lost = tuple(
        f"{run.name} is finished, but {run.end} is not there; take the run's folder away, and it "
        "begins anew"
        for run in finished
        if run not in runs
    )
    return Judged(base, scores.score(study, base, runs, models, load, advance), runs, lost)


def tabulate(
    study: Study, done: Judged, about: Mapping[str, Any], notices: Sequence[str] = ()
) -> Table:
    """The table of what was scored; `about` and `notices` go before what it knows itself."""
    start = done.cards[study.base]
    methods: dict[str, dict[int, Sheet]] = {method.name: {} for method in study.trained}
    for run in done.runs:
        methods[run.method][run.seed] = scores.sheet(done.cards[run.name], run)
    columns = scores.columns_of(start)
    rows = fold(scores.sheet(start), methods, study.base, [column.name for column in columns])
    base = done.ground
    known = {
        "seeds": list(study.seeds),
        "speaker": base.speaker,
        "pace": base.pace,
        "noise_seed": base.seed,
        "timesteps": chain_length(base.schedule),
        "schedule": asdict(base.schedule),
        "prompts": [prompt.text for prompt in base.prompts],
        "recordings": list(base.recorded.ids) if base.recorded else [],
    }
    failures = [f"{name}: {why}" for name, card in done.cards.items() for why in failed(card)]
    every = (*notices, *done.lost, *base.notices, *failures)
    return Table(columns, rows, {**about, **known}, tuple(dict.fromkeys(every)))


def failed(card: Card) -> list[str]:
    """A voice's failed scores, the first of them in full."""
    told = list(dict.fromkeys(why for part in card.values() for why in part.failures))
    more = len(told) - FAILURES_TOLD
    return told[:FAILURES_TOLD] + ([f"and {more} more like it"] if more > 0 else [])


def write(study: Study, table: Table) -> None:
    """table.json and table.md in the study's folder, each whole."""
    with replacing(study.folder / "table.json") as path:
        path.write_text(json.dumps(table.plain(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    with replacing(study.folder / "table.md") as path:
        path.write_text(markdown(table), "utf-8")
