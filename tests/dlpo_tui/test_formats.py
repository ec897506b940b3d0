from __future__ import annotations

import math

import pytest
from rich.cells import cell_len
from rich.text import Text

from dlpo_tui import formats


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (0.0, "0.000"),
        (3.4, "3.400"),
        (-12.3456, "-12.35"),
        (1234.5, "1234"),
        (1e-5, "1.00e-05"),
        (5e7, "5.00e+07"),
    ],
)
def test_number(value: float | None, told: str) -> None:
    assert formats.number(value) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float, told: str) -> None:
    assert formats.duration(seconds) == told


@pytest.mark.parametrize("text", ["", "short", "a rather long sentence", "日本語の長い文章です"])
@pytest.mark.parametrize("width", [0, 1, 2, 3, 5, 10, 40])
def test_nothing_is_wider_than_its_place(text: str, width: int) -> None:
    for made in (formats.shortened(text, width), formats.squeezed(text, width)):
        assert cell_len(made) <= width
        assert made == text or "…" in made or width == 0


def test_a_squeezed_path_keeps_its_name() -> None:
    made = formats.squeezed("the clip is at runs/quickstart/samples/update-000012-03.flac", 40)
    assert made.startswith("the clip")
    assert made.endswith("update-000012-03.flac")


def test_foreign_text_stays_on_its_line() -> None:
    assert formats.plain("a\nb\tc\x1b[31md") == "a b c␛[31md"


@pytest.mark.parametrize("width", [0, 3, 8, 20, 60])
def test_spread_fills_the_width_and_keeps_the_right(width: int) -> None:
    line = formats.spread(Text("left part of it"), Text("right"), width)
    assert line.cell_len == width
    assert line.plain.endswith("right" if width >= 5 else "…" if width else "")


def test_joined_takes_whole_parts_only() -> None:
    parts = [Text("one"), Text("two"), Text("three")]
    assert formats.joined(parts, 8).plain == "one  two"
    assert formats.joined(parts, 7).plain == "one"
    assert formats.joined(parts, 2).plain == ""


@pytest.mark.parametrize(
    ("amount", "told"),
    [(0, "0 MB"), (6.4e8, "640 MB"), (9.96e8, "1.0 GB"), (1.24e9, "1.2 GB"), (2.31e10, "23 GB")],
)
def test_an_amount_of_memory(amount: float, told: str) -> None:
    assert formats.size(amount) == told
