"""Fixed prompts and fixed noise -> scores with intervals; and the alarm they can raise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import Voice
from engine.diffusion.schedule import NoiseSchedule
from engine.messages import Column, Interval
from engine.rewards.base import ScoreModel, Scores, score_clips
from engine.synthesis import Utterance, speak
from engine.types import HOP

T_975 = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
    2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05,
)  # fmt: skip
"""Student's t, 97.5 % quantile, 1 to 29 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    waves: tuple[Tensor, ...]
    """One clip (S,) a prompt."""
    scores: Scores
    """(prompts, R)"""

    def intervals(self) -> dict[str, Interval | None]:
        return {
            column.name: interval(self.scores.values[:, at])
            for at, column in enumerate(self.scores.columns)
        }


def evaluate(
    voice: Voice,
    schedule: NoiseSchedule,
    utterances: Sequence[Utterance],
    models: Sequence[ScoreModel],
    seed: int,
    microbatch: int,
    between: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Speaks the fixed prompts with noise fixed by `seed`, and scores the clips."""
    waves = speak(voice, schedule, utterances, seed, microbatch=microbatch, between=between)
    lengths = torch.tensor([u.frames * HOP for u in utterances])
    padded = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in enumerate(waves):
        padded[row, : len(wave)] = wave
    texts = [u.text for u in utterances]
    rate = voice.card.config.sample_rate
    return Evaluation(tuple(waves), score_clips(models, padded, lengths, rate, texts))


def interval(values: Tensor) -> Interval | None:
    """Mean with its 95 % confidence interval by Student's t, over the finite of values (N,).

    None where none is finite; a single value has no width to give.
    """
    finite = values[values.isfinite()].double()
    count = len(finite)
    if count == 0:
        return None
    mean = float(finite.mean())
    if count == 1:
        return Interval(mean, mean, mean, 1)
    quantile = T_975[count - 2] if count - 2 < len(T_975) else 1.96 + 2.5 / (count - 1)
    half = quantile * float(finite.std()) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def fooled(start: Tensor, now: Evaluation, rewards: set[str]) -> str:
    """A sentence where a reward has risen while a judge got worse; empty where not.

    `start` holds the scores (prompts, R) at the session's start, in the same columns. Both by
    the paired difference to it over the same prompts and noise, and
    both with a 95 % interval that excludes 0.
    """
    risen, fallen = [], []
    for at, column in enumerate(now.scores.columns):
        gain = interval(better(column) * (now.scores.values - start)[:, at])
        if gain is None or gain.count < 2 or column.higher_is_better is None:
            continue
        if column.name in rewards and gain.low > 0:
            risen.append(f"{column.name} by {gain.mean:.3g}")
        if column.name not in rewards and gain.high < 0:
            fallen.append(f"{column.name} by {-gain.mean:.3g}")
    if not risen or not fallen:
        return ""
    return f"the reward rose ({', '.join(risen)}) while a judge got worse ({', '.join(fallen)})"


def better(column: Column) -> float:
    """+1 where a higher score is better, else -1."""
    return 1.0 if column.higher_is_better else -1.0
