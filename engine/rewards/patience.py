"""How long a score model is waited for: its calls run in a thread that can be left behind.

Knows no model and no clip. A call that hangs cannot be ended, only abandoned.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeAlias

import torch
from torch import Tensor

MOST_HUNG = 4
"""Calls of one model that may hang at once; then it is asked no more until one comes back."""

Job: TypeAlias = "tuple[Future[Tensor], Callable[[], Tensor]]"


class TooSlow(Exception):
    """A model that was not waited for; its message ends a sentence that names the model."""


class Patience:
    """Waits so many seconds for each call; 0: however long, and in the caller's own thread."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._jobs: SimpleQueue[Job | None] | None = None
        self._hung: dict[str, list[Future[Tensor]]] = defaultdict(list)

    def ask(self, name: str, call: Callable[[], Tensor]) -> Tensor:
        """What the call returns, computed without gradients, or what it raises.

        Raises:
            TooSlow: it took longer, or too many calls of this name hang already.
        """
        if not self.seconds:
            return call()
        hung = self._hung[name] = [one for one in self._hung[name] if not one.done()]
        if len(hung) >= MOST_HUNG:
            raise TooSlow(f"{len(hung)} calls of it still hang, so it is not asked again")
        answer: Future[Tensor] = Future()
        self._worker().put((answer, call))
        try:
            return answer.result(self.seconds)
        except TimeoutError:
            if answer.done():  # the model's own
                raise
            hung.append(answer)
            self.close()  # the thread ends when the call does; the next call has its own
            raise TooSlow(
                f"it took longer than reward.patience_seconds = {self.seconds:g} s"
            ) from None

    def close(self) -> None:
        """Lets the thread end; what hangs in it is left behind."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None

    def _worker(self) -> SimpleQueue[Job | None]:
        if self._jobs is None:
            self._jobs = SimpleQueue()
            # A daemon: a model that hangs must not keep the process alive.
            threading.Thread(target=work, args=(self._jobs,), name="scores", daemon=True).start()
        return self._jobs


@torch.no_grad()
def work(jobs: SimpleQueue[Job | None]) -> None:
    """Answers one call after the other; whether gradients are kept is each thread's own choice."""
    while job := jobs.get():
        answer, call = job
        try:
            answer.set_result(call())
        except BaseException as error:  # whoever asked is told
            answer.set_exception(error)
        del job, answer, call  # the clips in them are not held until the next ones come
