from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from engine.rewards.patience import MOST_HUNG, Patience, TooSlow

ONE = torch.ones(1)


@pytest.fixture
def asleep() -> Iterator[threading.Event]:
    """Set at the end, so that no thread of a test outlives it."""
    event = threading.Event()
    yield event
    event.set()


def test_what_is_in_time_is_the_models_own_answer_or_error() -> None:
    patience = Patience(30.0)
    assert patience.ask("made", lambda: 2 * ONE) == 2

    def broken() -> Tensor:
        raise TimeoutError("the licence server is silent")

    with pytest.raises(TimeoutError, match="licence server"):
        patience.ask("made", broken)
    patience.close()


def test_all_of_it_is_asked_in_one_thread_which_ends() -> None:
    patience, threads = Patience(30.0), []

    def note() -> Tensor:
        threads.append(threading.current_thread())
        return ONE

    patience.ask("made", note)
    patience.ask("other", note)
    assert threads[0] is threads[1] is not threading.current_thread()
    patience.close()
    threads[0].join(30)
    assert not threads[0].is_alive()


def test_without_a_limit_it_is_asked_here() -> None:
    threads = []
    Patience().ask("made", lambda: threads.append(threading.current_thread()) or ONE)  # type: ignore[func-returns-value]
    assert threads == [threading.current_thread()]


def test_no_gradients_are_kept_there_either() -> None:
    patience, weight = Patience(30.0), torch.ones(1, requires_grad=True)
    assert not patience.ask("made", lambda: 2 * weight).requires_grad
    patience.close()


def test_what_hangs_is_left_behind_and_the_next_call_is_served(asleep: threading.Event) -> None:
    patience = Patience(0.05)
    with pytest.raises(TooSlow, match=r"longer than reward.patience_seconds = 0.05 s"):
        patience.ask("made", lambda: asleep.wait() and ONE)  # type: ignore[return-value]
    patience.seconds = 30.0
    assert patience.ask("made", lambda: ONE) == 1
    patience.close()


def test_a_model_whose_calls_all_hang_is_asked_no_more_until_one_returns(
    asleep: threading.Event,
) -> None:
    patience, asked = Patience(0.05), 0
    threads: list[threading.Thread] = []

    def hang() -> Tensor:
        nonlocal asked
        asked += 1
        threads.append(threading.current_thread())
        asleep.wait()
        return ONE

    for _ in range(MOST_HUNG + 2):
        with pytest.raises(TooSlow):
            patience.ask("made", hang)
    assert asked == MOST_HUNG
    with pytest.raises(TooSlow, match="4 calls of it still hang, so it is not asked again"):
        patience.ask("made", hang)
    patience.seconds = 30.0
    assert patience.ask("other", lambda: ONE) == 1
    asleep.set()
    for thread in threads:
        thread.join(30)
    assert patience.ask("made", lambda: ONE) == 1
    patience.close()
