"""Several rewards as one that does not depend on their units and distrusts their disagreement.

    z_br    = sign(w_r) (score_br - mean_r) / deviation_r
    total_b = m_b - k s_b,   m_b = sum_r p_r z_br,   s_b^2 = sum_r p_r (z_br - m_b)^2

for clip b and reward r, with the shares p_r = |w_r| / sum |w|. The spread s_b is the standard
deviation across the rewards, by the same shares: a reward whose weight goes to 0 goes out of
the mean and of the spread alike. After Coste et al., "Reward Model Ensembles Help Mitigate
Overoptimization" (arXiv:2310.02743), which takes off the variance; a standard deviation keeps
the unit of the mean.

Mean and deviation are those of the held-out clips at the session's start, for the whole session.
A running pair would follow the policy: the same clip would earn less as all clips get better,
the curve and a prompt's remembered rewards would be of another unit every update, and a batch of
equal clips would shrink the divisor until the next one's noise is all that counts. The start's
scores are in the saved state already, so a session that goes on divides by the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.messages import Column

FLOOR = 0.02
"""Least deviation, as a share of a column's axis: 0.08 of a MOS, 0.02 of a word error rate. At the
start all clips may be alike (none clips, say), and a later one is not infinitely far from them."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What makes a column's scores comparable with another's."""

    mean: float
    """In the column's unit."""
    deviation: float
    """In the column's unit, above 0."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    scales: Mapping[str, Scale]
    """By score column."""
    spread: float
    """k, 0 or more."""

    def total(self, names: Sequence[str], scores: Tensor, weights: Sequence[float]) -> Tensor:
        """Scores (B, R) of the named columns -> (B,), in deviations; NaN where a score is NaN."""
        scales = [self.scales[name] for name in names]
        mean = scores.new_tensor([s.mean for s in scales], dtype=torch.float64)
        deviation = scores.new_tensor([s.deviation for s in scales], dtype=torch.float64)
        weight = scores.new_tensor(weights, dtype=torch.float64)
        z = weight.sign() * (scores.double() - mean) / deviation
        return pessimistic(z, weight.abs(), self.spread).to(scores.dtype)


def pessimistic(z: Tensor, weights: Tensor, k: float) -> Tensor:
    """Weighted mean of z (B, R) over R less k times the weighted standard deviation; (B,).

    NaN where a row holds one. `weights` (R,) are above 0.
    """
    shares = weights / weights.sum()
    mean = z @ shares
    return mean - k * ((z - mean[:, None]).square() @ shares).sqrt()


def fix(
    columns: Sequence[Column], start: Tensor, weights: Mapping[str, float], spread: float
) -> Ensemble:
    """The ensemble of the weighted columns, scaled by the scores (prompts, R) at the start.

    Raises:
        ValueError: a column has fewer than two scores there.
    """
    used = {name for name, weight in weights.items() if weight != 0.0}
    scales = {
        column.name: scale(column, start[:, at])
        for at, column in enumerate(columns)
        if column.name in used
    }
    return Ensemble(scales, spread)


def scale(column: Column, start: Tensor) -> Scale:
    """Mean and standard deviation (N - 1) of a column's finite scores (N,), the latter floored.

    Raises:
        ValueError: fewer than two scores are finite.
    """
    finite = start[start.isfinite()].double()
    if len(finite) < 2:
        raise ValueError(
            f"the ensemble takes the scale of {column.name} from the evaluation at the start, "
            f"where {len(finite)} of {len(start)} clips have a score of it: it needs two; leave "
            f"{column.name} out of reward.models, or raise evaluation.prompts"
        )
    mean = float(finite.mean())
    return Scale(mean, max(float(finite.std()), floor(column, mean)))


def floor(column: Column, mean: float) -> float:
    """Least deviation of a column; of one without an axis, by its mean, and 1 where that is 0."""
    if column.low is not None and column.high is not None:
        return FLOOR * (column.high - column.low)
    return FLOOR * abs(mean) or 1.0


def most_spread(weights: Mapping[str, float]) -> float:
    """The k up to which no clip gains by a reward that gets worse; infinite for one reward.

    d total / d z_r = p_r (1 - k (z_r - m) / s), and (z_r - m) / s is at most
    sqrt((1 - p_r) / p_r), where all the others agree.
    """
    sizes = [abs(weight) for weight in weights.values() if weight != 0.0]
    share = min(sizes) / sum(sizes)
    return math.sqrt(share / (1.0 - share)) if share < 1.0 else math.inf


def warning(weights: Mapping[str, float], spread: float) -> str:
    """A sentence where k is so large that agreement beats quality; empty where it is not."""
    most = most_spread(weights)
    if spread <= most:
        return ""
    return (
        f"reward.spread = {spread:g} is above {most:.2g}: where the rewards disagree, a clip can "
        "gain by getting worse in one of them"
    )


def told(ensemble: Ensemble) -> str:
    """The scales in one line."""
    scales = ", ".join(f"{n} {s.mean:.3g} ± {s.deviation:.2g}" for n, s in ensemble.scales.items())
    return f"the rewards are counted from the start's mean, in its deviations: {scales}"
