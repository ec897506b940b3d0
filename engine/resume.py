"""What a session goes on from: the policy, its optimiser and what else its next update depends on.

One safetensors file an update, written whole or not at all; the newest two are kept, and the
newest two after an update that changed the weights, for a session that has to go back. Random
numbers are not in it: they are drawn by identity (seed, update, index), so they resume by
themselves. Never pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from engine import checkpoint, plain_json
from engine import profile as profiles
from engine.files import replacing
from engine.journal import JournalError, profile_of
from engine.profile import Profile
from engine.reopening import check_folder, folder_of, saved

FORMAT_VERSION = 1
KEPT = 2
"""States that stay on disk: the newest, and one should the disk have damaged that; and as many
good ones, after updates that changed the weights."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that an update changes and the next one reads, after a whole update."""

    update: int
    """Finished updates."""
    policy: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    """By "<parameter>.<name>", as `engine.optimizer_state` gives them."""
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
    """Saves the state of a run; older ones than those `KEPT` are removed after it stands."""
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
    every = saved(run)
    kept = {*every[:KEPT], *good(every)[:KEPT]}
    for old in every:
        if old not in kept:
            old.unlink(missing_ok=True)


def good(states: Sequence[Path]) -> list[Path]:
    """Those after an update that changed the weights; a file that cannot be read is none."""
    found = []
    for path in states:
        with suppress(SafetensorError, OSError, ValueError, KeyError):
            if header(path)["skipped"] == 0:
                found.append(path)
    return found


def newest(run: Path) -> State:
    """The newest state that can be read.

    Raises:
        JournalError: the run has none, or a later program wrote one; one sentence.
    """
    check_folder(run)
    return first_of(run, saved(run))


def before(run: Path, update: int) -> State:
    """The newest good state from before `update`, or else the oldest good one.

    Raises:
        JournalError: there is none, or none can be read; one sentence.
    """
    found = good(saved(run))
    earlier = [path for path in found if update_of(path) < update]
    return first_of(run, earlier or found[-1:])


def forget_after(run: Path, update: int) -> None:
    """Removes the states of later updates, the newest first."""
    for path in saved(run):
        if update_of(path) > update:
            path.unlink(missing_ok=True)


def update_of(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def first_of(run: Path, states: Sequence[Path]) -> State:
    """The first state that can be read; JournalError, one sentence."""
    reasons = []
    for path in states:
        try:
            return read(path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            if isinstance(error, JournalError):
                raise
            reasons.append(f"{path.name}: {error}")
    raise JournalError(f"no state of {run} can be read ({'; '.join(reasons) or 'there is none'})")


def header(path: Path) -> dict[str, Any]:
    """What a state says of itself; JournalError where a later program wrote it."""
    with safe_open(path, "pt") as file:
        told: dict[str, Any] = dict(plain_json.parse((file.metadata() or {})["state"]))
    version = told["format_version"]
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise JournalError(
            f"{path} is a state of format version {version}; this program reads up to version "
            f"{FORMAT_VERSION}: go on with the dlpo-tui that wrote it, or with a later one"
        )
    if version != FORMAT_VERSION:
        raise ValueError(f"format version {version}, not {FORMAT_VERSION}")
    return told


def read(path: Path) -> State:
    """One saved state.

    Raises:
        JournalError: a later program wrote it; one sentence.
        SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError: it is none, or is
            damaged, in one way or another.
    """
    told = header(path)
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, value in tensors.items():
        # A score may be missing; weights that are not finite never were saved.
        checked = value.is_floating_point() and key != "first"
        if checked and not bool(value.isfinite().all()):
            raise ValueError(f"{key[:80]} holds numbers that are not finite")

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return State(
        whole(told["update"]),
        under("policy."),
        under("optimizer."),
        {str(k): [float(v) for v in values] for k, values in dict(told["statistics"]).items()},
        whole(told["skipped"]),
        tensors.get("first"),
        {str(k): str(v) for k, v in dict(told["identity"]).items()},
    )


def whole(value: Any) -> int:
    """A count; ValueError for anything else."""
    if type(value) is not int or not 0 <= value < 10**9:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value


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
