"""Self-describing voices: safetensors that `listen` needs nothing else for.

Weights under maum-ai's names; the header's metadata says what they are. Never pickle.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine import plain_json
from engine.files import replacing
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.text import SYMBOLS

FORMAT, VERSION = "dlpo-tui voice", 1
BUNDLED = Path(__file__).parent / "voices" / "bundled.safetensors"
PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Of weights; those of 8 bits are no voice's, and hardly anything can be asked of them."""


class CheckpointError(ValueError):
    """A file that is no voice, or a broken one; one sentence."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a voice is."""

    config: ModelConfig
    speakers: tuple[str, ...]
    """Names, in the order of the speaker embedding's rows."""
    about: dict[str, Any] = field(default_factory=dict)
    """How it was made: data, optimizer steps, update, knobs, scores, parent, profile."""


@dataclass(frozen=True, slots=True)
class Voice:
    model: WaveGrad2
    card: Card
    source: str
    """Where it was read from."""

    def speaker(self, name: str) -> int:
        """Row of a speaker's name; empty: the first. CheckpointError names the nearest."""
        if not name:
            return 0
        if name not in self.card.speakers:
            near = difflib.get_close_matches(name, self.card.speakers, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {self.card.speakers}"
            raise CheckpointError(f"{self.source} has no speaker {name!r}; {hint}")
        return self.card.speakers.index(name)


def save(path: Path, model: WaveGrad2, card: Card, dtype: torch.dtype | None = None) -> None:
    """Writes a voice whole or not at all; floating-point weights in `dtype` if given."""
    tensors = {
        key: (value.to(dtype) if dtype and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for key, value in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": card.config.to_json(),
        "symbols": json.dumps(SYMBOLS),
        "sample_rate": str(card.config.sample_rate),
        "speakers": json.dumps(card.speakers),
        "about": json.dumps(card.about),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def load(path: Path | str, device: torch.device | str = "cpu") -> Voice:
    """Reads a voice in eval mode, weights in fp32; "bundled" is the one in the package.

    Errors: CheckpointError, one sentence, for a file that is missing, foreign, truncated, or
    whose weights do not fit its own description.
    """
    source = Path(BUNDLED if str(path) == "bundled" else path)
    card, tensors = read(source)
    model = fitted(source, card.config, tensors)
    shown = "bundled" if source == BUNDLED else str(path)
    return Voice(model.to(device), card, shown)


def fitted(source: Path, config: ModelConfig, tensors: dict[str, Tensor]) -> WaveGrad2:
    """A model in eval mode that has the given weights, in its own precision.

    Errors: CheckpointError where a weight is missing, of another shape, or unknown.
    """
    with torch.device("meta"):  # every weight is given: no random start is computed
        model = WaveGrad2(config)
    own = model.state_dict()
    for key, value in own.items():
        if key not in tensors:
            raise CheckpointError(f"{source} lacks the weight {key} that its config asks for")
        if tensors[key].shape != value.shape:
            found, wanted = tuple(tensors[key].shape), tuple(value.shape)
            raise CheckpointError(f"{source}: {key} has shape {found}, its config says {wanted}")
    if unknown := sorted(set(tensors) - set(own)):
        raise CheckpointError(f"{source} has a weight {unknown[0]} that its config does not know")
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()}, assign=True)
    return model.eval()


def read(path: Path) -> tuple[Card, dict[str, Tensor]]:
    """The card and the tensors as they lie in the file; errors as in `load`."""
    with opened(path) as file:
        card = describe(path, file.metadata() or {})
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    check_numbers(path, tensors)
    return card, tensors


def check_numbers(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuses weights that could speak nothing: whole numbers, NaN, infinity."""
    for key, value in tensors.items():
        count = key.endswith("num_batches_tracked")
        if value.is_floating_point() == count or not (count or value.dtype in PRECISIONS):
            raise CheckpointError(f"{path}: {key} holds numbers of type {value.dtype}")
        if not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{path}: {key} holds numbers that are not finite, so it is damaged or its "
                "training ran away; take an earlier one"
            )


def read_card(path: Path) -> Card:
    """The card alone; errors as in `load`."""
    with opened(path) as file:
        return describe(path, file.metadata() or {})


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The safetensors file, or a CheckpointError that says what the path holds instead."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; name a .safetensors file, or: bundled")
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}{nearest(path)}")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        with path.open("rb") as raw:
            start = raw.read(2)
        if start in (b"PK", b"\x80\x02"):
            mend = f"; dlpo-tui convert {path} makes one of it safely" if start == b"PK" else ""
            raise CheckpointError(
                f"{path} is a pickled checkpoint, which may run code when read; "
                f"only safetensors files are opened{mend}"
            ) from None
        raise CheckpointError(f"{path} is no whole safetensors file ({error})") from None


def describe(path: Path, metadata: dict[str, str]) -> Card:
    """Metadata -> card; a voice of another format version, or of none, is refused by name."""
    if "config" not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but says no model config: no voice")
    version = metadata.get("version", "1")
    if metadata.get("format", FORMAT) != FORMAT or version != str(VERSION):
        told = f"{metadata.get('format')} version {version}"
        newer = version.isdigit() and int(version) > VERSION
        mend = ": open it with the dlpo-tui that wrote it, or with a later one" if newer else ""
        raise CheckpointError(
            f"{path} says it is {told}; this program reads {FORMAT} version {VERSION}{mend}"
        )
    try:
        config = ModelConfig.from_json(metadata["config"])
        symbols = tuple(plain_json.parse(metadata.get("symbols", json.dumps(SYMBOLS))))
        speakers = tuple(str(name) for name in plain_json.parse(metadata.get("speakers", "[]")))
        about = dict(plain_json.parse(metadata.get("about", "{}")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: its description cannot be read ({error})") from None
    if symbols != tuple(SYMBOLS):
        raise CheckpointError(f"{path} was trained with another symbol table")
    names = speakers or tuple(f"speaker {i}" for i in range(config.speakers))
    if unseen := [name for name in names if not name.isprintable()]:
        raise CheckpointError(f"{path} names a speaker {unseen[0][:80]!a}, which cannot be shown")
    if len(names) != config.speakers:
        raise CheckpointError(f"{path} names {len(names)} speakers and holds {config.speakers}")
    return Card(config, names, about)


def origin(card: Card) -> str:
    """Run and update of a snapshot that a session saved, such as "quickstart-... 10"; or ""."""
    run, update = card.about.get("run"), card.about.get("update")
    return "" if run is None else f"{run}, update {update}"


def nearest(path: Path) -> str:
    names = [p.name for p in path.parent.glob("*.safetensors")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
    return f"; did you mean {path.parent / near[0]}?" if near else ""


def with_about(card: Card, **changes: Any) -> Card:
    """The card with entries of `about` added or replaced."""
    return replace(card, about={**card.about, **changes})
