"""Whether paired differences could be chance: a bootstrap interval, a sign-flip test, Holm.

Numbers alone; knows no voice, no prompt and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from engine.messages import Interval

Numbers = NDArray[np.float64]

RESAMPLES = 10_000
"""Of a bootstrap."""
FLIPS = 100_000
"""Random flips of signs where there are too many to go through all."""
EXACT = 20
"""Pairs up to which a sign-flip test goes through all flips: 2^19 of them."""
SEED = 0
"""Of resamples and flips: one table gives one interval, whenever it is drawn."""
LEVEL = 0.05
BLOCK = 2**22
"""Numbers that are held at once."""
SAME = 1e-6
"""Sums that differ by less than this share of all magnitudes are ties: scores are fp32."""


def bootstrap(differences: Numbers, student: Interval) -> Interval:
    """The mean of differences (N,) with a 95 % interval, by resampling the pairs.

    BCa (Efron 1987): the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z = -w and w, of the
    means of RESAMPLES resamples; z0 is the normal quantile of their share below the mean, ties
    counted half, and a = sum u^3 / (6 (sum u^2)^1.5), u = difference - mean. In place of
    w = 1.96 stands the half width of Student's interval in standard deviations of those means,
    w = t sqrt(N / (N - 1)), without which a bootstrap of few pairs is too narrow (Hesterberg
    2015).

    Args:
        differences: finite, at least one.
        student: their mean with Student's 95 % interval.
    """
    mean, count = float(differences.mean()), len(differences)
    u = differences - mean
    spread = float(np.abs(u).max())
    if count == 1 or spread <= SAME * float(np.abs(differences).max()):
        return Interval(mean, mean, mean, count)
    means = resampled_means(differences)
    ties = SAME * spread
    below = (np.mean(means < mean - ties) + np.mean(means <= mean + ties)) / 2
    normal = NormalDist()
    z0 = normal.inv_cdf(float(below))
    a = float((u**3).sum() / (6 * (u**2).sum() ** 1.5))
    w = (student.high - student.low) / 2 / math.sqrt(float((u**2).sum()) / count**2)
    levels = [normal.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in (-w, w)]
    low, high = np.quantile(means, levels)
    return Interval(mean, float(low), float(high), count)


def resampled_means(differences: Numbers) -> Numbers:
    """Means (RESAMPLES,) of as many draws with replacement from differences (N,)."""
    dice, count = np.random.default_rng(SEED), len(differences)
    rows = min(max(BLOCK // count, 1), RESAMPLES)
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    parts = [differences[dice.integers(0, count, (size, count))].mean(-1) for size in sizes]
    return np.concatenate(parts)


def sign_flip(differences: Numbers) -> float:
    """Probability of a mean at least this far from 0 where each sign is a toss (Fisher 1935).

    Two-sided, of differences (N,). Up to EXACT pairs every flip is gone through; beyond, FLIPS
    random ones, p = (as far + 1) / (FLIPS + 1), which is never 0 (Phipson and Smyth 2010).
    """
    total = abs(float(differences.sum()))
    least = total - SAME * float(np.abs(differences).sum())
    if len(differences) > EXACT:
        return (int(np.sum(flipped_sums(differences) >= least)) + 1) / (FLIPS + 1)
    # Flipping all signs changes no magnitude, so the first keeps its own.
    sums = differences[:1]
    for value in differences[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return float(np.mean(np.abs(sums) >= least))


def flipped_sums(differences: Numbers) -> Numbers:
    """Magnitudes (FLIPS,) of the sum of differences (N,) under random signs."""
    dice, count = np.random.default_rng(SEED), len(differences)
    rows = min(max(BLOCK // count, 1), FLIPS)
    parts = []
    for start in range(0, FLIPS, rows):
        signs = dice.integers(0, 2, (min(rows, FLIPS - start), count)) * 2.0 - 1.0
        parts.append(np.abs(signs @ differences))
    return np.concatenate(parts)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of a family, each as it stands against one level for all (Holm 1979).

    With p_(1) <= ... <= p_(m): adjusted p_(j) = max over i <= j of min(1, (m - i + 1) p_(i)).
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    for left, at in zip(range(len(order), 0, -1), order, strict=True):
        highest = max(highest, min(1.0, left * p_values[at]))
        adjusted[at] = highest
    return adjusted


def fewest_pairs(tests: int) -> int:
    """Pairs without which no sign-flip test among so many can fall below LEVEL: m 2^(1 - N)."""
    return math.floor(1 + math.log2(tests / LEVEL)) + 1
