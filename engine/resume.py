"""What a session goes on from: the policy, its optimiser and what else its next update depends on.

One safetensors file an update, written whole or not at all; the newest two are kept. Random
numbers are not in it: they are drawn by identity (seed, update, index), so they resume by
themselves. Never pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from engine import checkpoint
from engine import profile as profiles
from engine.files import replacing
from engine.journal import JournalError, profile_of
from engine.profile import Profile
from engine.reopening import check_folder, folder_of, saved

FORMAT_VERSION = 1
KEPT = 2
"""States that stay on disk: the newest, and one should the disk have damaged that."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that an update changes and the next one reads, after a whole update."""

    update: int
    """Finished updates."""
    policy: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    """By "<parameter>.<name>", as `optimizer_tensors` gives them."""
    statistics: Mapping[str, list[float]]
    """Rewards each prompt has had."""
    skipped: int
    """Updates in a row that left the weights alone."""
    first: Tensor | None
    """(prompts, R) scores of the evaluation at the start, which the alarm compares with and an
    ensemble is scaled by."""
    identity: Mapping[str, str]
    """What must be the same where the session goes on: prompts, rewards, schedule."""


def write(run: Path, state: State) -> None:
    """Saves the state of a run; older ones than the newest `KEPT` are removed after it stands."""
    told = {
        "format_version": FORMAT_VERSION,
        "update": state.update,
        "skipped": state.skipped,
        "statistics": state.statistics,
        "identity": state.identity,
    }
    tensors = {f"policy.{key}": value for key, value in state.policy.items()}
    tensors |= {f"optimizer.{key}": value for key, value in state.optimizer.items()}
    if state.first is not None:
        tensors["first"] = state.first
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(folder_of(run) / f"update-{state.update:06d}.safetensors") as temporary:
        save_file(tensors, temporary, {"state": json.dumps(told)})
    for old in saved(run)[KEPT:]:
        old.unlink(missing_ok=True)


def newest(run: Path) -> State:
    """The newest state that can be read.

    Raises:
        JournalError: the run has none, one sentence.
    """
    check_folder(run)
    reasons = []
    for path in saved(run):
        try:
            return read(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            reasons.append(f"{path.name}: {error}")
    raise JournalError(f"no state of {run} can be read ({'; '.join(reasons)})")


def read(path: Path) -> State:
    with safe_open(path, "pt") as file:
        told: dict[str, Any] = json.loads((file.metadata() or {})["state"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if told["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {told['format_version']}, not {FORMAT_VERSION}")

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return State(
        told["update"],
        under("policy."),
        under("optimizer."),
        told["statistics"],
        told["skipped"],
        tensors.get("first"),
        told["identity"],
    )


def branch(snapshot: Path, profile: Path | None, changes: Sequence[str] = ()) -> Profile:
    """A new run's profile that starts from a run's snapshot.

    Without a profile of its own it is the snapshot's run's, with the knobs as they stood when
    the snapshot was saved; `changes` come last. The optimiser starts afresh, and the snapshot is
    the reference of a KL.

    Raises:
        CheckpointError, JournalError, ProfileError: one sentence.
    """
    start = f"voice.checkpoint={json.dumps(str(snapshot))}"
    if profile is not None:
        return profiles.load(profile, [start, *changes])
    knobs = checkpoint.read_card(snapshot).about.get("knobs", {})
    if not isinstance(knobs, dict):
        raise JournalError(f"{snapshot} has knobs that are no table; name a profile too")
    folder = snapshot.resolve().parent.parent
    try:
        profile_of(folder)
    except JournalError:
        raise JournalError(
            f"{snapshot} does not lie in a run's folder; name a profile too: "
            f"dlpo-tui run PROFILE --from {snapshot}"
        ) from None
    turned = [f"knobs.{name}={value!r}" for name, value in knobs.items()]
    return profile_of(folder, [start, *turned, *changes])


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimiser's state by "<parameter>.<name>", such as "3.exp_avg"."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse; learning rates and the like stay the optimiser's own."""
    state = optimizer.state_dict()
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(state)


def digest(texts: Iterable[str]) -> str:
    """Sixteen hex digits that name a list of texts."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def check_identity(run: Path, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuses to go on where something that every update depends on is no longer what it was.

    Raises:
        JournalError: names what differs, one sentence.
    """
    differing = [name for name in then if then[name] != now.get(name)]
    if differing:
        name = differing[0]
        raise JournalError(
            f"{run} cannot go on as it was: its {name} were {then[name]} and are now "
            f"{now.get(name)}; put back what was there, or begin a new run from its last checkpoint"
        )
