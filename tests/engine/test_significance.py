"""Intervals and tests of paired differences: by hand, on made-up data, and against scipy."""

from __future__ import annotations

import math
from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch

from engine import significance
from engine.evaluation import interval
from engine.messages import Interval
from engine.significance import (
    FLIPS,
    RESAMPLES,
    Numbers,
    bootstrap,
    fewest_pairs,
    holm,
    resampled_means,
    sign_flip,
)

SKEWED = np.random.default_rng(1).exponential(1.0, 16) - 0.3
STEPS = np.array([0.0, 0.125, 0.0, -0.125, 0.25, 0.0, 0.5, 0.125, 0.0, 0.25, -0.25, 0.0])
"""As word error rates differ: many ties, few values."""


def scipy_stats() -> ModuleType:
    """scipy is no requirement; its `rng` came with 1.15."""
    pytest.importorskip("scipy", minversion="1.15")
    return pytest.importorskip("scipy.stats")


def student(values: Numbers) -> Interval:
    found = interval(torch.tensor(values))
    assert found is not None
    return found


def resampled(values: Numbers) -> Interval:
    return bootstrap(values, student(values))


# --- the bootstrap ----------------------------------------------------------------


def test_a_known_difference_lies_in_its_interval_as_often_as_said() -> None:
    dice, held, trials = np.random.default_rng(0), 0, 300
    for _ in range(trials):
        found = resampled(dice.normal(0.5, 1.0, 16))
        held += found.low <= 0.5 <= found.high
    # 95 % of 300 is 285; five standard errors around it, less what 16 pairs cost (docs).
    assert 0.89 <= held / trials <= 0.99


def test_it_is_as_wide_as_students_where_the_differences_are_normal() -> None:
    values = np.array([s * z for z in (0.1, 0.4, 0.7, 1.0, 1.4, 2.0) for s in (-1, 1)]) + 3.0
    found, t = resampled(values), student(values)
    assert found.mean == pytest.approx(3.0)
    assert found.high - found.low == pytest.approx(t.high - t.low, rel=0.05)
    assert found.high - 3.0 == pytest.approx(3.0 - found.low, rel=0.1)


def test_skewed_differences_have_a_skewed_interval() -> None:
    found = resampled(SKEWED)
    assert found.high - found.mean > 1.15 * (found.mean - found.low)
    assert found.count == 16


def test_it_moves_and_turns_with_the_differences() -> None:
    found = resampled(SKEWED)
    moved, turned = resampled(SKEWED * 2.0 + 7.0), resampled(-SKEWED)
    assert (moved.low, moved.high) == pytest.approx((2 * found.low + 7, 2 * found.high + 7))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert resampled(SKEWED) == found


@pytest.mark.parametrize("values", [[0.1], [0.1] * 9, [0.0, 0.0, 0.0], [2.0, 2.0 + 1e-9]])
def test_what_does_not_spread_has_no_width(values: list[float]) -> None:
    found = resampled(np.array(values))
    assert (found.low, found.high) == (found.mean, found.mean)
    assert found.mean == pytest.approx(values[0])


def test_many_pairs_are_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "BLOCK", 16 * 3)
    means = resampled_means(SKEWED)
    assert means.shape == (RESAMPLES,)
    assert float(means.mean()) == pytest.approx(SKEWED.mean(), abs=0.02)
    expected = SKEWED.std() / math.sqrt(16)
    assert float(means.std()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("values", [SKEWED, STEPS, np.array([1.0, 2.0, 4.0])])
def test_the_interval_is_scipys_at_the_widened_level(values: Numbers) -> None:
    stats = scipy_stats()
    count, t = len(values), student(values)
    w = (t.high - t.low) / 2 / (values.std() / math.sqrt(count))
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * stats.norm.cdf(-w), n_resamples=RESAMPLES,
        method="BCa", rng=np.random.default_rng(significance.SEED), vectorized=True,
    ).confidence_interval  # fmt: skip
    found = bootstrap(values, t)
    # The same draws; a mean within rounding of the sample's is a tie here, as it is not there.
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=5e-4)


# --- the test ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([1.0, 2.0, 3.0], 2 / 8),
        ([3.0, -1.0], 1.0),  # 2 of +-4, +-2: all four are as far
        ([4.0, -1.0, 2.0], 4 / 8),  # 5 and 7 are as far
        ([0.0, 0.0, 0.0], 1.0),
        ([1.0, -1.0], 1.0),
        ([5.0], 1.0),
        ([0.5] * 10, 2 / 1024),
        ([0.5] * 10 + [0.0] * 3, 2 / 1024),
    ],
)
def test_signs_are_flipped_by_hand(values: list[float], p: float) -> None:
    assert sign_flip(np.array(values)) == pytest.approx(p)
    assert sign_flip(-np.array(values)) == pytest.approx(p)


def test_every_flip_is_gone_through() -> None:
    sums = [abs(float(np.dot(signs, STEPS))) for signs in product((-1, 1), repeat=len(STEPS))]
    expected = np.mean(np.array(sums) >= abs(STEPS.sum()) - 1e-9)
    assert sign_flip(STEPS) == pytest.approx(float(expected))


def test_many_pairs_take_random_flips_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = sign_flip(SKEWED)
    monkeypatch.setattr(significance, "EXACT", 5)
    monkeypatch.setattr(significance, "BLOCK", 16 * 999)
    # Four standard errors of so many flips.
    assert sign_flip(SKEWED) == pytest.approx(exact, abs=4 * math.sqrt(exact / FLIPS))
    assert sign_flip(np.full(50, 0.1)) == pytest.approx(1 / (FLIPS + 1))


def test_chance_passes_it_as_often_as_said_and_a_difference_more_often() -> None:
    dice = np.random.default_rng(3)
    chance = [sign_flip(dice.normal(0.0, 1.0, 10)) < 0.05 for _ in range(600)]
    assert 0.02 <= np.mean(chance) <= 0.085  # 5 %, four standard errors
    told = [sign_flip(dice.normal(1.0, 1.0, 10)) < 0.05 for _ in range(200)]
    assert np.mean(told) > 0.7


@pytest.mark.parametrize("values", [SKEWED[:9], STEPS])
def test_the_p_value_is_scipys(values: Numbers) -> None:
    stats = scipy_stats()
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(values) == pytest.approx(theirs.pvalue)


# --- several tests ----------------------------------------------------------------


def test_holm_steps_down() -> None:
    # Sorted 0.01, 0.03, 0.04: times 3, 2, 1, never falling.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@pytest.mark.parametrize("tests", [1, 2, 4, 5, 20])
def test_the_fewest_pairs_are_just_enough(tests: int) -> None:
    fewest = fewest_pairs(tests)
    smallest = [sign_flip(np.ones(count)) for count in (fewest - 1, fewest)]
    assert tests * smallest[1] < significance.LEVEL <= tests * smallest[0]
