"""Ends that come from outside: a process that is told to go, a terminal that is closed."""

from __future__ import annotations

import os
import signal

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a session in a saved state, as a wish to quit does."""


def forget_terminal() -> None:
    """Whatever is still to be said goes nowhere: writing to a closed terminal is an error."""
    with open(os.devnull, "wb") as nothing:
        for descriptor in (1, 2):
            os.dup2(nothing.fileno(), descriptor)
