"""The algorithms. Each is a loss at one timestep: (StepTerms, Knobs) -> (B,).

They differ only in what weighs the ratio and what they add to it, so read them side by side.
Each acts on every rollout alone: no mean over B inside, which is why the size
of a microbatch can never change a result. docs/algorithms.md lays them out in one table.

rho, KL and log p are in the ratio form's unit (StepTerms.unit), never in nats: over a clip of
60,000 audio samples a KL of hundreds of nats would stand against an advantage of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from engine.messages import Knobs
from engine.rl.advantages import scaled_weights, softmax_weights
from engine.types import StepTerms

T = TypeVar("T")

Need: TypeAlias = Literal["kl", "penalty", "log_prob", "reward"]
Penalty: TypeAlias = Literal["reward", "loss", "both"]


def surrogate(terms: StepTerms, weight: Tensor, knobs: Knobs) -> Tensor:
    """PPO's clipped surrogate, max(-w rho, -w clip(rho)) (Schulman et al. 2017, eq. 7).

    At theta_old the ratio is 1 and the gradient is REINFORCE's, -w grad log p; it is zero
    exactly where the ratio left the range on the side that the sign of w asks for.
    """
    ratio = terms.log_ratio.exp()
    clipped = ratio.clamp(1 - knobs.clip_range, 1 + knobs.clip_range)
    return torch.maximum(-weight * ratio, -weight * clipped)


def ddpo(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """DDPO: w = alpha A (Black et al. 2023, arXiv:2305.13301, eq. 5)."""
    return surrogate(terms, knobs.alpha * terms.advantage, knobs)


def dlpo(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """DLPO: w = alpha A - beta l (Chen et al. 2025, arXiv:2508.03123).

    l, the model's own training loss, acts in one of three modes. reward: inside w, without a
    gradient of its own. loss: as a regulariser beside the surrogate, + beta l. both: inside w
    with its gradient, which by the product rule is the sum of the two at theta_old.
    """
    loss = knobs.beta * given(terms.penalty)
    if penalty == "loss":
        return surrogate(terms, knobs.alpha * terms.advantage, knobs) + loss
    inside = loss.detach() if penalty == "reward" else loss
    return surrogate(terms, knobs.alpha * terms.advantage - inside, knobs)


def onlydl(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """OnlyDL: w = -beta l, which is DLPO at alpha = 0 (arXiv:2508.03123): no reward at all."""
    return dlpo(terms, replace(knobs, alpha=0.0), penalty)


def dpok(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """DPOK: w = alpha A, and + beta KL(theta || reference) (Fan et al. 2023, arXiv:2305.16381).

    With KL and log p in one unit, alpha A against beta is the trade-off of the formula in nats.
    Under group advantages this is also Flow-GRPO's loss (Liu et al. 2025, arXiv:2505.05470).
    """
    return ddpo(terms, knobs) + knobs.beta * given(terms.kl)


def klinr(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """KLinR: w = alpha A - beta KL, the KL without a gradient (arXiv:2508.03123)."""
    inside = knobs.beta * given(terms.kl).detach()
    return surrogate(terms, knobs.alpha * terms.advantage - inside, knobs)


def rwr(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """RWR: -w log p, no ratio and no clip (Peters and Schaal 2007; arXiv:2305.13301, section 4).

    w comes whole from the row's `weigh`, alpha inside.
    """
    return -terms.advantage * given(terms.log_prob)


def draft(terms: StepTerms, knobs: Knobs, penalty: Penalty = "both") -> Tensor:
    """DRaFT: -alpha r by the reward's own gradient, and + beta l (Clark et al., arXiv:2309.17400).

    The objective is DLPO's, alpha E[r] - beta l, its gradient taken through the chain instead of
    from the scores' values: no advantage, no ratio, and thousands of times less variance. l is
    what holds the voice, as in DLPO; its mode is always that of a term of the loss.
    """
    return knobs.beta * given(terms.penalty) - knobs.alpha * given(terms.reward)


def given(term: T | None) -> T:
    if term is None:
        raise ValueError("a term this algorithm uses is missing from its `needs`")
    return term


@dataclass(frozen=True, slots=True)
class Algorithm:
    name: str
    loss: Callable[[StepTerms, Knobs, Penalty], Tensor]
    needs: frozenset[Need] = frozenset()
    """Terms that cost something, so an algorithm pays only for what it uses."""
    weigh: Callable[[Tensor, Tensor, float], Tensor] | None = None
    """(advantage (B,), valid (B,), alpha) -> weight (B,), for weights that need the whole batch;
    they take the advantage's place in `StepTerms`. None: the loss itself applies alpha."""


ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm("dlpo", dlpo, frozenset({"penalty"})),
        Algorithm("ddpo", ddpo),
        Algorithm("onlydl", onlydl, frozenset({"penalty"})),
        Algorithm("dpok", dpok, frozenset({"kl"})),
        Algorithm("klinr", klinr, frozenset({"kl"})),
        Algorithm("rwr", rwr, frozenset({"log_prob"}), softmax_weights),
        Algorithm("rwr_raw", rwr, frozenset({"log_prob"}), scaled_weights),
        Algorithm("draft", draft, frozenset({"penalty", "reward"})),
    )
}
