"""What of its rows a forward pass of the update sees: all of each, or a window of it.

An update's loss is a sum over audio samples, so a window drawn at random estimates its gradient
without bias, at the window's cost: a clip is laid out in pieces of equal length, one is drawn
with the probability of its share of the clip, and its samples weigh the inverse of that share.
The network sees the piece with as many frames around it as its output depends on, so what it
gives there is what it gives in the whole clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.device import generator
from engine.diffusion.sampler import ragged, trimmed
from engine.types import HOP, Conditioning


@dataclass(frozen=True, slots=True)
class View:
    """n rows of a batch, each from its own first frame on."""

    begins: tuple[int, ...]
    """(n,) first frame that is seen of each row."""
    part: Conditioning
    """(n, C, M) conditioning of what is seen."""
    weight: Tensor
    """(n, S) of each audio sample in a sum over its row's: over a row they add up to the
    samples that the whole row has. 0 around the window and in the padding."""
    frames: Tensor | None
    """(n,) real frames seen, where they differ; else None."""

    def cut(self, x: Tensor, rows: Sequence[int], at: Sequence[int]) -> Tensor:
        """(len(rows), S) of x (B, S): row `rows[i]`, as the view's `at[i]`-th is seen."""
        length = self.weight.shape[-1]
        if not any(self.begins):
            return x[list(rows), :length]
        starts = [self.begins[i] * HOP for i in at]
        parts = [x[r, s : s + length] for r, s in zip(rows, starts, strict=True)]
        return torch.stack([F.pad(part, (0, length - len(part))) for part in parts])


def whole(conditioning: Conditioning, rows: list[int], frames: tuple[int, ...]) -> View:
    """All of each of these rows of B."""
    part = trimmed(conditioning, rows, frames)
    told = part.frames if ragged(rows, frames) else None
    return View((0,) * len(rows), part, part.mask, told)


def windows(
    conditioning: Conditioning,
    rows: list[int],
    frames: tuple[int, ...],
    size: int,
    reach: int,
    names: Sequence[tuple[int | str, ...]],
) -> View:
    """A window of about `size` frames of each of these rows of B.

    Args:
        conditioning: of all B rows.
        rows: n of them.
        frames: (B,) real frames.
        size: frames a window has at most.
        reach: frames on each side that the network's output depends on.
        names: (n,) what the draw of each row's window is named by (`engine.device.generator`).
    """
    drawn = [piece(frames[row], size, name) for row, name in zip(rows, names, strict=True)]
    begins = tuple(max(first - reach, 0) for first, _ in drawn)
    ends = [min(last + reach, frames[r]) for r, (_, last) in zip(rows, drawn, strict=True)]
    seen = [end - begin for begin, end in zip(begins, ends, strict=True)]
    longest, device = max(seen), conditioning.cond.device
    cond = conditioning.cond.new_zeros(len(rows), conditioning.cond.shape[1], longest)
    weight = torch.zeros(len(rows), longest * HOP, device=device)
    for i, (row, begin, end) in enumerate(zip(rows, begins, ends, strict=True)):
        cond[i, :, : end - begin] = conditioning.cond[row, :, begin:end]
        first, last = drawn[i]
        inside = slice((first - begin) * HOP, (last - begin) * HOP)
        weight[i, inside] = frames[row] / (last - first)
    part = Conditioning(cond, torch.tensor(seen, device=device))
    return View(begins, part, weight, part.frames if len(set(seen)) > 1 else None)


def piece(frames: int, size: int, name: tuple[int | str, ...]) -> tuple[int, int]:
    """First frame and end of the piece that a frame drawn by name lies in.

    The pieces are as few as may be and of equal length but for one frame.
    """
    count = -(-frames // size)
    drawn = int(torch.randint(frames, (1,), generator=generator(*name)))
    ends = [frames * i // count for i in range(count + 1)]
    at = next(i for i in range(count) if drawn < ends[i + 1])
    return ends[at], ends[at + 1]
