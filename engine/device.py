"""Device, precision, and random numbers by identity."""

from __future__ import annotations

import hashlib
import os

import torch
from torch import Tensor

from engine.profile import DeviceSpec, ProfileError


def choose_device(spec: DeviceSpec) -> torch.device:
    """The device a profile names; ProfileError, one sentence, where it is not there."""
    if spec.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(spec.device)
    except RuntimeError:
        device = torch.device("meta")  # refused below, with every other kind
    if device.type not in ("cpu", "cuda"):
        raise ProfileError(
            f"device.device = {spec.device!r} is no device this program runs on; "
            "write auto, cpu, cuda or cuda:1"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ProfileError(
            f"device.device = {spec.device!r}, but this machine shows {count} CUDA devices; "
            "write device.device = 'auto' to run on what is there"
        )
    return device


def choose_dtype(spec: DeviceSpec, device: torch.device) -> torch.dtype | None:
    """The autocast type inside the network; None: fp32."""
    if spec.precision == "bf16":
        return torch.bfloat16
    if spec.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return None


def set_threads(spec: DeviceSpec, beside: int = 1) -> None:
    """The profile's threads, or this process's share of the cores, which `beside` such have."""
    torch.set_num_threads(spec.threads or max((os.cpu_count() or 1) // beside, 1))


def generator(*identity: int | str) -> torch.Generator:
    """A CPU generator seeded by what the numbers are for, such as (session, update, row, t).

    Every process that names the same identity draws the same numbers, so ranks agree and a
    resumed session goes on as if it had never stopped.
    """
    digest = hashlib.blake2b(repr(identity).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def noise(length: int, *identity: int | str) -> Tensor:
    """(length,) standard normal numbers, fp32 on the CPU, by identity."""
    return torch.randn(length, generator=generator(*identity))
