"""An optimiser's state as tensors by name, and back; never pickle."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


def tensors_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state by "<parameter>.<name>", such as "3.exp_avg"."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse; learning rates and the like stay the optimiser's own.

    Raises:
        ValueError: a value is of no parameter, or of another shape than its parameter.
    """
    state = optimizer.state_dict()
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    state["state"] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        at = int(index) if index.isdecimal() and len(index) < 9 else len(shapes)
        if at >= len(shapes) or (value.dim() and value.shape != shapes[at]):
            raise ValueError(f"the optimiser's {key[:80]} is of another network than this voice")
        state["state"].setdefault(at, {})[name] = value
    optimizer.load_state_dict(state)
