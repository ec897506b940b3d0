"""The C library's memory, kept by the process between two tensors."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Numbers of glibc's mallopt(3)."""


def keep_memory() -> bool:
    """Has freed memory kept for the next tensor instead of given back; True where that is done.

    glibc maps each large tensor anew, so that every page of it is cleared first: a fifth of a
    rollout's time on a CPU. Threads other than the main one have small heaps of their own, which
    makes it worse, so all share one. To be called before such threads allocate. The process holds
    its peak until it ends. Without glibc nothing is changed.
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        wishes = ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))
        return all([mallopt(name, value) == 1 for name, value in wishes])
    return False


def give_back() -> None:
    """Gives the system what no tensor holds; it comes again as it is needed. glibc alone."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
