"""A checkpoint of maum-ai/wavegrad2 becomes a voice of ours: sizes, speakers, weights.

Knows neither pickles nor zip files: `foreign` reads, `checkpoint` writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import checkpoint, foreign
from engine.checkpoint import Card
from engine.messages import Progressing
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import parameter_count
from engine.text import SYMBOLS

SUFFIX = ".safetensors"
USUAL = frozenset({".ckpt", ".pt", ".pth", ".bin"})
"""Suffixes of checkpoints, which a voice's own takes the place of."""

SETTINGS = {
    "hop": ("window", "scale"),
    "window_frames": ("window", "length"),
    "sample_rate": ("audio", "sampling_rate"),
    "u_factors": ("wavegrad", "scale_factors"),
    "u_dilations": ("wavegrad", "upsample", "dilations"),
    "d_dilations": ("wavegrad", "downsample", "dilations"),
    "position_scale": ("ddpm", "pos_emb_scale"),
}
"""Field of `ModelConfig` -> its path in hparameter.yaml: what no weight's shape tells."""


class ConvertError(ValueError):
    """A checkpoint that is no WaveGrad 2, or a voice that cannot be written; one sentence."""


@dataclass(frozen=True, slots=True)
class Converted:
    """What a checkpoint became."""

    path: Path
    card: Card
    parameters: int
    assumed: bool
    """The file told no settings: dilations and the like are those of maum-ai's own voices."""

    def summary(self) -> str:
        size, card = size_name(self.card.config), self.card
        assumed = "; it tells no settings, maum-ai's own are assumed" if self.assumed else ""
        return (
            f"{self.path}: {size}, {self.parameters:,} parameters, "
            f"{', '.join(card.speakers)}{assumed}"
        )


def convert(
    source: Path,
    out: Path | None = None,
    *,
    speakers: Sequence[str] = (),
    force: bool = False,
    on_progress: Progressing = lambda done, total, at: None,
) -> Converted:
    """Reads `source` without running anything in it and writes a voice, whole or not at all.

    Args:
        source: a Lightning checkpoint, or a bare state_dict such as maum-ai's EMA files.
        out: a .safetensors file; beside `source` if None.
        speakers: names in the order of the embedding's rows; those the file tells if empty.
        force: what lies at `out` is replaced.
        on_progress: called with (done, total, what): MiB checked, then weights read.

    Errors: ConvertError, ForeignError or CheckpointError, one sentence.
    """
    target = check_target(source, out or default_target(source), force)
    found = foreign.read(source, on_progress)
    weights = state_dict(source, found)
    settings = found.get("hyper_parameters")
    config = infer(source, weights, settings)
    card = Card(
        config, speaker_names(source, config.speakers, speakers, settings), about(source, found)
    )
    model = checkpoint.fitted(source, config, copied(source, weights, on_progress))
    on_progress(len(weights), len(weights), f"writing {target.name}")
    checkpoint.save(target, model, card)
    return Converted(target, card, parameter_count(model), settings is None)


def default_target(source: Path) -> Path:
    """model.ckpt -> model.safetensors; another suffix belongs to the name and stays."""
    stem = source.stem if source.suffix.lower() in USUAL else source.name
    return source.with_name(stem + SUFFIX)


def check_target(source: Path, out: Path, force: bool) -> Path:
    """`out` itself, if a voice may be written there."""
    if out.suffix != SUFFIX:
        raise ConvertError(f"{out} must end in {SUFFIX}: {default_target(out)} would do")
    if out.is_dir():
        raise ConvertError(f"{out} is a folder; name a file to write")
    if out.exists() and source.exists() and out.samefile(source):
        raise ConvertError(f"{out} is the checkpoint itself; name another file to write")
    if out.exists() and not force:
        raise ConvertError(f"{out} exists already; name another file, or replace it with --force")
    return out


def state_dict(source: Path, found: dict[Any, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint that has them among others, or is nothing else.

    More bytes than the file holds, which strides of 0 can claim, are refused before any copy.
    """
    weights = found.get("state_dict", found)
    if not isinstance(weights, dict) or not weights:
        raise ConvertError(f"{source} has a state_dict without weights")
    for key, value in weights.items():
        if not (isinstance(key, str) and key.isprintable() and isinstance(value, Tensor)):
            where = "its state_dict" if "state_dict" in found else "it has no state_dict, and"
            raise ConvertError(f"{source} is no WaveGrad 2: {where} holds {str(key)[:60]!r}")
    claimed = sum(value.numel() * value.element_size() for value in weights.values())
    if claimed > source.stat().st_size:
        raise ConvertError(f"{source} claims weights of {claimed:,} bytes, more than it holds")
    return weights


def infer(source: Path, weights: dict[str, Tensor], settings: Any = None) -> ModelConfig:
    """The config that a state dict has by its shapes, and by its settings where they are told.

    Errors: ConvertError for a weight that is missing or of another rank, another symbol table,
    or sizes that fit no WaveGrad 2.
    """

    def size(key: str, axis: int) -> int:
        if key not in weights:
            raise ConvertError(f"{source} is no WaveGrad 2: it lacks the weight {key}")
        shape = tuple(weights[key].shape)
        if axis >= len(shape):
            raise ConvertError(f"{source}: {key} has shape {shape}, which no WaveGrad 2 has")
        return shape[axis]

    def levels(prefix: str) -> int:
        return len({k[len(prefix) :].split(".")[0] for k in weights if k.startswith(prefix)})

    language = foreign.dig(settings, "data", "lang") or "eng"
    check_symbols(source, size("encoder.embedding.weight", 0), language)
    double = any(".upsampling_basic_block." in key for key in weights)
    first = "first_block_main_branch.modulation.convolution"
    sizes = {
        "encoder_channels": size("encoder.embedding.weight", 1),
        "encoder_kernel": size("encoder.cnn.0.0.weight", 2),
        "encoder_layers": levels("encoder.cnn."),
        "speakers": size("speaker_embedding.weight", 0),
        "speaker_channels": size("speaker_embedding.weight", 1),
        "duration_lstm": size("resampling.duration_predictor.lstm.weight_hh_l0", 1),
        "range_lstm": size("resampling.range_parameter_predictor.lstm.weight_hh_l0", 1),
        "u_pre": size("decoder.ublock_preconv.conv1d.weight", 0),
        "u_out": [
            size(f"decoder.ublocks.{i}.{first}.conv1d.weight", 0)
            for i in range(levels("decoder.ublocks."))
        ],
        "d_pre": size("decoder.dblock_preconv.conv1d.weight", 0),
        "d_out": [
            size(f"decoder.dblocks.{i}.residual_branch.0.conv1d.weight", 0)
            for i in range(levels("decoder.dblocks."))
        ],
    }
    told = {field: foreign.dig(settings, *path) for field, path in SETTINGS.items()}
    usual = json.loads((ModelConfig.large() if double else ModelConfig.base()).to_json())
    del usual["cond_channels"]
    given = {**usual, **{field: v for field, v in told.items() if v is not None}, **sizes}
    try:
        return ModelConfig.from_json(json.dumps(given, allow_nan=False))
    except ValueError as error:
        raise ConvertError(f"{source} fits no WaveGrad 2 of this program ({error})") from None


def check_symbols(source: Path, count: int, language: str) -> None:
    """maum-ai's English table and ours are the same; its others cannot be spoken here."""
    if count != len(SYMBOLS) or language != "eng":
        raise ConvertError(
            f"{source} reads {count} symbols of the language {language!r}; this program speaks "
            f"maum-ai's English, {len(SYMBOLS)} symbols ('eng')"
        )


def speaker_names(source: Path, count: int, given: Sequence[str], settings: Any) -> tuple[str, ...]:
    """A name for each row of the speaker embedding: given, told by the file, or a number."""
    told = list(given) or foreign.dig(settings, "data", "speakers")
    if not told:
        return tuple(f"speaker {i}" for i in range(count))
    names = tuple(str(name or "") for name in (told if isinstance(told, list) else [told]))
    if (
        len(names) != count
        or len(set(names)) != count
        or not all(n and n.isprintable() for n in names)
    ):
        whose = "--speakers gives" if given else f"{source} tells"
        raise ConvertError(
            f"{whose} {list(names)}, and the voice has {count} speakers; "
            f"name each once with --speakers"
        )
    return names


def about(source: Path, found: dict[Any, Any]) -> dict[str, Any]:
    """How the voice was made, as far as the file tells."""
    made: dict[str, Any] = {"made": "converted from a checkpoint of maum-ai/wavegrad2"}
    made["converted_from"] = source.name
    for key, name in (("epoch", "epochs"), ("global_step", "optimizer_steps")):
        if isinstance(found.get(key), int):
            made[name] = found[key]
    return made


def copied(source: Path, weights: dict[str, Tensor], on_progress: Progressing) -> dict[str, Tensor]:
    """The weights out of the mapped file, one by one; refuses what is no finite number."""
    read = {}
    for done, (key, value) in enumerate(weights.items(), start=1):
        whole = key.endswith("num_batches_tracked")
        if value.is_floating_point() == whole:
            raise ConvertError(f"{source}: {key} holds numbers of type {value.dtype}")
        read[key] = value.detach().clone(memory_format=torch.contiguous_format)
        if not bool(read[key].isfinite().all()):
            raise ConvertError(f"{source}: {key} holds numbers that are not finite")
        on_progress(done, len(weights), "reading the weights")
    return read


def size_name(config: ModelConfig) -> str:
    """maum-ai's name for a voice of these sizes, however many speakers it has."""
    known = {"Base": ModelConfig.base(), "Large": ModelConfig.large()}
    alone = replace(config, speakers=1)
    return next((f"WaveGrad 2 {k}" for k, v in known.items() if v == alone), "a WaveGrad 2")
