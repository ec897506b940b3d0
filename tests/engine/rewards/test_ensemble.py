"""Several rewards as one: its algebra, and the scales that a session's start fixes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.messages import Column
from engine.rewards.base import Scores, reward
from engine.rewards.ensemble import (
    FLOOR,
    Ensemble,
    Scale,
    fix,
    most_spread,
    pessimistic,
    scale,
    told,
    warning,
)

MOS = Column("mos", "MOS 1-5", True, 1.0, 5.0)
WER = Column("wer", "share of words", False, 0.0, 1.0)
LUFS = Column("loudness", "LUFS", None, -40.0, -10.0)
COLUMNS = (MOS, WER, LUFS)
NAN = math.nan

START = torch.tensor([[1.0, 0.2, -30.0], [2.0, 0.6, -24.0], [3.0, 0.4, -27.0]])
"""Means 2, 0.4, -27; standard deviations 1, 0.2, 3."""

SIZES = st.sampled_from([0.25, 0.5, 1.0, 3.0])
KS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])


@st.composite
def tables(draw: st.DrawFn, members: int | None = None) -> Tensor:
    """Normalised scores (B, R), float64."""
    columns = members or draw(st.integers(1, 4))
    rows = draw(st.integers(1, 4))
    values = st.lists(st.floats(-5, 5), min_size=rows * columns, max_size=rows * columns)
    return torch.tensor(draw(values), dtype=torch.float64).view(rows, columns)


@st.composite
def weighted(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    z = draw(tables())
    count = z.shape[1]
    sizes = draw(st.lists(SIZES, min_size=count, max_size=count))
    return z, torch.tensor(sizes, dtype=torch.float64)


def made(rows: list[list[float]], columns: tuple[Column, ...] = COLUMNS) -> Scores:
    return Scores(columns, torch.tensor(rows), ())


# --- mean less spread -----------------------------------------------------------


def test_by_hand() -> None:
    z = torch.tensor([[1.0, 3.0], [2.0, 2.0], [-1.0, 0.0]], dtype=torch.float64)
    even = torch.ones(2, dtype=torch.float64)
    # means 2, 2, -0.5; deviations 1, 0, 0.5
    assert pessimistic(z, even, 0.5).tolist() == [1.5, 2.0, -0.75]
    # three parts to one: mean 1.5, variance 0.75 x 0.25 + 0.25 x 2.25 = 0.75
    uneven = torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert float(pessimistic(z, uneven, 2.0)[0]) == pytest.approx(1.5 - 2 * math.sqrt(0.75))


@settings(deadline=None, max_examples=50)
@given(weighted())
def test_without_k_it_is_the_weighted_mean(drawn: tuple[Tensor, Tensor]) -> None:
    z, weights = drawn
    torch.testing.assert_close(pessimistic(z, weights, 0.0), (z * weights).sum(-1) / weights.sum())


@settings(deadline=None, max_examples=50)
@given(weighted(), KS, KS)
def test_a_spread_only_lowers_and_more_so_with_more_k(
    drawn: tuple[Tensor, Tensor], one: float, other: float
) -> None:
    z, weights = drawn
    low, high = sorted((one, other))
    assert bool((pessimistic(z, weights, high) <= pessimistic(z, weights, low) + 1e-12).all())
    apart = z.amax(-1) - z.amin(-1) > 1e-3
    lower = pessimistic(z, weights, high + 0.5) < pessimistic(z, weights, high)
    assert bool(lower[apart].all())


@settings(deadline=None, max_examples=50)
@given(weighted(), KS)
def test_rewards_that_agree_lose_nothing(drawn: tuple[Tensor, Tensor], k: float) -> None:
    z, weights = drawn
    alike = z[:, :1].expand_as(z)
    torch.testing.assert_close(pessimistic(alike, weights, k), z[:, 0])


@settings(deadline=None, max_examples=50)
@given(tables(members=1), SIZES, KS)
def test_one_reward_alone_is_itself(z: Tensor, size: float, k: float) -> None:
    assert torch.equal(pessimistic(z, z.new_tensor([size]), k), z[:, 0])


@settings(deadline=None, max_examples=50)
@given(weighted(), KS, st.sampled_from([0.1, 10.0]))
def test_only_the_proportions_of_the_weights_count(
    drawn: tuple[Tensor, Tensor], k: float, factor: float
) -> None:
    z, weights = drawn
    one, other = pessimistic(z, weights, k), pessimistic(z, factor * weights, k)
    torch.testing.assert_close(one, other)


@settings(deadline=None, max_examples=50)
@given(weighted(), KS)
def test_a_member_with_twice_the_weight_is_two_members(
    drawn: tuple[Tensor, Tensor], k: float
) -> None:
    z, weights = drawn
    doubled = torch.cat((weights[:1] * 2, weights[1:]))
    twice = pessimistic(torch.cat((z[:, :1], z), -1), torch.cat((weights[:1], weights)), k)
    torch.testing.assert_close(pessimistic(z, doubled, k), twice)


@settings(deadline=None, max_examples=50)
@given(tables(members=2))
def test_with_k_of_one_the_worse_of_two_counts(z: Tensor) -> None:
    worse = pessimistic(z, torch.ones(2, dtype=torch.float64), 1.0)
    torch.testing.assert_close(worse, z.amin(-1))


@settings(deadline=None, max_examples=50)
@given(weighted(), st.floats(0, 1), st.floats(0.01, 5))
def test_up_to_the_most_spread_no_reward_gains_by_getting_worse(
    drawn: tuple[Tensor, Tensor], part: float, step: float
) -> None:
    z, weights = drawn
    most = most_spread({str(at): w for at, w in enumerate(weights.tolist())})
    k = part * min(most, 100.0)
    for member in range(z.shape[1]):
        better = z.clone()
        better[:, member] += step
        change = pessimistic(better, weights, k) - pessimistic(z, weights, k)
        assert bool((change >= -1e-9).all())


def test_beyond_it_one_does() -> None:
    weights = torch.ones(2, dtype=torch.float64)
    assert most_spread({"a": 2.0, "b": -2.0, "c": 0.0}) == 1.0
    assert most_spread({"a": 1.0}) == math.inf
    z = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    worse = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    assert float(pessimistic(worse, weights, 1.1)) > float(pessimistic(z, weights, 1.1))


def test_a_k_beyond_it_is_said() -> None:
    assert warning({"mos": 1.0, "wer": -1.0}, 1.0) == ""
    said = warning({"mos": 1.0, "wer": -1.0}, 1.5)
    assert said.startswith("reward.spread = 1.5 is above 1: where the rewards disagree")
    assert warning({"mos": 1.0, "wer": -0.1}, 0.5) != ""


# --- whatever the units ---------------------------------------------------------


def total(start: Tensor, later: Tensor, columns: tuple[Column, ...], k: float = 0.5) -> Tensor:
    weights = {"mos": 1.0, "wer": -2.0, "loudness": 0.5}
    return reward(Scores(columns, later, ()), weights, fix(columns, start, weights, k)).total


LATER = torch.tensor([[2.5, 0.1, -20.0], [1.0, 0.9, -33.0], [2.0, 0.4, -27.0]])


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 2),
    st.sampled_from([0.01, 0.5, 2.0, 100.0]),
    st.sampled_from([-50.0, 0.0, 3.0]),
    st.booleans(),
)
def test_no_member_depends_on_its_unit(at: int, factor: float, shift: float, flat: bool) -> None:
    """Also where the start's clips were all alike, and the floor divides."""
    start = START.clone()
    if flat:
        start[:, at] = start[0, at]
    before = total(start, LATER, COLUMNS)

    def other(values: Tensor) -> Tensor:
        changed = values.double()
        changed[:, at] = factor * changed[:, at] + shift
        return changed

    old = COLUMNS[at]
    assert old.low is not None
    assert old.high is not None
    new = replace(old, low=factor * old.low + shift, high=factor * old.high + shift)
    columns = (*COLUMNS[:at], new, *COLUMNS[at + 1 :])
    after = total(other(start), other(LATER), columns)
    torch.testing.assert_close(after.float(), before, rtol=1e-4, atol=1e-4)


def test_a_sum_does_depend_on_it() -> None:
    """What the ensemble is there for: weights of 1 hide the word error rate behind the LUFS."""
    weights = {"wer": -1.0, "loudness": 1.0}
    good_and_quiet, bad_and_loud = [3.0, 0.1, -28.0], [3.0, 0.9, -26.0]
    scores = made([good_and_quiet, bad_and_loud])
    summed = reward(scores, weights).total
    together = reward(scores, weights, fix(COLUMNS, START, weights, 0.5)).total
    assert summed[0] < summed[1]
    assert together[0] > together[1]


def test_each_sign_says_which_way_is_better() -> None:
    weights = {"mos": 1.0, "wer": -1.0}
    ensemble = fix(COLUMNS, START, weights, 0.0)
    found = reward(made([[3.0, 0.2, NAN], [1.0, 0.6, NAN], [3.0, 0.6, NAN]]), weights, ensemble)
    torch.testing.assert_close(found.total, torch.tensor([1.0, -1.0, 0.0]))
    quiet = {"mos": 1.0, "loudness": -1.0}
    found = reward(made([[2.0, NAN, -30.0]]), quiet, fix(COLUMNS, START, quiet, 0.0))
    torch.testing.assert_close(found.total, torch.tensor([0.5]))


def test_the_wrong_sign_is_refused_as_in_a_sum() -> None:
    ensemble = fix(COLUMNS, START, {"mos": 1.0, "wer": 1.0}, 0.5)
    with pytest.raises(ValueError, match="wer is better when it is lower"):
        reward(made([[2.0, 0.5, 0.0]]), {"mos": 1.0, "wer": 1.0}, ensemble)


# --- scores that failed ---------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1])
def test_a_clip_that_lacks_a_member_has_no_reward(at: int) -> None:
    rows = [[2.0, 0.4, NAN], [2.0, 0.4, NAN]]
    rows[1][at] = NAN
    weights = {"mos": 1.0, "wer": -1.0}
    found = reward(made(rows), weights, fix(COLUMNS, START, weights, 0.5))
    assert found.valid.tolist() == [True, False]
    assert found.total.isnan().tolist() == [False, True]
    assert found.names == ("mos", "wer", "loudness")


def test_a_weight_of_0_needs_nothing_and_spreads_nothing() -> None:
    scores = made([[3.0, 0.2, NAN]])
    with_it, without = {"mos": 1.0, "wer": -1.0, "loudness": 0.0}, {"mos": 1.0, "wer": -1.0}
    one = reward(scores, with_it, fix(COLUMNS, START, with_it, 0.5))
    other = reward(scores, without, fix(COLUMNS, START, without, 0.5))
    assert one.valid.tolist() == [True]
    assert torch.equal(one.total, other.total)


@settings(deadline=None, max_examples=50)
@given(tables(), KS)
def test_nan_stays_in_its_row(z: Tensor, k: float) -> None:
    assume(len(z) > 1)
    z[0, -1] = NAN
    found = pessimistic(z, torch.ones(z.shape[1], dtype=torch.float64), k)
    assert found.isnan().tolist() == [True] + [False] * (len(z) - 1)


# --- the scale of the start -----------------------------------------------------


def test_a_scale_is_the_starts_mean_and_deviation_over_what_is_finite() -> None:
    assert scale(MOS, torch.tensor([1.0, NAN, 2.0, 3.0, math.inf])) == Scale(2.0, 1.0)


def test_clips_that_are_all_alike_have_the_floor_for_a_deviation() -> None:
    assert scale(WER, torch.zeros(5)) == Scale(0.0, FLOOR)
    assert scale(MOS, torch.full((5,), 2.0)) == Scale(2.0, 4 * FLOOR)
    assert scale(MOS, torch.tensor([2.0, 2.001])).deviation == 4 * FLOOR
    bare = Column("bare", "")
    assert scale(bare, torch.full((2,), -50.0)) == Scale(-50.0, 50 * FLOOR)
    assert scale(bare, torch.zeros(2)) == Scale(0.0, 1.0)


def test_a_batch_of_equal_clips_changes_no_scale() -> None:
    weights = {"mos": 1.0, "wer": -1.0}
    ensemble = fix(COLUMNS, START, weights, 0.5)
    batch = reward(made([[2.5, 0.4, NAN]] * 8), weights, ensemble).total
    alone = reward(made([[2.5, 0.4, NAN]]), weights, ensemble).total
    assert torch.equal(batch, alone.expand(8))


@pytest.mark.parametrize("scores", [[NAN, NAN, NAN], [1.0, NAN, NAN], [1.0]])
def test_fewer_than_two_scores_have_no_scale(scores: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^the ensemble takes the scale of mos from .* needs two"):
        fix((MOS,), torch.tensor(scores)[:, None], {"mos": 1.0}, 0.5)


def test_only_what_has_a_weight_needs_a_scale() -> None:
    start = START.clone()
    start[:, 2] = NAN
    ensemble = fix(COLUMNS, start, {"mos": 1.0, "wer": -1.0, "loudness": 0.0}, 0.5)
    assert list(ensemble.scales) == ["mos", "wer"]


def test_the_scales_are_told_in_one_line() -> None:
    said = told(Ensemble({"mos": Scale(1.504, 0.143), "wer": Scale(0.715, 0.611)}, 0.5))
    assert said.endswith("in its deviations: mos 1.5 ± 0.14, wer 0.715 ± 0.61")
