from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.rl.advantages import (
    ENOUGH,
    KEPT,
    PromptStatistics,
    advantages,
    scaled_weights,
    softmax_weights,
)

KINDS = ("raw", "batch", "per_prompt", "group")
scores = st.floats(1.0, 5.0, width=32)
GROUP = 4


def rewards(count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(scores, min_size=count, max_size=count)


def normalise(
    kind: str,
    reward: Tensor,
    valid: Tensor | None = None,
    statistics: PromptStatistics | None = None,
    group: int = GROUP,
) -> Tensor:
    prompts = tuple(f"prompt {row // group}" for row in range(len(reward)))
    every = torch.ones(len(reward), dtype=torch.bool)
    return advantages(
        kind, reward, every if valid is None else valid, prompts, group,
        statistics or PromptStatistics(),
    )  # fmt: skip


def spread_out(reward: Tensor) -> bool:
    return float(reward.std(unbiased=False)) > 1e-2


@settings(deadline=None, max_examples=50)
@given(rewards(12))
def test_each_group_has_mean_0_and_unit_std_or_is_0(given_: list[float]) -> None:
    reward = torch.tensor(given_, dtype=torch.float64)
    found = normalise("group", reward).view(3, GROUP)
    for mine, advantage in zip(reward.view(3, GROUP), found, strict=True):
        assert float(advantage.mean()) == pytest.approx(0.0, abs=1e-3)
        if spread_out(mine):
            assert float(advantage.std(unbiased=False)) == pytest.approx(1.0, abs=1e-3)
        elif len(set(mine.tolist())) == 1:
            assert not bool(advantage.any())


@settings(deadline=None, max_examples=50)
@given(rewards(8), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_a_groups_scale_and_offset_do_not_matter(
    given_: list[float], scale: float, offset: float
) -> None:
    reward = torch.tensor(given_, dtype=torch.float64)
    if all(spread_out(mine) for mine in reward.view(2, GROUP)):
        plain, other = normalise("group", reward), normalise("group", scale * reward + offset)
        torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-6)


def test_groups_are_judged_apart() -> None:
    reward = torch.tensor([1.0, 2.0, 1.0, 2.0, 4.0, 5.0, 4.0, 5.0])
    assert normalise("group", reward).tolist() == [-1.0, 1.0] * 4


@pytest.mark.parametrize("kind", ["batch", "group", "per_prompt"])
@pytest.mark.parametrize("tie", [0.0, 3.3, -1e4])
def test_ties_give_0(kind: str, tie: float) -> None:
    statistics = PromptStatistics()
    for _ in range(5):
        found = normalise(kind, torch.full((8,), tie), statistics=statistics)
        assert not bool(found.any())


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30)
@given(given_=rewards(8), failed=st.sets(st.integers(0, 7)))
def test_a_failed_row_is_0_and_moves_no_statistic(
    kind: str, given_: list[float], failed: set[int]
) -> None:
    reward = torch.tensor(given_)
    valid = torch.tensor([row not in failed for row in range(8)])
    found = normalise(kind, torch.where(valid, reward, torch.nan), valid)
    assert bool(found.isfinite().all())
    assert not bool(found[~valid].any())
    other = normalise(kind, torch.where(valid, reward, 1e6), valid)
    assert torch.equal(found, other)
    for rows in (slice(0, 4), slice(4, 8)) if kind == "group" else (slice(0, 8),):
        left = reward[rows][valid[rows]]
        alone = normalise(kind, left, group=len(left)) if len(left) else left
        if kind != "per_prompt":
            torch.testing.assert_close(found[rows][valid[rows]], alone)


def test_a_failed_reward_is_never_remembered() -> None:
    statistics = PromptStatistics()
    reward = torch.tensor([1.0, torch.nan, 2.0, torch.nan])
    normalise("per_prompt", reward, reward.isfinite(), statistics)
    assert statistics.state() == {"prompt 0": [1.0, 2.0]}


def test_the_batch_is_standardised_as_a_whole() -> None:
    found = normalise("batch", torch.tensor([1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0]))
    assert found.tolist() == [-1.0] * 4 + [1.0] * 4


def test_raw_is_the_reward_itself() -> None:
    reward = torch.tensor([4.0, 2.0, torch.nan])
    assert normalise("raw", reward, reward.isfinite()).tolist() == [4.0, 2.0, 0.0]


def test_a_prompt_little_heard_borrows_the_batchs_statistics() -> None:
    reward = torch.tensor([1.0, 2.0, 3.0, 4.0, 2.0, 5.0, 1.0, 3.0])
    assert GROUP < ENOUGH
    assert torch.equal(normalise("per_prompt", reward), normalise("batch", reward))


def test_a_prompt_is_compared_with_its_own_past() -> None:
    statistics = PromptStatistics()
    first = torch.tensor([1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0])
    second = torch.tensor([2.0, 2.0, 2.0, 3.0, 10.0, 10.0, 10.0, 15.0])
    normalise("per_prompt", first, statistics=statistics)
    found = normalise("per_prompt", second, statistics=statistics)
    for rows in (slice(0, 4), slice(4, 8)):
        past = torch.cat((first[rows], second[rows]))
        expected = (second[rows] - past.mean()) / past.std(unbiased=False)
        torch.testing.assert_close(found[rows], expected)


def test_only_the_latest_rewards_of_a_prompt_count() -> None:
    statistics = PromptStatistics()
    for value in range(KEPT):
        normalise("per_prompt", torch.full((4,), float(value)), statistics=statistics)
    (kept,) = statistics.state().values()
    assert len(kept) == KEPT
    assert kept[-1] == KEPT - 1
    assert min(kept) == KEPT - KEPT // 4


@settings(deadline=None, max_examples=30)
@given(st.lists(rewards(8), min_size=1, max_size=12))
def test_restored_statistics_go_on_as_the_saved_ones(history: list[list[float]]) -> None:
    statistics = PromptStatistics()
    for given_ in history:
        normalise("per_prompt", torch.tensor(given_), statistics=statistics)
    restored = PromptStatistics()
    restored.restore(json.loads(json.dumps(statistics.state())))
    assert restored.state() == statistics.state()
    for given_ in [*history, *history]:
        reward = torch.tensor(given_)
        assert torch.equal(
            normalise("per_prompt", reward, statistics=restored),
            normalise("per_prompt", reward, statistics=statistics),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_left_is_all_0(kind: str) -> None:
    reward = torch.full((8,), torch.nan)
    assert normalise(kind, reward, reward.isfinite()).tolist() == [0.0] * 8


# --- weights


def test_the_weights_by_hand() -> None:
    advantage = torch.tensor([0.0, math.log(2.0), torch.nan, math.log(5.0)])
    valid = advantage.isfinite()
    found = softmax_weights(advantage, valid, 1.0)
    torch.testing.assert_close(found, torch.tensor([3 / 8, 6 / 8, 0.0, 15 / 8]))
    colder = softmax_weights(advantage, valid, 2.0)
    torch.testing.assert_close(colder, torch.tensor([3 / 30, 12 / 30, 0.0, 75 / 30]))
    raw = torch.tensor([1.0, -2.0, torch.nan, 0.5])
    assert scaled_weights(raw, valid, 3.0).tolist() == [3.0, -6.0, 0.0, 1.5]


@settings(deadline=None, max_examples=50)
@given(
    given_=rewards(8),
    failed=st.sets(st.integers(0, 7), max_size=7),
    alpha=st.floats(0.0, 1000.0),
    offset=st.floats(-100.0, 100.0),
)
def test_softmax_weights_are_shares_of_the_valid_rows(
    given_: list[float], failed: set[int], alpha: float, offset: float
) -> None:
    advantage = torch.tensor(given_, dtype=torch.float64)
    valid = torch.tensor([row not in failed for row in range(8)])
    found = softmax_weights(torch.where(valid, advantage, torch.nan), valid, alpha)
    assert float(found[valid].mean()) == pytest.approx(1.0)
    assert bool((found >= 0).all())
    assert not bool(found[~valid].any())
    every = valid[valid]
    torch.testing.assert_close(found[valid], softmax_weights(advantage[valid], every, alpha))
    moved = softmax_weights(advantage + offset, valid, alpha)
    torch.testing.assert_close(moved, found, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(rewards(8))
def test_a_warm_softmax_is_1_plus_the_centred_advantage(given_: list[float]) -> None:
    advantage, valid = torch.tensor(given_, dtype=torch.float64), torch.ones(8, dtype=torch.bool)
    found = (softmax_weights(advantage, valid, 1e-4) - 1) / 1e-4
    torch.testing.assert_close(found, advantage - advantage.mean(), rtol=0, atol=2e-3)
    assert softmax_weights(advantage, valid, 0.0).tolist() == [1.0] * 8


@pytest.mark.parametrize("weigh", [softmax_weights, scaled_weights])
def test_no_valid_row_weighs_nothing(weigh) -> None:
    found = weigh(torch.full((4,), torch.nan), torch.zeros(4, dtype=torch.bool), 1.0)
    assert found.tolist() == [0.0] * 4
