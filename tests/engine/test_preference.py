from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from engine.preference import (
    SETTLED,
    Preference,
    Trial,
    clopper_pearson,
    pairs_needed,
    sign_test,
    trials,
)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),  # this and the next three: Newcombe 1998, table I, method 5
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
        (8, 10, 0.4439, 0.9748),
    ],
)
def test_clopper_pearson_gives_the_published_intervals(
    successes: int, count: int, low: float, high: float
) -> None:
    got = clopper_pearson(successes, count)
    assert got.mean == successes / count
    assert got.count == count
    assert (got.low, got.high) == pytest.approx((low, high), abs=6e-5)
    mirrored = clopper_pearson(count - successes, count)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((got.low, got.high))


def test_a_share_of_none_or_all_ends_at_0_or_1() -> None:
    assert clopper_pearson(0, 5).low == 0.0
    assert clopper_pearson(5, 5).high == 1.0
    # P(X = 0 | high) = 0.025
    assert (1 - clopper_pearson(0, 5).high) ** 5 == pytest.approx(0.025)


def test_the_interval_and_the_test_never_contradict_each_other() -> None:
    for count in range(1, 26):
        for successes in range(count + 1):
            found = clopper_pearson(successes, count)
            apart = found.low > 0.5 or found.high < 0.5
            assert apart == (sign_test(successes, count) < SETTLED), (successes, count)


def test_thousands_of_answers_are_no_overflow() -> None:
    found = clopper_pearson(3000, 5000)
    half = 1.96 * (0.6 * 0.4 / 5000) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), abs=5e-4)


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
        clopper_pearson(*split)


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
    assert done.share == clopper_pearson(1, 3)
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
        assert done.plain(("x", "y"))["share_a"] is None
        assert done.more is None
        assert not done.settled
        assert done.lines()[2:] == ("", "")
        assert "no share to tell" in done.lines()[1]


# --- how many more ----------------------------------------------------------------


def preference(a: int, b: int, neither: int = 0) -> Preference:
    answers = ("A",) * a + ("B",) * b + ("",) * neither
    return Preference(trials(len(answers), 1), answers, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [1.0, 0.9, 0.8, 0.75, 0.7, 0.6, 0.55])
def test_at_the_pairs_needed_the_exact_test_is_about_at_its_level(share: float) -> None:
    needed = pairs_needed(share)
    assert needed == pairs_needed(1 - share)
    near = [sign_test(round(share * n), n) for n in range(needed - 2, needed + 3)]
    assert min(near) < SETTLED < max(near), near


def test_the_pairs_needed_by_hand() -> None:
    # d = 1/2: ((0.98 + sqrt(0.9604 + 1)) / 1)^2 = 5.67; six of six is p = 0.031, five 0.063.
    assert pairs_needed(1.0) == 6
    # d = 0.1: ((0.98 + sqrt(0.9604 + 0.2)) / 0.2)^2 = 105.8
    assert pairs_needed(0.6) == 106
    assert pairs_needed(0.5) is None
    with pytest.raises(ValueError, match=r"1\.5 is no share"):
        pairs_needed(1.5)


@pytest.mark.parametrize(
    ("counts", "more", "told"),
    [
        ((3, 0), 3, "about 3 more pairs would settle it, if choices go on so"),
        ((0, 5), 1, "about 1 more pair would settle it, if choices go on so"),
        ((6, 0), 0, "settled: p < 0.05"),
        ((4, 4), None, "an even split: no number of pairs would settle it"),
        ((3, 0, 3), 6, "about 6 more pairs would settle it, if choices go on so"),
        ((7, 1), 2, "about 2 more pairs would settle it, if choices go on so"),
    ],
)
def test_what_is_still_needed(counts: tuple[int, ...], more: int | None, told: str) -> None:
    done = preference(*counts)
    assert done.more == more
    assert done.lines()[3] == told
    assert done.plain(("x",) * len(done.answers))["more_pairs"] == more
    assert done.settled == (more == 0)


def test_what_is_not_settled_always_needs_one_more() -> None:
    for a in range(30):
        for b in range(30):
            done = preference(a, b)
            assert done.settled == (done.more == 0)
            assert (done.more is None) == (a == b)


def test_the_lines_fit_a_small_terminal() -> None:
    for done in (preference(999, 1000, 999), preference(100, 99), preference(3, 0, 5)):
        assert max(map(len, done.lines())) <= 56
    assert preference(3, 5, 1).lines()[:3] == (
        "A better 3   no difference 1   B better 5",
        "A preferred in 3 of 8 decided: 38 %",
        "95 % interval 9 % to 76 %, p = 0.727",
    )
