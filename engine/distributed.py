"""Ranks: the processes that share a session, and what passes between them.

One process is the usual case, in which everything here is the identity. It shares out numbers of
rows and passes values and gradients round; it knows nothing of sessions, models or rewards.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.profile import DistributedSpec, ProfileError

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others, who may have longer clips or a slower disk."""


class RankLost(Exception):
    """Another process of the session is gone; what this one did since the last update is lost."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among those that share a session. By default it is alone.

    Every method but `share` and `own` is a collective: all ranks call it, in the same order, or
    all of them wait. Errors: RankLost where one of them is gone.
    """

    rank: int = 0
    """Rank 0 leads: it journals, saves, and hears commands."""
    count: int = 1
    local: int = 0
    """Its place on its own machine, which picks its device."""
    beside: int = 1
    """How many share its machine."""
    nccl: bool = False
    """Whether gradients go from GPU to GPU; else through the CPU."""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, rows: int, group: int = 1) -> range:
        """This rank's of so many rows; whole groups, as evenly as they go, in order of rank."""
        groups = rows // group
        first, last = (groups * at // self.count for at in (self.rank, self.rank + 1))
        return range(first * group, last * group)

    def own(self, device: torch.device) -> torch.device:
        """This rank's of the devices of a kind; several share one where there are too few."""
        if self.count == 1 or device.type != "cuda":
            return device
        device = torch.device("cuda", self.local % torch.cuda.device_count())
        torch.cuda.set_device(device)
        return device

    def agree(self, value: T) -> T:
        """Rank 0's value, on every rank; what another rank passes is not read."""
        if self.count == 1:
            return value
        told = [value if self.leads else None]
        with together():
            dist.broadcast_object_list(told, src=0)
        return told[0]  # type: ignore[return-value]  # now rank 0's

    def gather(self, value: T) -> list[T]:
        """Every rank's value, by rank. A tensor in it lies on the CPU."""
        if self.count == 1:
            return [value]
        told: list[T | None] = [None] * self.count
        with together():
            dist.all_gather_object(told, value)
        return told  # type: ignore[return-value]  # now all filled

    def rows(self, own: Tensor) -> Tensor:
        """Every rank's rows (b, ...) one after the other, (B, ...), on this one's device."""
        if self.count == 1:
            return own
        return torch.cat(self.gather(own.detach().cpu())).to(own.device)

    def every(self, so: bool) -> bool:
        """Whether it is so on every rank."""
        return all(self.gather(so))

    def mean(self, value: float, weight: float) -> float:
        """Mean of every rank's value, by weight."""
        if self.count == 1:
            return value
        told = self.gather((value * weight, weight))
        return sum(product for product, _ in told) / sum(part for _, part in told)

    def add(self, weights: Sequence[nn.Parameter]) -> None:
        """Replaces each gradient by its sum over the ranks; all of them get the same bits.

        One flat tensor after the last backward pass, and no DistributedDataParallel. The loss of a
        rank is already its part of one mean over the whole batch, so parts are summed and not
        averaged; a rank whose clips all failed has no backward pass, in which DDP's hooks would
        wait for ever; `eps` is called from two functions and never through a wrapper's forward;
        and DDP hides the transfer behind the last backward pass only, which is one of
        K B / microbatch.
        """
        if self.count == 1:
            return
        like = weights[0]
        used = like.new_tensor([weight.grad is not None for weight in weights])
        grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        flat = torch.cat([*(grad.flatten() for grad in grads), used])
        if not self.nccl:
            flat = flat.cpu()
        with together():
            dist.all_reduce(flat)
        sizes = [weight.numel() for weight in weights]
        *parts, used = flat.to(like.device).split([*sizes, len(sizes)])
        for weight, part, by in zip(weights, parts, used.tolist(), strict=True):
            weight.grad = part.view_as(weight) if by else None  # as alone: not touched, not stepped

    def leave(self) -> None:
        """Waits for the others; after it nothing here may be called, and the process ends."""
        if self.count > 1:
            with suppress(RankLost):
                self.gather(None)


ALONE = Ranks()


@contextmanager
def together() -> Iterator[None]:
    """Around a collective: one of the ranks being gone is told by an exception of its own."""
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's errors
        raise RankLost(f"a process of the session is gone ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def backend(spec: DistributedSpec, device: torch.device) -> Literal["nccl", "gloo"]:
    """What carries gradients: nccl between GPUs unless the profile says gloo."""
    if spec.backend != "auto":
        return spec.backend
    return "nccl" if device.type == "cuda" else "gloo"


def check(spec: DistributedSpec, device: torch.device) -> None:
    """Refuses more devices than this machine has, and a backend that cannot join them.

    `device` is what the profile names. Errors: ProfileError, one sentence.
    """
    if spec.devices == 1:
        return
    one: int | None = device.index
    if one is not None:
        raise ProfileError(
            f"device.device = '{device}' is one device, and distributed.devices = {spec.devices} "
            f"takes one each: write device.device = '{device.type}' or 'auto'"
        )
    if backend(spec, device) == "gloo":
        return
    shown = torch.cuda.device_count() if device.type == "cuda" else 0
    if spec.devices > shown:
        fewer = f"distributed.devices = {shown} or " if shown else ""
        raise ProfileError(
            f"distributed.devices = {spec.devices} needs as many GPUs with nccl, and this session "
            f"has {shown} (device.device = '{device}'): write {fewer}distributed.backend = 'gloo'"
        )


def check_share(rows: int, group: int, count: int) -> None:
    """Refuses ranks that would have nothing to roll out; ProfileError, one sentence."""
    if rows // group < count:
        raise ProfileError(
            f"{count} processes share {rows // group} groups of rollouts, and each needs one: "
            f"raise rollout.batch to {count * group} or more, or start fewer"
        )


def join(spec: DistributedSpec, device: torch.device, meet: str = "env://") -> Ranks:
    """Meets the other ranks, as torchrun's environment (RANK, WORLD_SIZE, ...) names them.

    Values and commands always go through gloo on the CPU: that notices at once where a process
    is gone, and never waits for a GPU. `meet` is torch.distributed's init_method.
    """
    rank, count = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    if count == 1:
        return ALONE
    local, beside = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    nccl = backend(spec, device) == "nccl"
    with together():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if nccl else "gloo", init_method=meet, timeout=PATIENCE,
            rank=rank, world_size=count,
        )  # fmt: skip
    return Ranks(rank, count, local, beside, nccl)


def named(ranks: Ranks, device: torch.device) -> str:
    """The devices of a session in a word, such as "2 x cuda"."""
    return str(device) if ranks.count == 1 else f"{ranks.count} x {device.type}"
