"""The score models by name: which there are, which columns they fill, how to load one.

Loads neither torch nor a model before `load` is called, or `missing` for a model whose
weights are a separate file. Downloads nothing: `fetching` does, when it is asked to.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from engine.rewards.base import ScoreModel

    Loader = Callable[[torch.device | str], ScoreModel]


def _distillmos(device: torch.device | str) -> ScoreModel:
    from engine.rewards.distillmos import DistillMOS

    return DistillMOS(device)


def _dnsmos(device: torch.device | str) -> ScoreModel:
    from engine.rewards.dnsmos import DNSMOS

    return DNSMOS(device)


def _intelligibility(device: torch.device | str) -> ScoreModel:
    from engine.rewards.intelligibility import Intelligibility

    return Intelligibility(device)


def _loudness(device: torch.device | str) -> ScoreModel:
    from engine.rewards.loudness import Loudness

    return Loudness(device)


def _nisqa(device: torch.device | str) -> ScoreModel:
    from engine.rewards.nisqa import NISQA

    return NISQA(device)


def _utmos(device: torch.device | str) -> ScoreModel:
    from engine.rewards.utmos import UTMOS

    return UTMOS(device)


def _whisper(device: torch.device | str) -> ScoreModel:
    from engine.rewards.whisper import Whisper

    return Whisper(device)


def _nisqa_missing() -> str:
    from engine.rewards import nisqa

    return nisqa.missing()


def _utmos_missing() -> str:
    from engine.rewards import utmos_weights

    return utmos_weights.missing()


def _whisper_missing() -> str:
    from engine.rewards import whisper

    return whisper.missing()


SCORE_MODELS: dict[str, Loader] = {
    "distillmos": _distillmos,
    "dnsmos": _dnsmos,
    "intelligibility": _intelligibility,
    "loudness": _loudness,
    "nisqa": _nisqa,
    "utmos": _utmos,
    "whisper": _whisper,
}
"""Model name -> what builds it on a device."""

MODEL_COLUMNS: dict[str, tuple[str, ...]] = {
    "distillmos": ("distillmos",),
    "dnsmos": ("dnsmos", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"),
    "intelligibility": ("wer", "cer"),
    "loudness": ("loudness", "clipping"),
    "nisqa": (
        "nisqa",
        "nisqa_noisiness",
        "nisqa_discontinuity",
        "nisqa_coloration",
        "nisqa_loudness",
    ),
    "utmos": ("utmos",),
    "whisper": ("whisper_wer", "whisper_cer"),
}
"""Model name -> the columns that it fills; known without loading the model."""

PACKAGES: dict[str, tuple[str, ...]] = {
    "distillmos": ("distillmos", "torchaudio"),
    "dnsmos": ("speechmos", "onnxruntime", "librosa", "requests"),
    "intelligibility": ("moonshine_voice", "jiwer"),
    "nisqa": ("torchmetrics", "librosa", "requests"),
    "utmos": ("torchaudio", "platformdirs"),
    "whisper": ("faster_whisper", "jiwer"),
}
"""Model name -> the modules that it imports from elsewhere."""

EXTRAS: dict[str, str] = {"dnsmos": "[judges]", "nisqa": "[judges]", "whisper": "[whisper]"}
"""Model name -> the extra of this package that brings them, where its core does not."""

WEIGHTS_MISSING: dict[str, Callable[[], str]] = {
    "nisqa": _nisqa_missing,
    "utmos": _utmos_missing,
    "whisper": _whisper_missing,
}
"""Model name -> why its weights are not here, empty where they are; the others bring theirs."""


def load(name: str, device: torch.device | str = "cpu") -> ScoreModel:
    """Returns the score model of this name, on the device where it can use one.

    Raises:
        ValueError: no model has this name, and the nearest one is named; or a package of its
            is not installed; or its weights are missing or damaged.
    """
    if name not in SCORE_MODELS:
        raise unknown_name("score model", name, SCORE_MODELS)
    if why := package_missing(name):
        raise ValueError(why)
    return SCORE_MODELS[name](device)


def missing(name: str) -> str:
    """Why the score of this column or model cannot be had here; empty where it can."""
    try:
        model = model_of(name)
    except ValueError as error:
        return str(error)
    if why := package_missing(model):
        return why
    return WEIGHTS_MISSING[model]() if model in WEIGHTS_MISSING else ""


def package_missing(model: str) -> str:
    """Which package a model lacks here and what brings it; empty where it lacks none."""
    for package in PACKAGES.get(model, ()):
        if importlib.util.find_spec(package) is None:
            return (
                f"{model} needs the Python package {package}, which is not installed; get it "
                f"with: pip install 'dlpo-tui{EXTRAS.get(model, '')}'"
            )
    return ""


def model_of(name: str) -> str:
    """The model that fills the column `name`, or `name` itself where it is a model.

    Raises:
        ValueError: neither a column nor a model; the nearest of both is named.
    """
    for model, columns in MODEL_COLUMNS.items():
        if name == model or name in columns:
            return model
    known = {*MODEL_COLUMNS, *(c for columns in MODEL_COLUMNS.values() for c in columns)}
    raise unknown_name("score", name, known)


def check_disjoint(rewards: Iterable[str], judges: Iterable[str]) -> None:
    """Refuses a model that both rewards and judges: its score would praise what it trained.

    Args:
        rewards: names of models, or of their columns.
        judges: the same.

    Raises:
        ValueError: a model is on both sides, or a name is unknown.
    """
    both = {model_of(name) for name in rewards} & {model_of(name) for name in judges}
    if both:
        raise ValueError(
            f"The judge must not be the reward, but {' and '.join(sorted(both))} "
            f"{'are' if len(both) > 1 else 'is'} named as both."
        )


def unknown_name(kind: str, name: str, known: Collection[str]) -> ValueError:
    """An error that says which name is unknown, the nearest known one, and all of them."""
    nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
    return ValueError(f"There is no {kind} {name!r}{hint} Known: {', '.join(sorted(known))}.")
