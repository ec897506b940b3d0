"""The command line in a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PATIENCE_SECONDS = 60.0


class Terminal:
    """A command line in a pseudo-terminal of 100 x 24."""

    def __init__(
        self, *arguments: str, before: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        """`before`: Python to run first, such as what breaks something."""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        code = f"{before}\nfrom dlpo_tui.cli import main; main()"
        where = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={
                **os.environ,
                "PYTHONPATH": where,
                "TERM": "xterm-256color",
                "OMP_NUM_THREADS": "1",
                **(environment or {}),
            },
        )
        os.close(slave)
        self.seen = ""

    def until(self, told: str) -> None:
        """Reads until the terminal has shown a text."""
        while told not in self.plain():
            try:
                data = os.read(self.master, 65536)
            except OSError:  # Linux ends a pseudo-terminal with an error
                raise AssertionError(self.plain()) from None
            self.seen += data.decode(errors="replace")

    def until_so(self, so: Callable[[], bool]) -> None:
        """Reads what comes until something outside the terminal is so."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not so():
            assert time.monotonic() < until, self.plain()
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += os.read(self.master, 65536).decode(errors="replace")

    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Reads to the end; the exit code."""
        try:
            while data := os.read(self.master, 65536):
                self.seen += data.decode(errors="replace")
        except OSError:
            pass  # Linux ends a pseudo-terminal with an error
        os.close(self.master)
        return self.process.wait(60)


def breaking(told: str) -> str:
    """Python after which the screens' answer line fails at a sentence."""
    return f"""
from dlpo_tui.widgets.answer import Answer
say = Answer.say
def fail(self, told):
    if {told!r} in told:
        raise RuntimeError("a widget is broken")
    say(self, told)
Answer.say = fail
"""
