from __future__ import annotations

import pytest

from engine.visible import lines, visible


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Naïve 日本 😀", "Naïve 日本 😀"),
        ("\x1b[31mred\x07", "␛[31mred␇"),
        ("a\x00b\x7f", "a␀b␡"),
        ("a\tb\nc\r\x0b\x0c\u2028\u2029\x85\xa0", "a b c       "),
        ("\x9b2J", "�2J"),
        ("\u202eabc\u2066", "�abc�"),
        ("\ud800", "�"),
        ("\u200d\u200f\ufeff\xad", "    "),
        ("\ue000\U0010ffff", "��"),
    ],
)
def test_what_a_terminal_would_obey_is_seen(text: str, seen: str) -> None:
    assert visible(text) == seen
    assert len(seen) == len(text)


def test_line_ends_may_be_kept() -> None:
    assert lines("a\x1b\nb\r\n") == "a␛\nb \n"
