"""A blind preference test: its order, its answers, and what they amount to. Standard library only.

Knows neither sound nor screen.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from engine.messages import Interval

Voice: TypeAlias = Literal["A", "B"]
Choice: TypeAlias = Literal["A", "B", ""]
"""The voice that was preferred; empty: neither."""

Z_975 = 1.959963984540054
"""Standard normal, 97.5 % quantile."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One prompt by both voices, whose names the listener does not know."""

    prompt: int
    x: Voice
    """The voice that is called X; the other one is Y."""

    def voice(self, label: Literal["X", "Y"]) -> Voice:
        if label == "X":
            return self.x
        return "B" if self.x == "A" else "A"


def trials(prompts: int, seed: int) -> tuple[Trial, ...]:
    """Every prompt once, in an order and with labels drawn by `seed`; each label by itself."""
    dice = random.Random(f"blind {seed}")
    order = list(range(prompts))
    dice.shuffle(order)
    return tuple(Trial(prompt, dice.choice(("A", "B"))) for prompt in order)


@dataclass(frozen=True, slots=True)
class Preference:
    """A listener's answers."""

    trials: tuple[Trial, ...]
    """In the order in which they were heard."""
    answers: tuple[Choice, ...]
    """One for each of the first trials; fewer than trials where the test was ended early."""
    seed: int
    """Of the order."""

    def count(self, choice: Choice) -> int:
        return self.answers.count(choice)

    @property
    def decided(self) -> int:
        """Answers that prefer a voice."""
        return self.count("A") + self.count("B")

    @property
    def share(self) -> Interval | None:
        """Share of B among the decided, with Wilson's 95 % interval; None where there is none."""
        return wilson(self.count("B"), self.decided) if self.decided else None

    @property
    def p_value(self) -> float | None:
        """Of the exact two-sided sign test of "neither is preferred"; None without a decision."""
        return sign_test(self.count("B"), self.decided) if self.decided else None

    def plain(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """As JSON holds it; `texts` are the prompts."""
        share = self.share
        answered = zip(self.trials, self.answers, strict=False)
        return {
            "order_seed": self.seed,
            "trials": len(self.trials),
            "answered": len(self.answers),
            "preferred": {"a": self.count("A"), "neither": self.count(""), "b": self.count("B")},
            "share_b": share and {"mean": share.mean, "low": share.low, "high": share.high},
            "p_value": self.p_value,
            "answers": [
                {
                    "prompt": trial.prompt,
                    "text": texts[trial.prompt],
                    "x": trial.x,
                    "preferred": answer or "neither",
                }
                for trial, answer in answered
            ],
        }


def wilson(successes: int, count: int, z: float = Z_975) -> Interval:
    """A share with its score interval (Wilson 1927); never outside [0, 1], even of 0 or all.

    centre = (p + z^2 / 2n) / (1 + z^2 / n),
    half = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    Errors: ValueError unless 0 <= successes <= count and count > 0.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"{successes} of {count} is no share")
    p, squared = successes / count, z * z / count
    centre = (p + squared / 2) / (1 + squared)
    half = z * math.sqrt(p * (1 - p) / count + squared / (4 * count)) / (1 + squared)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == count else centre + half
    return Interval(p, low, high, count)


def sign_test(successes: int, count: int) -> float:
    """Probability of a split at least this uneven where both sides are equally likely.

    Exact and two-sided: min(1, 2 P(X <= min(k, n - k))), X ~ Binomial(n, 1/2).

    Errors: ValueError unless 0 <= successes <= count and count > 0.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"{successes} of {count} is no split")
    fewer = min(successes, count - successes)
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    return min(1.0, tail / 2.0 ** (count - 1))
