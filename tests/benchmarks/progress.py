"""What a long benchmark says on stderr while its result is not there yet."""

from __future__ import annotations

import sys
import time

EVERY_SECONDS = 5.0


class Lines:
    """Call it with (done, total, what), as often as you like: a line now and then."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.last = self.began - EVERY_SECONDS

    def __call__(self, done: int, total: int, at: str) -> None:
        now = time.perf_counter()
        if now - self.last >= EVERY_SECONDS:
            self.last = now
            say(f"{now - self.began:6.0f} s {100 * done / max(total, 1):4.0f} %  {at}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
