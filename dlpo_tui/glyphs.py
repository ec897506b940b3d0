"""ASCII for terminals and readers that have nothing else: every finished line, cell for cell."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

SIGNS = {
    "─╍╌┄┅┈┉╺╴╶▔": "-",
    "━═╸": "=",  # the part of a bar that is done
    "│┃┊┋┆┇║▏▎▍▌▐▕": "|",
    "┌┐└┘╭╮╰╯┏┓┗┛├┤┬┴┼╔╗╚╝╠╣╦╩╬": "+",
    "▲△▴↑": "^",
    "▼▽▾↓": "v",
    "▶▸►›→♪": ">",
    "◀◂◄‹←": "<",
    "●•◆■": "o",
    "○◦◇□": ".",
    "▁▂▃·": ".",
    "▄▅": "=",
    "▆▇█▀▉▊▋▒▓": "#",
    "░": ":",
    "–—−‐‑": "-",
    "‘’′": "'",
    "“”„″": '"',
    "…": "~",
    "±≈": "~",
    "×✕✗": "x",
    "✓✔": "+",
    "⌫⏎": "<",
}
BRAILLE = 0x2800
UPPER = 0x01 | 0x08 | 0x02 | 0x10
"""The dots of a braille cell's upper half."""


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """The text in ASCII, as many cells wide."""
    return text if text.isascii() else "".join(map(ascii_of, text))


@lru_cache(maxsize=4096)
def ascii_of(character: str) -> str:
    """What stands for one character: as many ASCII characters as it has cells."""
    if character.isascii():
        return character
    for signs, sign in SIGNS.items():
        if character in signs:
            return sign
    bits = ord(character) - BRAILLE
    if 0 <= bits < 256:
        return braille(bits)
    width = cell_len(character)
    letters = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii())
    return (letters if len(letters) == width else "?" * width) if width else ""


def braille(bits: int) -> str:
    """A curve's cell: where its dots lie, or a star where they are many."""
    if not bits:
        return " "
    if bits.bit_count() > 4:
        return "*"
    if not bits & ~UPPER:
        return "'"
    return ":" if bits & UPPER else "."


class Ascii(LineFilter):
    """Applied to every line of every widget, Textual's own as well."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(plain(text), style, control) for text, style, control in segments]
