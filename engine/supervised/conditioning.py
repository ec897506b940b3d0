"""The conditioning of every clip, computed once by a front end that no longer changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

from engine.model.wavegrad2 import WaveGrad2
from engine.supervised.dataset import Dataset

CLIPS_AT_ONCE = 16


@torch.no_grad()
def condition_all(
    model: WaveGrad2,
    data: Dataset,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """(F, C) every clip's conditioning on its true durations, as alone and in eval mode.

    Args:
        model: in eval mode.
        data: the clips; row i of the result belongs to frame i of all of them end to end.
        dtype: of the result; the front end itself computes in fp32.
        advance: told how many clips are done, and of how many.

    Raises:
        RuntimeError: the encoder is in training mode.
    """
    order, ends = data.by_length, tuple(accumulate(data.frame_counts))
    device = data.frames.device
    out = torch.empty(ends[-1], model.config.cond_channels, dtype=dtype, device=device)
    for i in range(0, len(order), CLIPS_AT_ONCE):
        clips = order[i : i + CLIPS_AT_ONCE]
        rows = torch.tensor(clips, device=device)
        longest = max(data.symbol_counts[clip] for clip in clips)
        found = model.condition_on(
            data.text[rows, :longest], data.lengths[rows], data.speaker[rows],
            data.durations[rows, :longest],
        )  # fmt: skip
        for row, clip in enumerate(clips):
            count = data.frame_counts[clip]
            out[ends[clip] - count : ends[clip]] = found.cond[row, :, :count].T.to(dtype)
        advance(i + len(clips), len(order))
    return out
