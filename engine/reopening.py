"""Whether a run can go on, and with what profile and past. No torch: a screen may ask first.

Where its states lie is told here too; what is in them is `engine.resume`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.journal import JournalError, profile_of, replay
from engine.messages import Snapshot
from engine.profile import Profile

MAY_CHANGE = (
    "train.updates", "train.save_every", "train.samples_every", "train.samples_kept",
    "train.resume_every", "train.microbatch", "rollout.microbatch", "train.recompute",
    "distributed.devices", "distributed.backend", "distributed.restarts",
)  # fmt: skip
"""Keys that a run may go on with other values of: no update's numbers depend on them, but for
rounding."""


def folder_of(run: Path) -> Path:
    return run / "resume"


def start_path(run: Path) -> Path:
    """The voice the session began with: its frozen front end, and the reference of a KL."""
    return folder_of(run) / "start.safetensors"


def saved(run: Path) -> list[Path]:
    """The states of a run, newest first."""
    return sorted(folder_of(run).glob("update-*.safetensors"), reverse=True)


def check_folder(run: Path) -> None:
    """JournalError, one sentence, where a run has no state at all; reads none."""
    if not run.is_dir():
        raise JournalError(f"there is no run {run}; a run is a folder, such as runs/NAME-DATE-TIME")
    if not saved(run) or not start_path(run).is_file():
        raise JournalError(
            f"{run} has nothing to go on from (no state in {folder_of(run)}): it ended before its "
            "first update; begin it anew with its profile"
        )


def reopen(run: Path, changes: Sequence[str] = ()) -> tuple[Profile, Snapshot]:
    """What a session goes on with: its resolved profile, and the fold of its journal.

    Whether its states can be read is for `engine.resume.newest` to say.

    Raises:
        JournalError, ProfileError: no such run, nothing to go on from, a change that would
            make it another run, or it has finished; one sentence.
    """
    profile = profile_of(run, changes)
    check_folder(run)
    other = [change for change in changes if change.partition("=")[0].strip() not in MAY_CHANGE]
    if other:
        raise JournalError(
            f"{run} goes on as it was: --set {other[0]} would make it another run; branch one off "
            "a snapshot with --from, or turn a knob while it runs"
        )
    now = replay(run)
    if now.ended and now.ended.reason == "finished" and now.update >= profile.train.updates:
        raise JournalError(
            f"{run} has finished its {now.update} updates; for more of them add "
            f"--set train.updates={2 * now.update}"
        )
    return profile, reopened(now)


def reopened(now: Snapshot) -> Snapshot:
    """The fold of a run's journal as that of a session that goes on."""
    return replace(now, ended=None, phase="loading")
