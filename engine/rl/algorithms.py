"""The algorithms. Each is a loss at one timestep: (StepTerms, Knobs) -> (B,).

They differ only in what they add to the surrogate, so read them side by side.
Each acts on every rollout alone: no mean over B inside, which is why the size
of a microbatch can never change a result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from engine.messages import Knobs
from engine.types import StepTerms

T = TypeVar("T")

Need: TypeAlias = Literal["kl", "penalty"]
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


def given(term: T | None) -> T:
    if term is None:
        raise ValueError("a term this algorithm uses is missing from its `needs`")
    return term


@dataclass(frozen=True, slots=True)
class Algorithm:
    name: str
    loss: Callable[[StepTerms, Knobs, Penalty], Tensor]
    needs: frozenset[Need] = frozenset()
    """Terms that cost a forward pass, so an algorithm pays only for what it uses."""


ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm("ddpo", ddpo),
        Algorithm("dlpo", dlpo, frozenset({"penalty"})),
    )
}
