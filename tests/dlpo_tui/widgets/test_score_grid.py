"""The grid of scores: as few rows as fit, aligned, never wider than it may be."""

from __future__ import annotations

import pytest
from rich.text import Text

from dlpo_tui.widgets.score_grid import Parts, grid


def parts(*words: str) -> Parts:
    name, value, unit, change = map(Text, words)
    return name, value, unit, change


SCORES = [
    parts("reward", "4.400", "", "+1.200"),
    parts("wer", "0.060", "share", "-0.040"),
    parts("loudness", "-23.0", "LUFS", ""),
]


@pytest.mark.parametrize(
    ("width", "rows"),
    [
        (90, ["reward 4.400 +1.200    wer 0.060 share -0.040    loudness -23.0 LUFS"]),
        (54, ["reward   4.400      +1.200  wer 0.060 share -0.040", "loudness -23.0 LUFS"]),
        (30, ["reward   4.400       +1.200", "wer      0.060 share -0.040", "loudness -23.0 LUFS"]),
    ],
)
def test_rows(width: int, rows: list[str]) -> None:
    told = [row.plain for row in grid(SCORES, width)]
    assert [" ".join(row.split()) for row in told] == [" ".join(row.split()) for row in rows]
    assert all(len(row) <= width for row in told)


def test_numbers_of_a_column_end_together() -> None:
    told = [row.plain for row in grid(SCORES, 30)]
    assert [
        row.index(value) + len(value)
        for row, value in zip(told, ("4.400", "0.060", "-23.0"), strict=True)
    ] == [14] * 3
    assert told[0].endswith("+1.200")
    assert len(told[0]) == len(told[1])


@pytest.mark.parametrize("width", range(1, 40))
def test_what_is_too_wide_is_cut(width: int) -> None:
    assert all(row.cell_len <= width for row in grid(SCORES, width))
