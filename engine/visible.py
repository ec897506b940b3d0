"""Foreign text made safe to show: what a terminal would obey is seen instead.

Whatever a file says (a speaker's name, a run's, a prompt, a path) is foreign. Standard library
only.
"""

from __future__ import annotations

import unicodedata

PICTURES = 0x2400
"""Unicode's pictures of the 32 control characters: ␛ is that of escape."""
LOST = "\N{REPLACEMENT CHARACTER}"
TURNS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional classes of the marks that make text read in another order than it stands."""


def visible(text: str) -> str:
    """The text on one line, as many characters long, with nothing in it that a terminal obeys.

    White space becomes a space, a control character its picture, and �, what could not be
    printed at all or would turn the direction of writing. Joiners of letters become a space.
    """
    return text if text.isprintable() else "".join(map(_seen, text))


def lines(text: str) -> str:
    """The same, its line ends kept."""
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))


def _seen(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    code = ord(character)
    if code < 0x20:
        return chr(PICTURES + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    kind, turn = unicodedata.category(character), unicodedata.bidirectional(character)
    return " " if kind in ("Cf", "Zs") and turn not in TURNS else LOST
