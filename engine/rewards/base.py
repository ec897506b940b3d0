"""What a score model is, how clips are scored, and how scores become one reward.

A model sees whole clips of one length, never padding, since padding moves its scores. What
fails is NaN and has a sentence; no failure is ever turned into a number.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from engine import audio
from engine.distributed import Ranks
from engine.memory import out_of_memory
from engine.messages import Column
from engine.rewards.ensemble import Ensemble
from engine.rewards.patience import Patience, TooSlow
from engine.rewards.registry import unknown_name
from engine.types import RewardBatch


class ScoreError(ValueError):
    """A clip that a model cannot score; its message ends a sentence that names the model."""


class ScoreModel(Protocol):
    """Scores clips, one value a column; frozen, in eval mode, deterministic."""

    @property
    def name(self) -> str: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...
    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def differentiable(self) -> bool:
        """Whether a call under grad mode carries a gradient to the waves."""

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        """Returns (B, len(columns)) for waves (B, S) at `sample_rate_hz`, all rows S long.

        Raises:
            ScoreError: a row cannot be scored.
        """


@dataclass(frozen=True, slots=True)
class Scores:
    columns: tuple[Column, ...]
    """R columns."""
    values: Tensor
    """(B, R) fp32, each in its column's unit; NaN where the model failed."""
    failures: tuple[str, ...]
    """One sentence for each clip that a model failed on, or for a model that failed on all."""


@dataclass(frozen=True, slots=True)
class Share:
    """Where clips stand in the batch that they are a part of."""

    first: int
    """Place of their first."""
    of: int
    """Clips in the batch."""


def everyones(scores: Scores, ranks: Ranks) -> Scores:
    """The scores of every rank's share, (b, R) -> (B, R), on every rank."""
    failures = [sentence for own in ranks.gather(scores.failures) for sentence in own]
    return Scores(scores.columns, ranks.rows(scores.values), tuple(failures))


@torch.no_grad()
def score_clips(
    models: Sequence[ScoreModel],
    waveform: Tensor,
    lengths: Tensor,
    hz: int,
    texts: Sequence[str],
    patience: Patience | None = None,
    share: Share | None = None,
) -> Scores:
    """Scores each clip without its padding; values on the waveform's device.

    Clips of one length go through a model together, resampled once for each rate. A model
    that raises, or takes too long, is tried again clip by clip, so that one bad clip fails alone.

    Args:
        models: R columns between them, no column twice.
        waveform: (B, S) in about [-1, 1]; what lies behind a row's length is never read.
        lengths: (B,) int64 audio samples of each row; 0 is a failed row.
        hz: of the waveform.
        texts: B sentences, what the clips should say.
        patience: how long a model is waited for; None: however long.
        share: which clips of a larger batch these are, for what is told of failures.

    Raises:
        ValueError: the arguments do not fit one another.
        MemoryError, torch.OutOfMemoryError: not even one clip found room.
    """
    patience = patience or Patience()
    _check_arguments(models, waveform, lengths, texts)
    counts = [int(n) for n in lengths]
    log = _FailureLog(len(counts), share or Share(0, len(counts)))
    groups: dict[int, list[int]] = defaultdict(list)
    for row, count in enumerate(counts):
        if count == 0:
            log.clip(row, "it is empty")
        elif not bool(torch.isfinite(waveform[row, :count]).all()):
            log.clip(row, "it holds audio samples that are not finite")
        else:
            groups[count].append(row)
    columns = tuple(column for model in models for column in model.columns)
    values = torch.full((len(counts), len(columns)), math.nan, device=waveform.device)
    for count, rows in groups.items():
        clips = waveform[rows, :count].float()
        at_rate: dict[int, Tensor] = {}
        start = 0
        for model in models:
            rate, stop = model.sample_rate_hz, start + len(model.columns)
            if rate not in at_rate:
                at_rate[rate] = audio.resample(clips, hz, rate)
            spoken = tuple(texts[row] for row in rows)
            asked = _Asked(model, patience, log)
            values[rows, start:stop] = asked(at_rate[rate], spoken, rows).to(values)
            start = stop
    return Scores(columns, values, log.sentences())


def reward(
    scores: Scores, weights: Mapping[str, float], ensemble: Ensemble | None = None
) -> RewardBatch:
    """total_b = sum over the named columns of weight * score_b, or what the ensemble makes of them.

    A clip that lacks a named column is invalid. A column where lower is better takes a negative
    weight. Columns without a weight, or of weight 0, are carried along and invalidate nothing.

    Raises:
        ValueError: an unknown column, a weight that is not finite or points the wrong way, or
            nothing to reward.
    """
    names = tuple(column.name for column in scores.columns)
    for name, weight in weights.items():
        if name not in names:
            raise unknown_name("score column", name, names)
        _check_weight(scores.columns[names.index(name)], weight)
    used = {names.index(name): weight for name, weight in weights.items() if weight != 0.0}
    if not used:
        raise ValueError("A reward needs at least one score column with a weight other than 0.")
    needed, factors = scores.values[:, list(used)], list(used.values())
    if ensemble is None:
        total = needed @ needed.new_tensor(factors)
    else:
        total = ensemble.total([names[at] for at in used], needed, factors)
    return RewardBatch(names, scores.values, total, torch.isfinite(needed).all(-1), scores.failures)


def check_gradients(models: Sequence[ScoreModel], weights: Mapping[str, float]) -> None:
    """ValueError, one sentence, where a score of weight other than 0 has no gradient."""
    weighed = [m for m in models if any(weights.get(c.name) for c in m.columns)]
    if without := [m.name for m in weighed if not m.differentiable]:
        able = [m.name for m in weighed if m.differentiable] or ["distillmos", "utmos"]
        raise ValueError(
            f"draft follows the gradient of the reward, and {', '.join(without)} has none: reward "
            f"{' or '.join(able)} alone, or choose another train.algorithm"
        )


def reward_with_gradient(
    models: Sequence[ScoreModel],
    weights: Mapping[str, float],
    clips: Sequence[Tensor],
    hz: int,
    texts: Sequence[str],
) -> Tensor:
    """The weighted sum of B clips' scores, (B,), with a gradient to the clips; by `reward`'s sum.

    Args:
        models: all differentiable where their columns have a weight.
        weights: score column -> weight.
        clips: B of (S_b,), at most 1 in size.
        hz: of the clips.
        texts: B sentences.

    A clip that a model cannot score is NaN, and has no gradient.
    """
    used = [m for m in models if any(weights.get(c.name) for c in m.columns)]
    totals = []
    for clip, text in zip(clips, texts, strict=True):
        try:
            parts = []
            for model in used:
                wave = audio.resample(clip[None].float(), hz, model.sample_rate_hz)
                factors = [weights.get(c.name, 0.0) for c in model.columns]
                scores = model(wave, (text,))[0]
                parts.append(scores @ scores.new_tensor(factors))
            totals.append(torch.stack(parts).sum().to(clip.device))
        except ScoreError:
            totals.append(clip.new_full((), math.nan))
    return torch.stack(totals)


def _check_weight(column: Column, weight: float) -> None:
    if not math.isfinite(weight):
        raise ValueError(f"The weight of {column.name} must be a finite number, not {weight}.")
    if column.higher_is_better is False and weight > 0.0:
        raise ValueError(
            f"{column.name} is better when it is lower: its weight must be negative, not {weight}."
        )
    if column.higher_is_better is True and weight < 0.0:
        raise ValueError(
            f"{column.name} is better when it is higher: its weight must be positive, not {weight}."
        )


def _check_arguments(
    models: Sequence[ScoreModel], waveform: Tensor, lengths: Tensor, texts: Sequence[str]
) -> None:
    names = [column.name for model in models for column in model.columns]
    if len(set(names)) < len(names):
        raise ValueError(f"Two models fill one column: {', '.join(names)}.")
    if waveform.dim() != 2 or lengths.shape != waveform.shape[:1] or len(texts) != len(lengths):
        raise ValueError(
            f"A waveform {tuple(waveform.shape)} does not go with {lengths.numel()} lengths "
            f"and {len(texts)} texts."
        )
    if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= waveform.shape[1]:
        raise ValueError(
            f"Lengths from {int(lengths.min())} to {int(lengths.max())} do not lie within "
            f"{waveform.shape[1]} audio samples."
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """One model, and what is done where it fails."""

    model: ScoreModel
    patience: Patience
    log: _FailureLog

    def __call__(self, waves: Tensor, texts: tuple[str, ...], rows: list[int]) -> Tensor:
        """Clips of one length, (G, S) -> (G, columns), NaN where it failed."""
        model, due = self.model, (len(rows), len(self.model.columns))
        failed = torch.full(due, math.nan)
        try:
            values = self.patience.ask(model.name, lambda: model(waves, texts))
        except Exception as error:
            if len(rows) == 1:
                if out_of_memory(error):  # no fault of the clip
                    raise
                self.log.model(rows[0], model.name, _reason(error))
                return failed
            values = None
        if values is None and len(rows) > 1:  # here what the error held on to is free again
            single = [self(waves[i : i + 1], texts[i : i + 1], [rows[i]]) for i in range(len(rows))]
            # A row that failed is on the CPU, whatever device the model returns.
            return torch.cat([value.cpu() for value in single])
        if not isinstance(values, Tensor) or tuple(values.shape) != due:
            returned = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            for row in rows:
                self.log.model(row, model.name, f"it returned shape {returned}, not {due}")
            return failed
        finite = torch.isfinite(values)
        for i, j in (~finite).nonzero().tolist():
            shown = f"{model.columns[j].name} = {float(values[i, j])}"
            self.log.model(rows[i], model.name, f"it returned {shown}")
        return values.masked_fill(~finite, math.nan)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, ScoreError | TooSlow):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass
class _FailureLog:
    """What went wrong for which clip, and the sentences that say so."""

    clips: int
    share: Share
    lost: dict[int, str] = field(default_factory=dict)
    """Row -> why no model was asked."""
    by_model: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """Model -> row -> reasons."""

    def clip(self, row: int, reason: str) -> None:
        self.lost[row] = reason

    def model(self, row: int, name: str, reason: str) -> None:
        self.by_model.setdefault(name, {}).setdefault(row, []).append(reason)

    def named(self, row: int) -> str:
        return f"clip {self.share.first + row + 1} of {self.share.of}"

    def sentences(self) -> tuple[str, ...]:
        said = [
            f"{self.named(row).capitalize()} has no score: {reason}."
            for row, reason in sorted(self.lost.items())
        ]
        for name, failed in self.by_model.items():
            reasons = {row: _sentence_end("; ".join(why)) for row, why in sorted(failed.items())}
            asked = self.clips - len(self.lost)
            alike = len(failed) == asked > 1 and len(set(reasons.values())) == 1
            if alike and self.clips == self.share.of:
                said.append(f"{name} failed on all {asked} clips: {next(iter(reasons.values()))}")
                continue
            said += [f"{name} failed on {self.named(row)}: {why}" for row, why in reasons.items()]
        return tuple(said)


def _sentence_end(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
