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
SETTLED = 0.05
"""p value below which a preference counts as one."""
MANY = 9999
"""Pairs that nobody will hear."""


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
    dice = random.Random(f"blind {seed}")  # noqa: S311 (an order to be drawn again, no secret)
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
        """Share of A among the decided, with its exact 95 % interval; None where there is none."""
        return clopper_pearson(self.count("A"), self.decided) if self.decided else None

    @property
    def p_value(self) -> float | None:
        """Of the exact two-sided sign test of "neither is preferred"; None without a decision."""
        return sign_test(self.count("A"), self.decided) if self.decided else None

    @property
    def settled(self) -> bool:
        """Whether the split is too uneven for chance."""
        return self.p_value is not None and self.p_value < SETTLED

    @property
    def more(self) -> int | None:
        """Pairs still to be heard until it is settled, if the answers go on as they were.

        Undecided answers are taken to stay as frequent. 0 where it is settled; None where no
        number would do: an even split, or no decision.
        """
        if self.settled:
            return 0
        needed = self.decided and pairs_needed(self.count("A") / self.decided)
        if not needed:
            return None
        return math.ceil(max(needed - self.decided, 1) * len(self.answers) / self.decided)

    def lines(self) -> tuple[str, str, str, str]:
        """Counts, share, how sure, what is still needed: at most 56 characters each."""
        told = [self.count(choice) for choice in ("A", "", "B")]
        counts = "A better {}   no difference {}   B better {}".format(*told)
        share, p = self.share, self.p_value
        if share is None or p is None:
            return counts, "nobody was preferred, so there is no share to tell", "", ""
        return (
            counts,
            f"A preferred in {told[0]} of {self.decided} decided: {percent(share.mean)}",
            f"95 % interval {percent(share.low)} to {percent(share.high)}, p = {p:.3g}",
            self.still_needed(),
        )

    def still_needed(self) -> str:
        """What it takes until it is settled, if it is not."""
        more = self.more
        if more is None:
            return "an even split: no number of pairs would settle it"
        if more == 0:
            return f"settled: p < {SETTLED:g}"
        if more > MANY:
            return f"over {MANY} more pairs would settle it, if it goes on so"
        pairs = f"{more} more pair{'s' if more > 1 else ''}"
        return f"about {pairs} would settle it, if choices go on so"

    def plain(self, texts: tuple[str, ...]) -> dict[str, Any]:
        """As JSON holds it; `texts` are the prompts."""
        share = self.share
        answered = zip(self.trials, self.answers, strict=False)
        return {
            "order_seed": self.seed,
            "trials": len(self.trials),
            "answered": len(self.answers),
            "preferred": {"a": self.count("A"), "neither": self.count(""), "b": self.count("B")},
            "share_a": share and {"mean": share.mean, "low": share.low, "high": share.high},
            "p_value": self.p_value,
            "settled": self.settled,
            "more_pairs": self.more,
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


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def clopper_pearson(successes: int, count: int) -> Interval:
    """A share with its exact 95 % interval (Clopper and Pearson 1934).

    P(X >= k | low) = P(X <= k | high) = 0.025, X ~ Binomial(n, p). It leaves out a half exactly
    where `sign_test` is below 0.05, so that the two never contradict each other.

    Errors: ValueError unless 0 <= successes <= count and count > 0.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"{successes} of {count} is no share")
    low = 1.0 - highest(count - successes, count)
    return Interval(successes / count, low, highest(successes, count), count)


def highest(successes: int, count: int) -> float:
    """The largest p under which no more than so many successes still have 2.5 %; by bisection."""
    if successes == count:
        return 1.0
    ways = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        for k in range(successes + 1)
    ]
    low, high = 0.0, 1.0
    for _ in range(50):
        p = (low + high) / 2
        logs = math.log(p), math.log1p(-p)
        tail = sum(math.exp(w + k * logs[0] + (count - k) * logs[1]) for k, w in enumerate(ways))
        low, high = (p, high) if tail > 0.025 else (low, p)
    return (low + high) / 2


def sign_test(successes: int, count: int) -> float:
    """Probability of a split at least this uneven where both sides are equally likely.

    Exact and two-sided: min(1, 2 P(X <= min(k, n - k))), X ~ Binomial(n, 1/2).

    Errors: ValueError unless 0 <= successes <= count and count > 0.
    """
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"{successes} of {count} is no split")
    fewer = min(successes, count - successes)
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    whole: int = 2 ** (count - 1)  # a float overflows where there are thousands
    return min(1.0, tail / whole)


def pairs_needed(share: float) -> int | None:
    """Decisions at which a share, if it stays as it is, passes the sign test at SETTLED.

    The test's normal approximation with continuity correction, |k - n / 2| - 1/2 >= z sqrt(n) / 2
    at k = share n, solved for n with d = |share - 1/2|:
    n = ((z / 2 + sqrt(z^2 / 4 + 2 d)) / (2 d))^2, rounded up. None for a share of a half.

    Errors: ValueError unless 0 <= share <= 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{share:g} is no share")
    d = abs(share - 0.5)
    if d == 0.0:
        return None
    return math.ceil(((Z_975 / 2 + math.sqrt(Z_975**2 / 4 + 2 * d)) / (2 * d)) ** 2)
