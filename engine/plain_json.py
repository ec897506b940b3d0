"""JSON from files that anybody may have written, and for terminals that obey what they read.

Standard library only.
"""

from __future__ import annotations

import json
from typing import Any


def parse(text: str | bytes) -> Any:
    """What the text says; ValueError, one sentence, also where it nests too deep to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests deeper than can be read") from None


def line(value: object, allow_nan: bool = True) -> str:
    """One line of JSON: letters of every script as they are, what cannot be printed escaped.

    `json.dumps` leaves DEL, the C1 controls, marks that turn the direction of writing, and halves
    of surrogate pairs as they are; the last cannot even be encoded.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=allow_nan)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
