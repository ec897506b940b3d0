"""Memory of the machine or of its GPU: what is held, what is free, and errors that lack it."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch

from engine.allocator import give_back

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""What errors of other classes say where memory was what they lacked."""


class Memory(Protocol):
    """Where a pass of the network has its tensors."""

    def free(self) -> float:
        """Bytes that this process may still take."""

    def most(self, work: Callable[[], None]) -> float:
        """Bytes held at the height of `work`, beyond those held before it."""


class CardMemory:
    """A CUDA device's."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def free(self) -> float:
        give_back_memory(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return float(torch.cuda.mem_get_info(self.device)[0] + kept)

    def most(self, work: Callable[[], None]) -> float:
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        work()
        torch.cuda.synchronize(self.device)
        return float(torch.cuda.max_memory_allocated(self.device) - before)


class ProcessMemory:
    """This process's on Linux, by what the kernel counts: pages that were touched.

    Errors: OSError where the kernel does not let it count anew.
    """

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self.proc, self.groups = proc, groups
        self.count_anew()

    def free(self) -> float:
        give_back()
        machine = self.counted(self.proc / "meminfo", "MemAvailable:")
        return float(max(min([machine, *self.left()]), 0))

    def left(self) -> list[int]:
        """What the process's control groups leave it, as far as they limit it."""
        left = []
        for line in (self.proc / "self" / "cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            base = self.groups / "memory" if kinds else self.groups  # version 1 names its kinds
            names = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                if kinds
                else ("memory.max", "memory.current", "inactive_file")
            )
            for folder in (base / path.strip("/"), base):  # in a container only the second is seen
                with suppress(OSError, ValueError):
                    limit, used = (int((folder / name).read_text()) for name in names[:2])
                    cache = self.counted(folder / "memory.stat", names[2], 1)
                    left.append(limit - used + cache)
                    break
        return left

    def most(self, work: Callable[[], None]) -> float:
        give_back()
        self.count_anew()
        before = self.counted(self.proc / "self" / "status", "VmRSS:")
        work()
        return float(max(self.counted(self.proc / "self" / "status", "VmHWM:") - before, 0))

    def count_anew(self) -> None:
        (self.proc / "self" / "clear_refs").write_text("5")

    @staticmethod
    def counted(path: Path, name: str, unit: int = 1024) -> int:
        """The number behind `name` in a file of names and numbers, bytes."""
        rows = (line.split() for line in path.read_text().splitlines())
        return next((int(row[1]) * unit for row in rows if row and row[0] == name), 0)


def memory_of(device: torch.device) -> Memory | None:
    """The device's memory; None where it cannot be measured."""
    if device.type == "cuda":
        return CardMemory(device)
    with suppress(OSError):
        return ProcessMemory()
    return None


def peak_memory(device: torch.device) -> float:
    """Most memory held so far, bytes: by this process on a CPU, by the allocator on CUDA."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of its GPU, did not suffice."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(told in str(error) for told in OUT_OF_MEMORY)


def give_back_memory(device: torch.device) -> None:
    """Lets the GPU's allocator give back what no tensor holds, so that it is not in pieces."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
