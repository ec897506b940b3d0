"""What a training keeps on disk: all of it to resume, or little of it to go on elsewhere.

Knows no step, no data and no loss. Safetensors only; every file is whole or not there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine import checkpoint, optimizer_state
from engine.checkpoint import Card
from engine.files import replacing
from engine.model.wavegrad2 import WaveGrad2
from engine.supervised.objective import MelHead

SPEAKERS = "speaker_embedding.weight"
OTHER_SIZES = (
    "is the state of a voice of other sizes or speakers; choose another folder "
    "(--out), or the profile and corpora it was begun with"
)


def write(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer | None,
    metadata: dict[str, str],
) -> None:
    """Everything that resuming bit for bit needs, in the precision it has.

    Moments are not rounded: AdamW divides by the root of the second, and a training resumed
    from rounded ones is another training. `write_compact` is for where a file must be small.
    """
    tensors = {f"{name}.{k}": v for name, m in modules.items() for k, v in m.state_dict().items()}
    if optimizer is not None:
        moments = optimizer_state.tensors_of(optimizer)
        tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of what `write` wrote; ValueError, one sentence, where it is broken."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no whole state of a training ({error}); remove it to begin anew, or choose "
            "another folder (--out)"
        ) from None


@dataclass(frozen=True, slots=True)
class Told:
    """How far a training has come, as the metadata of its state says."""

    step: int
    seconds: float
    front_end_steps: int
    front_end_seconds: float

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Told:
        """ValueError or KeyError where it is not said, or is no count."""
        steps = int(metadata["step"]), int(metadata.get("front_end_steps", 0))
        spent = float(metadata["seconds"]), float(metadata.get("front_end_seconds", 0.0))
        if not all(0 <= value < 10**12 for value in (*steps, *spent)):  # NaN is in no order
            raise ValueError("a count that cannot be")
        return cls(steps[0], spent[0], steps[1], spent[1])


def restore(path: Path, modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Puts weights back; ValueError, one sentence, where they are of other sizes."""
    try:
        for name, module in modules.items():
            module.load_state_dict(part(tensors, f"{name}."))
    except RuntimeError:
        raise ValueError(f"{path} {OTHER_SIZES}") from None


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


# --- going on elsewhere


@dataclass(frozen=True, slots=True)
class Start:
    """What a training begins from."""

    average: WaveGrad2
    model: WaveGrad2
    head: dict[str, Tensor]
    """Weights of the log-mel head; empty where the file has none."""


def write_compact(
    path: Path, average: WaveGrad2, model: WaveGrad2, head: MelHead, card: Card
) -> None:
    """A voice in fp16 with the weights and the head of its training beside it, no moments.

    A training goes on from it (`start`), with a new optimiser.
    """
    beside = {f"training.model.{k}": v for k, v in model.state_dict().items()}
    beside |= {f"training.head.{k}": v for k, v in head.state_dict().items()}
    with replacing(path) as temporary:
        checkpoint.save(temporary, average, card, torch.float16)
        metadata, tensors = read(temporary)
        tensors |= {
            k: (v.half() if v.is_floating_point() else v).detach().cpu().contiguous()
            for k, v in beside.items()
        }
        save_file(tensors, temporary, metadata)


def begin_from(path: Path, speakers: int) -> Start:
    """A voice, or what `write_compact` wrote, with its speakers spread out to so many.

    Whoever is new starts as the last. Errors: CheckpointError, one sentence.
    """
    card, tensors = checkpoint.read(path)
    config = replace(card.config, speakers=speakers)
    beside = part(tensors, "training.")
    voice = {k: v for k, v in tensors.items() if not k.startswith("training.")}

    def spread(weights: dict[str, Tensor]) -> WaveGrad2:
        if SPEAKERS in weights:
            old = weights[SPEAKERS]
            rows = torch.arange(speakers).clamp(max=len(old) - 1)
            weights = {**weights, SPEAKERS: old[rows]}
        return checkpoint.fitted(path, config, weights)

    average, own = spread(voice), part(beside, "model.")
    model = spread(own) if own else copy.deepcopy(average)
    return Start(average, model, {k: v.float() for k, v in part(beside, "head.").items()})
