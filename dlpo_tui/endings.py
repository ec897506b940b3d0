"""A terminal that is closed: whether it still stands, and what is said where it does not."""

from __future__ import annotations

import os
import signal
import stat
import termios


def terminal_stands(descriptor: int = 0) -> bool:
    """Whether a descriptor that is a terminal still has one behind it."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error:
        return False
    return True


def forget_terminal() -> None:
    """Whatever is still to be said goes nowhere: writing to a closed terminal is an error.

    A descriptor that is a file or a pipe goes on. (A closed terminal is no `isatty` any more.)
    The kernel and the shell both tell of one terminal's end; the second must not cut short a stop.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with open(os.devnull, "wb") as nothing:
        for descriptor in (1, 2):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nothing.fileno(), descriptor)
