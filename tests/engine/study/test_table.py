from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from engine.messages import Column, Interval
from engine.study.table import Row, Sheet, Table, change, fold, markdown, shown

MOS, WER = Column("mos", "MOS 1-5"), Column("wer", "share of words", higher_is_better=False)
START = Sheet({"mos": (2.0, 3.0, 4.0), "wer": (0.5, 0.5, 0.5)})
ABOUT = {
    "command": "dlpo-tui study a --out b",
    "machines": ["one core"],
    "reward": {"base": "mos", "up": "mos"},
    "prompts": ["One.", "Two.", "Three."],
    "speaker": "anna",
    "noise_seed": 1,
    "timesteps": 10,
}


def moved(mos: tuple[float | None, ...], wer: float = 0.5, **facts: float) -> Sheet:
    return Sheet({"mos": mos, "wer": (wer,) * 3}, **facts)  # type: ignore[arg-type]


def folded(methods: dict[str, dict[int, Sheet]]) -> tuple[Row, ...]:
    return fold(START, methods, "base", ("mos", "wer"))


def table(methods: dict[str, dict[int, Sheet]], *notices: str) -> Table:
    return Table((MOS, WER), folded(methods), ABOUT, notices)


def test_the_start_comes_first_with_its_own_interval_and_no_difference() -> None:
    (start,) = folded({})
    assert (start.name, start.seeds) == ("base", ())
    mean = start.cells["mos"].mean
    assert mean is not None
    # t(0.975, 2) = 4.303, s = 1, n = 3
    assert mean.mean == 3.0
    assert mean.high - mean.mean == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert start.cells["mos"].difference is None


def test_a_difference_is_paired_before_its_interval() -> None:
    _, row = folded({"up": {0: moved((2.9, 4.0, 5.1))}})
    cell = row.cells["mos"]
    assert cell.mean is not None
    assert cell.mean.mean == pytest.approx(4.0)
    # differences 0.9, 1.0, 1.1: mean 1, s = 0.1
    difference = cell.difference
    assert difference is not None
    assert difference.mean == pytest.approx(1.0)
    assert difference.high - difference.mean == pytest.approx(0.1 * 4.303 / math.sqrt(3), rel=1e-3)
    assert cell.over_seeds == Interval(difference.mean, difference.mean, difference.mean, 1)


def test_seeds_are_pooled_prompt_by_prompt() -> None:
    _, row = folded({"up": {3: moved((3.0, 3.0, 4.0)), 1: moved((2.0, 5.0, 4.0))}})
    cell = row.cells["mos"]
    # means over the seeds 2.5, 4, 4; differences 0.5, 1, 0: mean 0.5, s = 0.5
    assert row.seeds == (1, 3)
    assert cell.mean is not None
    assert cell.mean.mean == pytest.approx(3.5)
    assert cell.difference is not None
    assert (cell.difference.mean, cell.difference.count) == (pytest.approx(0.5), 3)
    half = cell.difference.high - 0.5
    assert half == pytest.approx(0.5 * 4.303 / math.sqrt(3), rel=1e-3)
    assert cell.by_seed == {1: pytest.approx(11 / 3), 3: pytest.approx(10 / 3)}
    # over seeds: 1/3 and 2/3: mean 0.5, s = sqrt(2)/6, t(0.975, 1) = 12.706
    assert cell.over_seeds is not None
    assert (cell.over_seeds.mean, cell.over_seeds.count) == (pytest.approx(0.5), 2)
    half = cell.over_seeds.high - 0.5
    assert half == pytest.approx(12.706 * (math.sqrt(2) / 6) / math.sqrt(2), rel=1e-3)


def test_the_intervals_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    before = [1.3, 2.4, 2.2, 3.1, 1.9, 2.8]
    seeds = [[1.9, 2.6, 2.1, 3.9, 2.0, 3.3], [1.1, 2.9, 2.7, 3.3, 2.5, 3.0]]
    start = Sheet({"mos": tuple(before)})
    sheets = {at: Sheet({"mos": tuple(values)}) for at, values in enumerate(seeds)}
    _, row = fold(start, {"up": sheets}, "base", ["mos"])
    pooled = [sum(pair) / 2 for pair in zip(*seeds, strict=True)]
    for told, values in (
        (row.cells["mos"].mean, pooled),
        (row.cells["mos"].difference, [a - b for a, b in zip(pooled, before, strict=True)]),
    ):
        mean, error = sum(values) / 6, stats.sem(values)
        low, high = stats.t.interval(0.95, 5, loc=mean, scale=error)
        assert told == Interval(
            pytest.approx(mean), pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3), 6
        )


def test_a_score_that_failed_counts_in_no_mean() -> None:
    _, row = folded({"up": {0: moved((None, 4.0, 5.0)), 1: moved((None, 4.0, None))}})
    cell = row.cells["mos"]
    assert cell.mean is not None
    assert (cell.mean.mean, cell.mean.count) == (4.5, 2)
    assert cell.difference == Interval(1.0, 1.0, 1.0, 2)
    assert cell.by_seed == {0: 4.5, 1: 4.0}
    _, row = folded({"up": {0: moved((None, None, None))}})
    assert row.cells["mos"].mean is row.cells["mos"].difference is None
    assert row.cells["mos"].by_seed == {0: None}


def test_a_method_of_which_no_run_finished_is_an_empty_row() -> None:
    _, lost = folded({"lost": {}})
    assert lost.seeds == ()
    assert lost.cells["mos"].mean is None
    told = markdown(table({"lost": {}}, "lost-0 failed: the disk is full"))
    assert "| `lost` | – | – | – | – | – | – |" in told
    assert "- lost-0 failed: the disk is full" in told


def test_costs_are_means_over_seeds_and_alarms_their_sum() -> None:
    one, two = (moved((2.0, 3.0, 4.0), updates=9, minutes=m, alarms=a) for m, a in ((1, 2), (3, 0)))
    _, row = folded({"up": {0: one, 1: two}})
    assert (row.updates, row.minutes, row.alarms) == (9, 2.0, 2)
    assert "| `up` | 2 | 9 | 2.0 | 2 |" in markdown(table({"up": {0: one, 1: two}}))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Interval(0.2, 0.1, 0.3, 4), "**+0.20** (+0.10 to +0.30)"),
        (Interval(-0.2, -0.3, -0.1, 4), "**-0.20** (-0.30 to -0.10)"),
        (Interval(0.2, -0.1, 0.5, 4), "+0.20 (-0.10 to +0.50)"),
        (Interval(0.2, 0.0, 0.4, 4), "+0.20 (+0.00 to +0.40)"),
        (Interval(0.2, 0.2, 0.2, 1), "+0.20"),
        (None, "–"),
    ],
)
def test_only_a_sure_difference_is_bold(value: Interval | None, told: str) -> None:
    assert change(value, 2) == told


def test_the_page_shows_what_is_known_and_what_made_it() -> None:
    sheets = {0: moved((2.9, 4.0, 5.1), wer=0.4), 1: moved((2.9, 4.0, 5.1), wer=0.4)}
    page = markdown(table({"up": sheets}))
    assert "| | seeds | updates | minutes | alarms | mos ↑ | wer ↓ |" in page
    assert "| `up` | **+1.00** (+0.75 to +1.25) | **-0.10** (-0.10 to -0.10) |" in page
    assert "- 3 held-out prompts, speaker anna, noise of seed 1, 10 timesteps" in page
    assert "- reward: mos\n- run on: one core\n\n    dlpo-tui study a --out b\n" in page
    assert "The same over seeds" in page
    assert "one of 2:" in page
    alone = markdown(table({"up": {0: sheets[0]}}))
    assert "The same over seeds" not in alone
    assert "Difference to" not in markdown(table({}))
    other = replace(table({"up": sheets}), about={**ABOUT, "reward": {"a": "mos", "b": "wer"}})
    assert "- reward: mos of a\n- reward: wer of b\n" in markdown(other)


def test_json_holds_every_number_and_no_nan() -> None:
    told = table({"up": {0: moved((2.9, 4.0, None))}, "lost": {}}).plain()
    again = json.loads(json.dumps(told, allow_nan=False))
    assert [row["name"] for row in again["methods"]] == ["base", "up", "lost"]
    assert again["command"] == ABOUT["command"]
    score = again["methods"][1]["scores"]["mos"]
    assert score["difference"]["count"] == 2
    assert score["by_seed"] == {"0": pytest.approx(3.45)}
    assert score["significant"] is True
    assert score["significant_over_seeds"] is False
    assert again["methods"][2]["scores"]["mos"]["mean"] is None


def test_parts_of_a_score_stand_in_the_json_alone() -> None:
    names = ("nisqa", "nisqa_noisiness", "whisper_wer", "clipping", "loudness")
    columns = [Column(name, "") for name in names]
    assert [column.name for column in shown(columns)] == ["nisqa", "whisper_wer", "loudness"]
