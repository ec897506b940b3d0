"""Ends that come from outside: which signals stop a session in good order. Needs no torch."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine import messages as m

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a session in a saved state, as a wish to quit does."""
OF_A_PROCESS_APART = (signal.SIGINT, *ENDINGS)
"""The same, where no terminal's interrupt is the session's own to answer."""


def heeded(numbers: Sequence[signal.Signals] = ENDINGS) -> tuple[signal.Signals, ...]:
    """Those that the process was not started to ignore: nohup has SIGHUP ignored."""
    return tuple(n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN)


def obey(
    commands: SimpleQueue[m.Command], numbers: Sequence[signal.Signals] = OF_A_PROCESS_APART
) -> None:
    """From now on a signal that is heeded is a Stop."""
    from engine.messages import Stop  # here, since `--help` loads this file and no messages

    for number in heeded(numbers):
        signal.signal(number, lambda *_: commands.put(Stop()))
