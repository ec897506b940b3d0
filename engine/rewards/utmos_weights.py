"""UTMOS22-strong's file of weights: where it lies, whether it is whole, how it comes here.

It is only ever read as plain tensors. Knows nothing of the network that they make.
"""

from __future__ import annotations

import contextlib
import os
import urllib.request
from pathlib import Path

import platformdirs
import safetensors.torch
import torch
from torch import Tensor

from engine.files import replacing
from engine.rewards import weights
from engine.rewards.weights import WeightsError, WeightsFile

NAME = "utmos22_strong_step7459_v1.pt"
FILE = WeightsFile(
    "utmos",
    NAME,
    f"https://github.com/tarepan/SpeechMOS/releases/download/v1.0.0/{NAME}",
    411_179_119,
    "38aa51ab79e2a4e09a1449758a4b37e9cbb2e8235a49662a732d33a9ba1e9bff",
)
"""The published file, the same for every release of SpeechMOS. The authors state no SHA-256:
this is what the copies of the file in use elsewhere are pinned to."""

VARIABLE = "DLPO_TUI_UTMOS"
"""Environment variable: a path of the weights that goes before the data folder."""


def missing() -> str:
    """Why there is no UTMOS here, in one sentence; empty where its weights are.

    Does not read them: a file of the right size may still turn out to be damaged.
    """
    try:
        path()
    except WeightsError as error:
        return str(error)
    return ""


def path() -> Path:
    """What `DLPO_TUI_UTMOS` names, else the file in the user's data folder.

    There, a safetensors copy under the published names goes before the published file.

    Raises:
        WeightsError: no such file, or the published one is cut short.
    """
    named = os.environ.get(VARIABLE)
    published = _published_path()
    choices = (
        [Path(named).expanduser()] if named else [published.with_suffix(".safetensors"), published]
    )
    for choice in choices:
        if choice.is_file():
            if choice.name == FILE.name:
                weights.check_size(choice, FILE)
            return choice
    if named:
        raise WeightsError(
            f"{VARIABLE} names {named} as UTMOS's weights, and there is no such file"
        )
    raise WeightsError(
        f"UTMOS has no weights here; fetch them ({FILE.megabytes}) with: {weights.command(FILE)}, "
        f"or put {FILE.name} from {FILE.address} into the folder {published.parent}"
    )


def fetch(
    source: Path | None,
    on_progress: weights.Progress,
    file: WeightsFile | None = None,
    handler: urllib.request.BaseHandler | None = None,
) -> Path:
    """The weights in the user's data folder, as safetensors; returns where.

    `source` is the published file, where the user has it already; else it is downloaded, and
    `handler` is as for `weights.fetch`. Either way it has to be `file`, or else `FILE`.

    Raises:
        WeightsError: it cannot be had or kept, or is another file.
    """
    file, published = file or FILE, _published_path()
    target = published.with_suffix(".safetensors")
    if source is not None:
        weights.check(source, file)
        return _convert(source, target, file)
    if _whole(target):
        return target
    if published.is_file() and published.stat().st_size == file.size_bytes:
        weights.check(published, file)  # What a user put there stays there.
        return _convert(published, target, file)
    weights.fetch(file, published, on_progress, handler)
    _convert(published, target, file)
    published.unlink()
    return target


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; runs no code that a pickle may carry.

    Raises:
        WeightsError: damaged, or not such a file; one that is called like the published file
            has to be that file.
    """
    if path.name == FILE.name:
        _check_once(path)
    return _tensors(path)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        state = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # Foreign bytes fail in as many ways as there are formats.
        raise WeightsError(
            f"{path} cannot be read as plain tensors ({type(error).__name__}): it is damaged, "
            "or not a file of weights"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and tensor.dtype == torch.float32
        for name, tensor in state.items()
    ):
        raise WeightsError(f"{path} holds other things than named float32 tensors")
    return state


def _published_path() -> Path:
    return platformdirs.user_data_path("dlpo-tui") / FILE.name


def _whole(copy: Path) -> bool:
    """Whether a safetensors file is there and as long as its header says."""
    try:
        with safetensors.safe_open(copy, "pt"):
            return True
    except (OSError, safetensors.SafetensorError):
        return False


def _convert(source: Path, target: Path, file: WeightsFile) -> Path:
    """Writes the safetensors copy of a file that was checked; returns where."""
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(source).items()}
    origin = {"source": file.address, "sha256": file.sha256, "licence": "MIT"}
    try:
        with replacing(target) as temporary:
            safetensors.torch.save_file(tensors, temporary, origin)
    except (OSError, safetensors.SafetensorError) as error:
        raise weights.unwritable(file, target, error) from error
    return target


def _check_once(path: Path) -> None:
    """Refuses a file that is not the published one, byte for byte.

    Read in full only the first time: a small file beside it says which one was good.
    """
    stat = path.stat()
    marker = path.with_name(f"{path.name}.checked")
    good = f"{FILE.sha256} {stat.st_size} {stat.st_mtime_ns}\n".encode()
    if marker.is_file() and marker.read_bytes() == good:
        return
    weights.check(path, FILE)
    # Where nobody may write, it is read in full every time.
    with contextlib.suppress(OSError), replacing(marker) as temporary:
        temporary.write_bytes(good)
