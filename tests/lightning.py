"""Checkpoints as Lightning 1.2 writes maum-ai/wavegrad2's, with neither Lightning nor OmegaConf.

While one is pickled, modules of their names hold classes of their names; then they are gone.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

MODULES = {
    "omegaconf": (),
    "omegaconf.base": ("Metadata", "ContainerMetadata"),
    "omegaconf.nodes": ("AnyNode",),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "pytorch_lightning": (),
    "pytorch_lightning.callbacks": (),
    "pytorch_lightning.callbacks.model_checkpoint": ("ModelCheckpoint",),
}

HPARAMETERS: dict[str, Any] = {
    "train": {"batch_size": 12, "adam": {"lr": 3e-4, "weight_decay": 1e-6}},
    "data": {"lang": "eng", "text_cleaners": ["english_cleaners"], "speakers": ["LJSpeech"]},
    "audio": {"sampling_rate": 22050},
    "window": {"scale": 300, "length": 16},
    "wavegrad": {
        "scale_factors": [5, 5, 3, 2, 2],
        "upsample": {"dilations": [[1, 2, 4, 8]] * 3 + [[1, 2, 1, 2]] * 2},
        "downsample": {"dilations": [[1, 2, 4]] * 4},
    },
    "ddpm": {"noise_schedule": "torch.linspace(1e-6, 0.01, 1000)", "pos_emb_scale": 5000},
    "name": "wavegrad2_07_08_07",
}


@contextmanager
def packages() -> Iterator[dict[str, type]]:
    """The classes by their names, importable inside only."""
    modules = {name: ModuleType(name) for name in MODULES}
    classes = {}
    for module, names in MODULES.items():
        for name in names:
            classes[name] = type(name, (), {"__module__": module})
            setattr(modules[module], name, classes[name])
    with mock.patch.dict(sys.modules, modules):
        yield classes


def node(classes: dict[str, type], value: Any, key: Any = None, parent: Any = None) -> Any:
    """A value as OmegaConf 2.0.6 keeps it, down to its metadata and its way back up."""
    kind = {dict: "DictConfig", list: "ListConfig"}.get(type(value), "AnyNode")
    made = classes[kind]()
    about = classes["Metadata" if kind == "AnyNode" else "ContainerMetadata"]()
    about.__dict__ |= {"ref_type": Any, "object_type": None, "optional": True, "key": key}
    about.__dict__ |= {"flags": {}, "resolver_cache": defaultdict(dict)}
    made.__dict__ |= {"_metadata": about, "_parent": parent}
    if kind == "AnyNode":
        made._val = value
        return made
    own = {"DictConfig": dict, "ListConfig": list}[kind]
    about.__dict__ |= {"object_type": own, "element_type": None}
    about.key_type = Any if kind == "DictConfig" else int
    if isinstance(value, dict):
        made._content = {k: node(classes, v, k, made) for k, v in value.items()}
    else:
        made._content = [node(classes, v, i, made) for i, v in enumerate(value)]
    return made


def write_checkpoint(
    path: Path,
    weights: dict[str, Tensor],
    hparameters: dict[str, Any] | None = HPARAMETERS,
    **entries: Any,
) -> Path:
    """A whole checkpoint with Adam's state; `entries` are added to it or replace its own."""
    with packages() as classes:
        monitored = {"monitor": "val/loss", "best_model_score": torch.tensor(0.1), "dirpath": "x"}
        held: dict[str, Any] = {
            "epoch": 1060,
            "global_step": 556_500,
            "pytorch-lightning_version": "1.2.10",
            "state_dict": OrderedDict(weights),
            "callbacks": {classes["ModelCheckpoint"]: monitored},
            "optimizer_states": [
                {
                    "state": {0: {"step": 3, "exp_avg": torch.zeros(4)}},
                    "param_groups": [{"lr": 3e-4, "betas": (0.9, 0.999), "params": [0]}],
                }
            ],
            "lr_schedulers": [],
        }
        if hparameters is not None:
            held["hparams_name"] = "hparams"
            held["hyper_parameters"] = node(classes, hparameters)
            held["hparams_type"] = classes["DictConfig"]
        torch.save(held | entries, path)
    return path
