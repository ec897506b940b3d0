"""What this machine has for a session: hardware, packages, weights, the bundled voice, the disk.

Looks and says; mends nothing. Knows nothing of terminals and sound.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from engine import checkpoint
from engine.checkpoint import CheckpointError
from engine.device import choose_dtype
from engine.files import sha256_of
from engine.profile import DeviceSpec
from engine.rewards import registry

PROJECT = "dlpo-tui"
OPTIONAL = {"sounddevice": "plays clips", "pocketsphinx": "aligns a corpus for prepare"}
"""Of the packages that come with the project, those that a session does without."""

WEIGHTS_MODULE = {
    "nisqa": "engine.rewards.nisqa",
    "utmos": "engine.rewards.utmos_weights",
    "whisper": "engine.rewards.whisper",
}
"""Score model whose weights are files of their own -> the module whose `path()` finds them."""

LITTLE_DISK_GB, LEAST_DISK_GB = 2.0, 0.2
"""A full-size session's clips and checkpoints; a quickstart session's."""

PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """Stable, such as gpu or score.utmos."""
    state: Literal["ok", "note", "missing"]
    told: str
    """What there is, in a few words."""
    mend: str = ""
    """What to do, one sentence; empty where it is ok."""
    needed: bool = False
    """Whether a session cannot do without it."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The same as plain data."""

    @property
    def broken(self) -> bool:
        return self.needed and self.state == "missing"


def look(device: torch.device, runs: Path) -> Iterator[Finding]:
    """Everything that needs no measuring, in the order of reading."""
    yield python()
    yield cpu()
    yield gpu(device)
    yield precision(device)
    yield from packages(requirements())
    for name in registry.SCORE_MODELS:
        yield score_model(name)
    yield bundled_voice()
    yield disk(runs)


def python() -> Finding:
    version = platform.python_version()
    system = f"{platform.system()} {platform.machine()}"
    fine = sys.version_info >= PYTHON
    return Finding(
        "python",
        "ok" if fine else "missing",
        f"Python {version}, {system}",
        "" if fine else "install Python 3.11 or newer",
        needed=True,
        values={"version": version, "system": system},
    )


def cpu() -> Finding:
    """Model, cores that this process may use, threads that torch takes."""
    model, cores = cpu_model(), usable_cores()
    threads = torch.get_num_threads()
    told = f"{model}, {cores} cores, {threads} used by torch"
    values = {"model": model, "cores": cores, "threads": threads}
    if threads < cores:
        mend = f"torch takes {threads} of {cores} cores; unset OMP_NUM_THREADS to use them all"
        return Finding("cpu", "note", told, mend, values=values)
    return Finding("cpu", "ok", told, values=values)


def cpu_model(info: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name; what the platform says where it has no such file."""
    text = info.read_text(errors="replace") if info.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu(device: torch.device) -> Finding:
    """CUDA devices with memory and compute capability; the driver; which one is chosen."""
    driver, cards = driver_version(), cuda_devices()
    values = {"devices": cards, "driver": driver, "torch_cuda": torch.version.cuda,
              "chosen": str(device)}  # fmt: skip
    if cards:
        names = "; ".join(
            f"{c['name']}, {c['memory_gb']:.0f} GB, compute {c['compute_capability']}"
            for c in cards
        )
        told = f"{names}; driver {driver or 'unknown'}, CUDA {torch.version.cuda}"
        return Finding("gpu", "ok", told, values=values)
    if driver:
        why = "was built without CUDA" if torch.version.cuda is None else "finds no device"
        mend = (
            f"torch {torch.__version__} {why}, and there is an NVIDIA driver {driver}: install a "
            "torch for it (make CONSTRAINTS= run), or look what CUDA_VISIBLE_DEVICES hides"
        )
        return Finding("gpu", "note", f"driver {driver}, not usable", mend, values=values)
    mend = "sessions run on the CPU; profiles for a full-size voice want a CUDA device"
    return Finding("gpu", "note", "none", mend, values=values)


def cuda_devices() -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        {
            "name": card.name,
            "memory_gb": round(card.total_memory / 1e9, 1),
            "compute_capability": f"{card.major}.{card.minor}",
        }
        for card in found
    ]


def driver_version(info: Path = Path("/proc/driver/nvidia/version")) -> str:
    """NVIDIA's driver, such as 550.54.15; empty where there is none, or where it does not say."""
    text = info.read_text(errors="replace") if info.is_file() else ""
    found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    return found[0] if found else ""


def precision(device: torch.device) -> Finding:
    """What `device.precision = "auto"` comes to on the chosen device."""
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    auto = "bf16" if choose_dtype(DeviceSpec(), device) else "fp32"
    why = "bf16 is there" if bf16 else "bf16 is taken on a GPU that has it"
    values = {"device": str(device), "auto": auto, "bf16": bf16}
    return Finding("precision", "ok", f"{auto} on {device} ({why})", values=values)


def requirements() -> list[tuple[str, str]]:
    """(package, extra) of all that the project asks for but its development tools."""
    try:
        lines = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        name = re.match(r"[\w.-]+", line)
        if name and (extra is None or extra[1] != "dev"):
            found.append((name[0], extra[1] if extra else ""))
    return found


def packages(asked: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """One finding for all that a session needs, then one for each that is optional."""
    if not asked:
        yield Finding(
            "packages", "note", f"torch {torch.__version__}; {PROJECT} is not installed",
            "run `make run`, or `pip install -e .`, in the project's folder",
        )  # fmt: skip
    needed = [name for name, extra in asked if not extra and name not in OPTIONAL]
    absent = [name for name in needed if not version(name)]
    if needed:
        yield Finding(
            "packages",
            "missing" if absent else "ok",
            f"torch {torch.__version__}; {len(needed) - len(absent)} of {len(needed)} needed",
            f"pip install {' '.join(absent)}" if absent else "",
            needed=True,
            values={name: version(name) for name in needed},
        )
    for name, extra in asked:
        if name in needed:
            continue
        use = OPTIONAL.get(name, f"extra {extra}")
        found = version(name)
        mend = f"pip install {name}" if not extra else f"pip install '{PROJECT}[{extra}]'"
        yield Finding(
            f"package.{name}",
            "ok" if found else "missing",
            f"{found or 'not installed'}: {use}",
            "" if found else mend,
            values={"version": found, "use": use},
        )


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def score_model(name: str) -> Finding:
    """Whether a score can be had here, and where its weights are."""
    columns, why = registry.MODEL_COLUMNS[name], registry.missing(name)
    where = "not here" if why else weights(name)
    shown = ", ".join(columns) if len(columns) < 3 else f"{columns[0]} and {len(columns) - 1} more"
    told = f"{shown}: {where}"
    values = {"columns": list(columns), "available": not why, "weights": None if why else where}
    return Finding(f"score.{name}", "missing" if why else "ok", told, why, values=values)


def weights(name: str) -> str:
    """Where the weights of a score model that can be had lie."""
    if name in WEIGHTS_MODULE:
        return str(importlib.import_module(WEIGHTS_MODULE[name]).path())
    package = next(iter(registry.PACKAGES.get(name, ())), "")
    return f"in the package {package}" if package else "needs no weights"


def bundled_voice(path: Path = checkpoint.BUNDLED) -> Finding:
    """The voice in the package: whether it is whole, and the one its card describes."""
    mend = "install the project again, or fetch engine/voices anew: git checkout engine/voices"
    try:
        card, tensors = checkpoint.read(path)
    except CheckpointError as error:
        return Finding("voice", "missing", str(error), mend, needed=True)
    size, digest = path.stat().st_size, sha256_of(path)
    told = re.search(r"SHA-256\W+([0-9a-f]{64})", read_text(path.with_suffix(".md")))
    values = {
        "bytes": size,
        "parameters": sum(t.numel() for t in tensors.values() if t.is_floating_point()),
        "speakers": list(card.speakers),
        "sample_rate": card.config.sample_rate,
        "sha256": digest,
        "digest_ok": told is not None and told[1] == digest,
    }
    known = f"bundled: {size / 1e6:.1f} MB, speakers {', '.join(card.speakers)}, digest "
    if told is None:
        mend = f"write the row `| SHA-256 | {digest} |` into its card"
        return Finding("voice", "note", known + "not in its card", mend, values=values)
    if told[1] != digest:
        return Finding("voice", "missing", known + "not its card's", mend, True, values)
    return Finding("voice", "ok", known + "ok", needed=True, values=values)


def read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def disk(runs: Path) -> Finding:
    """Free space where runs go, and whether a file can be written there."""
    here = runs.resolve()
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free / 1e9
    told = f"{free:.1f} GB free in {here}"
    values = {"folder": str(runs), "free_gb": round(free, 2), "writable": True}
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        mend = f"start in a folder of yours, or name one: --set runs=FOLDER ({error.strerror})"
        values["writable"] = False
        return Finding("disk", "missing", f"{here} cannot be written", mend, True, values)
    mend = "a session keeps clips and checkpoints: make room, or --set train.samples_every=10"
    if free < LEAST_DISK_GB:
        return Finding("disk", "missing", told, mend, True, values)
    if free < LITTLE_DISK_GB:
        return Finding("disk", "note", told, mend, True, values)
    return Finding("disk", "ok", told, needed=True, values=values)
