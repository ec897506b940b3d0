"""Fixed prompts and fixed noise -> scores with intervals; and the alarm they can raise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import Voice
from engine.diffusion.schedule import NoiseSchedule
from engine.distributed import ALONE, Ranks
from engine.messages import Column, Interval
from engine.rewards.base import ScoreModel, Scores, Share, everyones, score_clips
from engine.rewards.patience import Patience
from engine.synthesis import Utterance, speak
from engine.types import HOP

T_975 = (
    12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13,
    2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05,
)  # fmt: skip
"""Student's t, 97.5 % quantile, 1 to 29 degrees of freedom."""

FEWEST = 3
"""Pairs below which nothing is sure: two prompts move alike by chance, and word errors come in
steps, so that alike may mean without any spread."""

DRIFT = {"loudness": 6.0}
"""Column -> how far its mean may go from the start's, either way. 6 LU is twice the amplitude;
honest sessions of ten updates were seen to move by up to 5.7 (README), and a policy that is paid
for its level, or whose predictor is pleased by it, goes on from there."""

AUDIBLE = {"clipping": 1e-3}
"""Judge -> how much worse it may get before that counts, 0 for the others. A share of 0.001 is 22
clipped audio samples a second; far fewer are sure to be more than none, and are not heard."""


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
    patience: Patience | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Speaks the fixed prompts with noise fixed by `seed`, and scores the clips.

    Each rank speaks and scores its share of them; all get the whole evaluation.
    """
    rows = ranks.share(len(utterances))
    own = utterances[rows.start : rows.stop]
    lengths = torch.tensor([u.frames * HOP for u in own], dtype=torch.int64)
    padded = torch.zeros(len(own), int(lengths.max()) if own else 0)
    if own:
        waves = speak(
            voice, schedule, own, seed, microbatch=microbatch, first=rows.start, between=between
        )
        for row, wave in enumerate(waves):
            padded[row, : len(wave)] = wave
    else:  # more ranks than prompts: the others speak, and every one of them may be stopped
        waves = []
        for done in range(schedule.timesteps):
            between(done + 1, schedule.timesteps)
    texts = [u.text for u in own]
    rate, share = voice.card.config.sample_rate, Share(rows.start, len(utterances))
    scores = score_clips(models, padded, lengths, rate, texts, patience, share)
    spoken = [wave for part in ranks.gather(waves) for wave in part]
    return Evaluation(tuple(spoken), everyones(scores, ranks))


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


def fooled(start: Tensor, now: Evaluation, weights: Mapping[str, float]) -> str:
    """A sentence where a reward has risen while a judge got worse; empty where not.

    `start` holds the scores (prompts, R) at the session's start, in the same columns; `weights`
    are the reward's, whose signs say which way each of its columns rises. A judge is every other
    column that has a better direction; and whatever is in `DRIFT`, the reward or not, must stay
    near the start, whichever way is better. Everything by the paired difference to the start
    over the same prompts and noise, and by a 95 % interval that lies wholly beyond 0, or beyond
    what is allowed. Fewer than `FEWEST` pairs are no evidence.
    """
    risen, fallen, moved = [], [], []
    for at, column in enumerate(now.scores.columns):
        name, weight = column.name, weights.get(column.name, 0.0)
        change = interval((now.scores.values - start)[:, at])
        if change is None or change.count < FEWEST:
            continue
        if weight and beyond(change, weight, 0.0):
            risen.append(f"{name} by {change.mean:.3g}")
        judges = not weight and column.higher_is_better is not None
        if judges and beyond(change, -better(column), AUDIBLE.get(name, 0.0)):
            fallen.append(f"{name} by {-better(column) * change.mean:.3g}")
        if name in DRIFT and beyond(change, change.mean, DRIFT[name]):
            moved.append(f"{name} by {change.mean:+.3g} {column.unit}")
    worse = [f"a judge got worse ({', '.join(fallen)})"] if fallen else []
    worse += [f"the level ran away ({', '.join(moved)})"] if moved else []
    if not risen or not worse:
        return ""
    return f"the reward rose ({', '.join(risen)}) while {' and '.join(worse)}"


def beyond(change: Interval, direction: float, allowed: float) -> bool:
    """Whether the whole interval lies further than `allowed` in the direction of this sign."""
    return change.low > allowed if direction > 0 else change.high < -allowed


def better(column: Column) -> float:
    """+1 where a higher score is better, else -1."""
    return 1.0 if column.higher_is_better else -1.0
