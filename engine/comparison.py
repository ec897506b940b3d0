"""Two voices on the same prompts and the same noise: paired scores, how sure, and who wins.

Computes a table's content; knows neither how it is drawn nor where it is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from engine.checkpoint import Voice
from engine.diffusion.schedule import build
from engine.evaluation import Evaluation, better, evaluate, interval
from engine.messages import Column, Interval, Progressing
from engine.own_schedule import chain_length, schedule_for
from engine.profile import ScheduleSpec
from engine.rewards.base import ScoreModel, score_clips
from engine.significance import (
    EXACT,
    FLIPS,
    LEVEL,
    RESAMPLES,
    bootstrap,
    fewest_pairs,
    holm,
    sign_flip,
)
from engine.synthesis import utter


class ComparisonError(ValueError):
    """Two voices that cannot be compared as asked; one sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One score of both voices."""

    column: Column
    a: Interval | None
    b: Interval | None
    difference: Interval | None
    """Of B - A, over the prompts that both have a score for; by bootstrap."""
    student: Interval | None
    """The same difference with Student's interval."""
    wins: tuple[int, int, int] | None
    """Prompts where A is better, neither, B; None where no direction is better."""
    p_value: float | None
    """Of the sign-flip test of "no difference", by itself."""
    p_holm: float | None
    """The same, corrected for the number of scores in the table."""

    @property
    def significant(self) -> bool:
        """True where the corrected p is below LEVEL; few pairs never get there."""
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def verdict(self) -> Literal["A", "B", "differs", ""]:
        """Who is better; differs: no direction is better; empty: it could be chance."""
        if self.difference is None or not self.significant:
            return ""
        if self.column.higher_is_better is None:
            return "differs"
        return "B" if better(self.column) * self.difference.mean > 0 else "A"


@dataclass(frozen=True, slots=True)
class Side:
    """What one of the two voices did."""

    source: str
    schedule: ScheduleSpec
    timesteps: int
    seconds: tuple[float, ...]
    """Length of each prompt's clip."""
    done: Evaluation


@dataclass(frozen=True, slots=True)
class Comparison:
    a: Side
    b: Side
    speaker: str
    pace: float
    seed: int
    sample_rate: int
    texts: tuple[str, ...]
    rows: tuple[Row, ...]
    notices: tuple[str, ...]
    """What a reader of the table should know: unlike chains, clips without a score."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; None where a score does not exist."""
        sides = {
            name: {
                "source": side.source,
                "timesteps": side.timesteps,
                "schedule": asdict(side.schedule),
            }
            for name, side in (("a", self.a), ("b", self.b))
        }
        rows = [
            {
                **asdict(row),
                "wins": dict(zip(("a", "tie", "b"), row.wins, strict=True)) if row.wins else None,
                "significant": row.significant,
                "verdict": row.verdict,
            }
            for row in self.rows
        ]
        return {
            **sides,
            "speaker": self.speaker,
            "pace": self.pace,
            "seed": self.seed,
            "sample_rate": self.sample_rate,
            "statistics": statistics(),
            "scores": rows,
            "prompts": [
                {
                    "text": text,
                    "seconds": {"a": self.a.seconds[i], "b": self.b.seconds[i]},
                    "scores": {"a": self.scores("a", i), "b": self.scores("b", i)},
                }
                for i, text in enumerate(self.texts)
            ],
            "notices": list(self.notices),
        }

    def scores(self, side: Literal["a", "b"], prompt: int) -> dict[str, float | None]:
        """One clip's scores by column."""
        scores = (self.a if side == "a" else self.b).done.scores
        names, values = (c.name for c in scores.columns), scores.values[prompt].tolist()
        return {n: v if math.isfinite(v) else None for n, v in zip(names, values, strict=True)}


def compare(
    a: Voice,
    b: Voice,
    texts: Sequence[str],
    models: Sequence[ScoreModel],
    *,
    speaker: str = "",
    timesteps: int | None = None,
    pace: float = 1.0,
    seed: int = 0,
    microbatch: int = 4,
    advance: Progressing = lambda done, total, at: None,
) -> Comparison:
    """Speaks and scores every prompt with both voices; the noise is named by (seed, its place).

    Each voice follows the schedule in its card, with `timesteps` in place of its own if given.

    Errors: ComparisonError, CheckpointError or ProfileError, one sentence, where the two have
    no speaker or sample rate in common, or a schedule cannot be what is asked.
    """
    rate = common_rate(a, b)
    speaker = common_speaker(a, b, speaker)
    specs = [schedule_of(voice, timesteps) for voice in (a, b)]
    schedules = [build(spec) for spec in specs]
    chains = sum(schedule.timesteps for schedule in schedules)
    meter = Meter(len(texts) * (chains + 2 * len(models)), advance)
    sides = []
    for name, voice, spec, schedule in zip("AB", (a, b), specs, schedules, strict=True):
        meter.tell(0, f"{name} speaks")
        device = next(voice.model.parameters()).device
        prompts = utter(voice.model, texts, voice.speaker(speaker), pace)

        def spoke(done: int, total: int, name: str = name) -> None:
            meter.tell(len(texts), f"{name} speaks")

        judges = [Counted(model, meter, name) for model in models]
        done = evaluate(voice, schedule.to(device), prompts, judges, seed, microbatch, spoke)
        seconds = tuple(u.seconds(rate) for u in prompts)
        sides.append(Side(voice.source, spec, schedule.timesteps, seconds, done))
    return tabulate(sides[0], sides[1], speaker, pace, seed, rate, tuple(texts))


def scored(
    done: Comparison,
    models: Sequence[ScoreModel],
    advance: Progressing = lambda done, total, at: None,
) -> Comparison:
    """The comparison with its clips scored by these models, in place of the scores it has."""
    meter = Meter(2 * len(models) * len(done.texts), advance)
    lengths = [torch.tensor([len(wave) for wave in s.done.waves]) for s in (done.a, done.b)]
    sides = []
    for name, side, counts in zip("AB", (done.a, done.b), lengths, strict=True):
        judges = [Counted(model, meter, name) for model in models]
        padded = pad_sequence(list(side.done.waves), batch_first=True)
        scores = score_clips(judges, padded, counts, done.sample_rate, done.texts)
        sides.append(replace(side, done=Evaluation(side.done.waves, scores)))
    return tabulate(
        sides[0], sides[1], done.speaker, done.pace, done.seed, done.sample_rate, done.texts
    )


def tabulate(
    a: Side, b: Side, speaker: str, pace: float, seed: int, rate: int, texts: tuple[str, ...]
) -> Comparison:
    """The rows of the table, and the sentences under it."""
    rows = corrected([
        row(column, a.done.scores.values[:, at], b.done.scores.values[:, at])
        for at, column in enumerate(a.done.scores.columns)
    ])  # fmt: skip
    notices = [f"{name}: {why}" for name, s in zip("AB", (a, b), strict=True)
               for why in s.done.scores.failures]  # fmt: skip
    if a.timesteps != b.timesteps:
        notices.insert(
            0,
            f"A takes {a.timesteps} timesteps and B {b.timesteps}: the seed is the same, the "
            "noise of each timestep is not; --steps gives both one number",
        )
    pairs = [row.difference.count for row in rows if row.difference is not None]
    if pairs and max(pairs) < (fewest := fewest_pairs(len(pairs))):
        notices.append(
            f"{plural(max(pairs), 'prompt')} cannot tell the two apart: with "
            f"{plural(len(pairs), 'score')} it takes {fewest} for p to fall below {LEVEL:g}"
        )
    return Comparison(a, b, speaker, pace, seed, rate, texts, rows, tuple(notices))


def row(column: Column, a: Tensor, b: Tensor) -> Row:
    """Scores (N,) of one column by prompt -> means, paired difference, its test, and wins."""
    difference = (b - a)[(b - a).isfinite()]
    wins = None
    if column.higher_is_better is not None:
        gains = better(column) * difference
        wins = (int((gains < 0).sum()), int((gains == 0).sum()), int((gains > 0).sum()))
    student, resampled, p_value = interval(difference), None, None
    if student is not None:
        numbers = difference.double().cpu().numpy()
        resampled, p_value = bootstrap(numbers, student), sign_flip(numbers)
    return Row(column, interval(a), interval(b), resampled, student, wins, p_value, p_value)


def corrected(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows of one table with their p values corrected for one another."""
    tested = [row.p_value for row in rows if row.p_value is not None]
    adjusted = iter(holm(tested))
    return tuple(
        row if row.p_value is None else replace(row, p_holm=next(adjusted)) for row in rows
    )


def statistics() -> dict[str, Any]:
    """How the table's numbers are made, for whoever reads them as JSON."""
    return {
        "difference": f"mean of B - A; 95 % interval by bootstrap (BCa, {RESAMPLES} resamples of "
        "the prompts, as wide as Student's)",
        "student": "the same mean; Student's 95 % interval",
        "p_value": f"sign-flip test, two-sided: all flips up to {EXACT} pairs, else {FLIPS}",
        "p_holm": "p_value, corrected for the number of scores (Holm)",
        "significant": f"p_holm < {LEVEL:g}",
    }


def plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def common_rate(a: Voice, b: Voice) -> int:
    """Both voices' sample rate; two rates would take other noise and other ears."""
    one, other = (voice.card.config.sample_rate for voice in (a, b))
    if one != other:
        raise ComparisonError(
            f"{a.source} speaks at {one} Hz and {b.source} at {other} Hz, so the same noise "
            "cannot go through both; compare voices of one sample rate"
        )
    return one


def common_speaker(a: Voice, b: Voice, name: str) -> str:
    """The speaker asked for, else the first of A's whom B has too."""
    if name:
        for voice in (a, b):
            voice.speaker(name)
        return name
    for known in a.card.speakers:
        if known in b.card.speakers:
            return known
    one, other = (", ".join(voice.card.speakers) for voice in (a, b))
    raise ComparisonError(
        f"{a.source} ({one}) and {b.source} ({other}) have no speaker in common, so a difference "
        "would be one of speakers; compare voices that share one"
    )


def schedule_of(voice: Voice, timesteps: int | None) -> ScheduleSpec:
    """`schedule_for`, refused where the voice has no chain of so many timesteps."""
    spec = schedule_for(voice, timesteps)
    if timesteps not in (None, chain_length(spec)):
        raise ComparisonError(
            f"{voice.source} follows a schedule of kind {spec.kind}, whose timesteps are not "
            "free; leave --steps out"
        )
    return spec


class Meter:
    """Counts what is done, in clips and timesteps of clips, and tells it."""

    def __init__(self, total: int, advance: Progressing) -> None:
        self.done, self.total, self.advance = 0, total, advance

    def tell(self, more: int, at: str) -> None:
        # A batch that failed is scored again clip by clip: never past the end.
        self.done = min(self.done + more, self.total)
        self.advance(self.done, self.total, at)


class Counted:
    """A score model that tells a meter how many clips it has scored."""

    def __init__(self, model: ScoreModel, meter: Meter, who: str) -> None:
        self.model, self.meter, self.who = model, meter, who
        self.name, self.columns = model.name, model.columns
        self.sample_rate_hz, self.differentiable = model.sample_rate_hz, model.differentiable

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        at = f"{self.name} scores {self.who}"
        self.meter.tell(0, at)
        try:
            return self.model(waves, texts)
        finally:
            self.meter.tell(len(waves), at)
