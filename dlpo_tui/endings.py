"""Ends that come from outside: a process that is told to go, a terminal that is closed."""

from __future__ import annotations

import os
import signal
import stat
import termios

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a session in a saved state, as a wish to quit does."""


def heeded() -> tuple[signal.Signals, ...]:
    """Those of `ENDINGS` that the process was not started to ignore: nohup has SIGHUP ignored."""
    return tuple(n for n in ENDINGS if signal.getsignal(n) is not signal.SIG_IGN)


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
