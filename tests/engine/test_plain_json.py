from __future__ import annotations

import json

import pytest

from engine import plain_json


def test_a_line_escapes_what_cannot_be_printed_and_nothing_else() -> None:
    told = {"é\x1b": "日本 😀 \x7f\x9b\u202e\ud800\n", "n": [1, 0.5, None, True]}
    line = plain_json.line(told)
    assert json.loads(line) == told
    assert line == (
        '{"é\\u001b": "日本 😀 \\u007f\\u009b\\u202e\\ud800\\n", "n": [1, 0.5, null, true]}'
    )


def test_a_character_beyond_the_first_plane_is_escaped_as_two_halves() -> None:
    assert plain_json.line("\U000e0001") == '"\\udb40\\udc01"'


def test_nan_is_refused_where_it_may_not_be() -> None:
    assert plain_json.line(float("nan")) == "NaN"
    with pytest.raises(ValueError, match="JSON"):
        plain_json.line(float("nan"), allow_nan=False)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a":' * 100_000, b"\xff", "9" * 5000, ""])
def test_what_cannot_be_read_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        plain_json.parse(text)
