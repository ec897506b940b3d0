"""How a title tells a value."""

from __future__ import annotations

import math

import pytest

from dlpo_tui.widgets.series import Series, Wording


@pytest.mark.parametrize(
    ("at", "index"), [(None, 3), (-1, -1), (0, 0), (9, 0), (10, 1), (29, 2), (30, 3), (99, 3)]
)
def test_the_point_told_is_the_last_at_or_before(at: int | None, index: int) -> None:
    assert Series("x", [0, 10, 20, 30], [1.0] * 4).index(at) == index


def test_a_value_and_its_interval() -> None:
    series = Series(
        "wer", [0], [0.1], [0.05], [0.15], wording=Wording("decimals", 3, "share", interval=True)
    )
    assert series.told(0) == "0.100 ±0.050 share"
    assert series.told(0, brief=True) == "0.100 ±0.050"


def test_a_stacked_share_is_what_it_adds() -> None:
    series = Series("clip", [0], [0.3], [0.1], [0.3], shape="area", wording=Wording("percent", 1))
    assert series.told(0) == "20.0%"


def test_what_is_no_number_is_told_in_words() -> None:
    series = Series("x", [0, 1, 2], [None, math.nan, -math.inf], wording=Wording(missing="failed"))
    assert [series.told(i) for i in range(3)] == ["failed", "not finite", "not finite"]
    assert (series.told(-1), Series("x", [], []).told(-1)) == ("–", "")
