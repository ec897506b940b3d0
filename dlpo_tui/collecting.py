"""Python's collector of garbage, kept off what stays for good."""

from __future__ import annotations

import gc


def spare_what_is_loaded() -> None:
    """Exempts every object that exists now from collections.

    The libraries under a session are a third of a million objects. A collection that looks at
    all of them, which opening a page may set off, holds the interpreter for half a second on a
    laptop's core, and with it every key. What of them is garbage already stays until the end.
    """
    gc.freeze()
