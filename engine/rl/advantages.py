"""From rewards to advantages, and from those to weights.

A failed rollout's advantage and weight are 0, and it moves no statistic.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import torch
from torch import Tensor

KEPT = 64
"""Rewards remembered for one prompt, for the per-prompt statistics."""
ENOUGH = 8
"""A prompt with fewer remembered rewards uses the batch's own statistics."""


def standardised(reward: Tensor, of: Tensor) -> Tensor:
    """(reward - mean(of)) / std(of); zeros where `of` has no spread, so ties give 0."""
    spread = of.std(unbiased=False) if len(of) else of.new_zeros(())
    if spread < 1e-6 * of.abs().max().clamp(min=1.0) if len(of) else True:
        return torch.zeros_like(reward)
    return (reward - of.mean()) / spread


class PromptStatistics:
    """Rewards each prompt has had, as DDPO tracks them (arXiv:2305.13301, appendix)."""

    def __init__(self) -> None:
        self.seen: dict[str, deque[float]] = {}

    def remember(self, prompt: str, rewards: Tensor) -> Tensor:
        """Adds the rewards of one prompt; returns all that is remembered of it."""
        kept = self.seen.setdefault(prompt, deque(maxlen=KEPT))
        kept.extend(rewards.tolist())
        return rewards.new_tensor(list(kept))

    def state(self) -> dict[str, list[float]]:
        return {prompt: list(kept) for prompt, kept in self.seen.items()}

    def restore(self, state: dict[str, list[float]]) -> None:
        self.seen = {prompt: deque(kept, maxlen=KEPT) for prompt, kept in state.items()}


def advantages(
    kind: Literal["raw", "batch", "per_prompt", "group"],
    reward: Tensor,
    valid: Tensor,
    prompts: tuple[str, ...],
    group: int,
    statistics: PromptStatistics,
) -> Tensor:
    """Rewards (B,) -> advantages (B,); 0 where not valid.

    - raw: the reward itself.
    - batch: (r - mean) / std over the valid rows of the batch.
    - per_prompt: the same over every reward this prompt has had, once there are `ENOUGH`.
    - group: the same over the valid rows of its group; invariant to r -> a r + b, a > 0.
    """
    out = torch.zeros_like(reward)
    if kind == "raw":
        return torch.where(valid, reward, out)
    good = valid.nonzero().flatten()
    if kind == "batch":
        out[good] = standardised(reward[good], reward[good])
    elif kind == "group":
        for start in range(0, len(reward), group):
            rows = good[(good >= start) & (good < start + group)]
            out[rows] = standardised(reward[rows], reward[rows])
    else:
        for prompt in dict.fromkeys(prompts):
            rows = good[[prompts[int(i)] == prompt for i in good]]
            past = statistics.remember(prompt, reward[rows])
            out[rows] = standardised(reward[rows], past if len(past) >= ENOUGH else reward[good])
    return out


def softmax_weights(advantage: Tensor, valid: Tensor, alpha: float) -> Tensor:
    """N softmax(alpha A) over the N valid rows; (B,), above 0 with mean 1, and 0 where not valid.

    alpha is the inverse temperature. Around alpha = 0 a weight is 1 + alpha (A - mean A).
    """
    weights = (alpha * advantage).masked_fill(~valid, -torch.inf).softmax(0)
    return torch.where(valid, valid.sum() * weights, 0.0)


def scaled_weights(advantage: Tensor, valid: Tensor, alpha: float) -> Tensor:
    """alpha A; (B,), 0 where not valid."""
    return torch.where(valid, alpha * advantage, 0.0)
