"""What each voice of a study scores: the same prompts, noise and recordings through all of them.

A voice's scores are kept in the study's folder, by score model and with what they were computed
from, so that nothing is computed twice and nothing stale is taken.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from engine import checkpoint, plain_json
from engine.checkpoint import Voice
from engine.comparison import Counted, Meter
from engine.diffusion.schedule import build
from engine.evaluation import evaluate
from engine.files import replacing
from engine.messages import Column, Progressing
from engine.resume import digest
from engine.rewards.base import ScoreModel
from engine.study import place
from engine.study.ground import Ground
from engine.study.plan import Run, Study
from engine.study.table import Sheet
from engine.supervised.conditioning import condition_all
from engine.supervised.held_out import judge_each
from engine.synthesis import utter

DIFFUSION = "diffusion_loss"
"""The column, and the part of a voice's scores, that recorded speech gives."""
DIFFUSION_COLUMN = Column(DIFFUSION, "L1", higher_is_better=False, low=0.0)


@dataclass(frozen=True, slots=True)
class Part:
    """What one score model, or the diffusion loss, gave for one voice."""

    identity: str
    columns: tuple[Column, ...]
    values: Mapping[str, tuple[float | None, ...]]
    """By column."""
    failures: tuple[str, ...] = ()


Card: TypeAlias = dict[str, Part]
"""A voice's parts by name."""


def score(
    study: Study,
    ground: Ground,
    runs: Sequence[Run],
    models: Sequence[str],
    load: Callable[[str], ScoreModel],
    advance: Progressing = lambda done, total, at: None,
) -> dict[str, Card]:
    """The parts of the starting voice, under its name, and of each finished run, under the run's.

    Args:
        study: whose folder keeps what was scored.
        ground: what on.
        runs: finished ones.
        models: names of score models.
        load: makes a score model, once, where one has something to do.
        advance: told how many clips and timesteps of clips are done.

    Errors: CheckpointError where a voice cannot be read.
    """
    voices = {study.base: ground.start} | {run.name: run.end for run in runs}
    parts = (*models, *([DIFFUSION] if ground.recorded else []))
    kept = {name: read(study.folder, name) for name in voices}
    due: dict[str, dict[str, str]] = {}
    for name, path in voices.items():
        weights = place.digest(path)
        wanted = {part: identity(ground, weights, part) for part in parts}
        due[name] = {
            part: told
            for part, told in wanted.items()
            if part not in kept[name] or kept[name][part].identity != told
        }
    scorer = Scorer(ground, load, Meter(work(ground, due), advance))
    for name, path in voices.items():
        if due[name]:
            kept[name] |= scorer.score(name, path, due[name])
            write(study.folder, name, kept[name])
    return {name: {part: card[part] for part in parts} for name, card in kept.items()}


def identity(ground: Ground, weights: str, part: str) -> str:
    """Names what a part of a voice's scores is computed from; `weights` names the voice's file."""
    if part == DIFFUSION:
        assert ground.recorded is not None
        return digest((weights, *ground.recorded.ids, repr(ground.recorded.speakers)))
    return digest((weights, ground.identity))


def work(ground: Ground, due: Mapping[str, Mapping[str, str]]) -> int:
    """Clips to score, and timesteps of clips to speak, of all that is due."""
    chain, prompts = build(ground.schedule).timesteps, len(ground.prompts)
    clips = len(ground.recorded.ids) if ground.recorded else 0
    total = 0
    for parts in due.values():
        models = len(parts) - (DIFFUSION in parts)
        total += prompts * (models + chain * bool(models)) + clips * (DIFFUSION in parts)
    return total


@dataclass(slots=True)
class Scorer:
    """Scores voice after voice; each score model is loaded once, when it is needed."""

    ground: Ground
    load: Callable[[str], ScoreModel]
    meter: Meter
    loaded: dict[str, ScoreModel] = field(default_factory=dict)

    def score(self, name: str, path: Path, due: Mapping[str, str]) -> Card:
        """The parts that are due of one voice, name -> identity."""
        voice = checkpoint.load(path, self.ground.device)
        card: Card = {}
        models = [part for part in due if part != DIFFUSION]
        if models:
            card |= self.speak(name, voice, {part: due[part] for part in models})
        if DIFFUSION in due:
            self.meter.tell(0, f"{name}: {DIFFUSION}")
            card[DIFFUSION] = Part(due[DIFFUSION], (DIFFUSION_COLUMN,), self.listen(voice))
            self.meter.tell(len(card[DIFFUSION].values[DIFFUSION]), f"{name}: {DIFFUSION}")
        return card

    def speak(self, name: str, voice: Voice, due: Mapping[str, str]) -> Card:
        """The prompts through the voice, and its clips through the score models."""
        ground, meter = self.ground, self.meter
        for part in due:
            if part not in self.loaded:
                meter.tell(0, f"loading {part}")
                self.loaded[part] = self.load(part)

        def spoke(done: int, total: int) -> None:
            meter.tell(len(prompts), f"{name} speaks")

        texts = [prompt.text for prompt in ground.prompts]
        prompts = utter(voice.model, texts, voice.speaker(ground.speaker), ground.pace)
        judges = [Counted(self.loaded[part], meter, name) for part in due]
        schedule = build(ground.schedule).to(ground.device)
        done = evaluate(voice, schedule, prompts, judges, ground.seed, ground.microbatch, spoke)
        card: Card = {}
        at = 0
        for part, judge in zip(due, judges, strict=True):
            width = len(judge.columns)
            told = done.scores.values[:, at : at + width].T.tolist()
            values = {c.name: numbers(v) for c, v in zip(judge.columns, told, strict=True)}
            # A clip that no model was asked about stands under each of them.
            failures = tuple(f for f in done.scores.failures if f.startswith((part, "Clip ")))
            card[part] = Part(due[part], judge.columns, values, failures)
            at += width
        return card

    def listen(self, voice: Voice) -> dict[str, tuple[float | None, ...]]:
        """The voice's own training loss on each recording."""
        assert self.ground.recorded is not None
        data = self.ground.recorded.data
        cond = condition_all(voice.model, data)
        width = voice.card.config.window_frames
        return {DIFFUSION: numbers(judge_each(voice.model.decoder, cond, data, width))}


def numbers(values: Sequence[float]) -> tuple[float | None, ...]:
    """None for what is not finite."""
    return tuple(value if math.isfinite(value) else None for value in values)


# --- on disk --------------------------------------------------------------------


def file_of(folder: Path, name: str) -> Path:
    return folder / "scores" / f"{name}.json"


def read(folder: Path, name: str) -> Card:
    """What is kept of a voice's scores; empty where there is nothing, or nothing to be read."""
    try:
        told = plain_json.parse(file_of(folder, name).read_bytes())
        return {part: revive(row) for part, row in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def revive(row: Mapping[str, Any]) -> Part:
    columns = tuple(Column(**column) for column in row["columns"])
    values = {column.name: tuple(row["values"][column.name]) for column in columns}
    return Part(row["identity"], columns, values, tuple(row["failures"]))


def write(folder: Path, name: str, card: Card) -> None:
    told = {part: asdict(found) for part, found in card.items()}
    with replacing(file_of(folder, name)) as path:
        path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


# --- to the table ---------------------------------------------------------------


def sheet(card: Card, run: Run | None = None) -> Sheet:
    """A voice's scores as the table takes them, with what its run cost."""
    scores = {name: values for part in card.values() for name, values in part.values.items()}
    return Sheet(scores) if run is None else Sheet(scores, *place.cost(run))


def columns_of(card: Card) -> tuple[Column, ...]:
    return tuple(column for part in card.values() for column in part.columns)
