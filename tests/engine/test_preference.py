from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from engine.preference import Preference, Trial, sign_test, trials, wilson


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # this and the next three: Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 10, 0.4902, 0.9433),
    ],
)
def test_wilson_gives_the_published_intervals(
    successes: int, count: int, low: float, high: float
) -> None:
    got = wilson(successes, count)
    assert got.mean == successes / count
    assert got.count == count
    assert (got.low, got.high) == pytest.approx((low, high), abs=6e-5)
    mirrored = wilson(count - successes, count)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((got.low, got.high))


def test_wilson_stays_within_0_and_1() -> None:
    assert wilson(0, 5).low == 0.0
    assert wilson(5, 5).high == 1.0


@pytest.mark.parametrize(
    ("successes", "count", "p"),
    [(5, 10, 1.0), (8, 10, 0.109375), (9, 10, 0.021484375), (16, 16, 2 / 65536), (1, 1, 1.0)],
)
def test_the_sign_test_is_exact(successes: int, count: int, p: float) -> None:
    assert sign_test(successes, count) == p
    assert sign_test(count - successes, count) == p


def test_the_sign_test_counts_every_split_at_least_as_uneven() -> None:
    splits = [sum(tosses) for tosses in product((0, 1), repeat=7)]
    for successes in range(8):
        uneven = [s for s in splits if abs(s - 3.5) >= abs(successes - 3.5)]
        assert sign_test(successes, 7) == pytest.approx(len(uneven) / len(splits))


@pytest.mark.parametrize("split", [(1, 0), (-1, 4), (5, 4)])
def test_what_is_no_split_is_refused(split: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is no split"):
        sign_test(*split)
    with pytest.raises(ValueError, match="is no share"):
        wilson(*split)


def test_the_order_is_drawn_by_its_seed_and_holds_every_prompt_once() -> None:
    one = trials(16, 3)
    assert one == trials(16, 3)
    assert one != trials(16, 4)
    assert sorted(trial.prompt for trial in one) == list(range(16))
    assert {trial.x for trial in one} == {"A", "B"}


def test_no_label_and_no_place_is_tied_to_a_prompt() -> None:
    drawn = [trials(4, seed) for seed in range(400)]
    labels = Counter((t.prompt, t.x) for order in drawn for t in order)
    assert all(150 < count < 250 for count in labels.values())
    firsts = Counter(order[0].prompt for order in drawn)
    assert all(60 < count < 140 for count in firsts.values())


def test_labels_name_both_voices() -> None:
    assert [Trial(0, "B").voice(label) for label in ("X", "Y")] == ["B", "A"]
    assert [Trial(0, "A").voice(label) for label in ("X", "Y")] == ["A", "B"]


def test_a_test_that_was_ended_early_keeps_its_answers() -> None:
    done = Preference(trials(5, 1), ("B", "", "B", "A"), 1)
    assert (done.count("A"), done.count(""), done.count("B"), done.decided) == (1, 1, 2, 3)
    assert done.share == wilson(2, 3)
    assert done.p_value == sign_test(2, 3)
    told = done.plain(tuple("vwxyz"))
    assert (told["trials"], told["answered"]) == (5, 4)
    assert told["preferred"] == {"a": 1, "neither": 1, "b": 2}
    assert [row["preferred"] for row in told["answers"]] == ["B", "neither", "B", "A"]
    assert [row["text"] for row in told["answers"]] == ["vwxyz"[t.prompt] for t in done.trials[:4]]


def test_without_a_decision_there_is_nothing_to_share() -> None:
    for answers in ((), ("", "")):
        done = Preference(trials(2, 1), answers, 1)  # type: ignore[arg-type]
        assert done.share is None
        assert done.p_value is None
        assert done.plain(("x", "y"))["share_b"] is None
