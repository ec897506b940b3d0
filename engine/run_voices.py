"""Which voice file a run's folder stands for: its newest checkpoint, or one by its name.

A look at file names; opens nothing. Standard library only.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"update-(\d+)(?:-(.+))?")
"""Stem of a checkpoint: its update, and the label it was saved under."""
LONGEST = 60
"""Characters of a stem that a session writes."""


class RunVoiceError(ValueError):
    """A folder that stands for no voice; one sentence."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint of a run."""

    path: Path
    update: int
    """-1 where the file's name does not say."""

    @property
    def age(self) -> tuple[int, int]:
        """Larger is newer."""
        return self.update, self.path.stat().st_mtime_ns

    def answers_to(self, name: str) -> bool:
        """By its stem, with or without suffix; or by its label; or by the number of its update."""
        label = "-".join([f"update-{self.update:06d}", *re.findall(r"[\w.]+", name)])[:LONGEST]
        return self.path.stem in (name.removesuffix(".safetensors"), label) or (
            name.isdecimal() and int(name) == self.update
        )


def voice_file(source: str) -> str:
    """The file behind RUN, RUN@NAME, or what is no run's folder, as it was given.

    RUN is its newest checkpoint: that of the last update, of several the one written last.
    NAME is a file's name, a label, or the number of an update.

    Errors: RunVoiceError where a run has no checkpoint, or none of that name.
    """
    folder, name = Path(source), ""
    if not folder.is_dir():
        if source == "bundled" or folder.is_file() or "@" not in source:
            return source
        before, _, name = source.rpartition("@")
        folder = Path(before)
        if not folder.is_dir():
            raise RunVoiceError(f"there is no run {before}; RUN@NAME is a checkpoint of a run")
    saved = checkpoints(folder)
    if not name:
        return str(max(saved, key=lambda one: one.age).path)
    found = [one for one in saved if one.answers_to(name)]
    if not found:
        raise RunVoiceError(f"{folder} has no checkpoint {name!r}; {nearest(name, saved)}")
    return str(max(found, key=lambda one: one.age).path)


def checkpoints(folder: Path) -> list[Saved]:
    """All of a run's, at least one; RunVoiceError says what the folder is instead."""
    inside = folder / "checkpoints"
    if not inside.is_dir():
        runs = sorted(path.parent for path in folder.glob("*/events.jsonl"))
        if runs:
            raise RunVoiceError(f"{folder} is a folder of runs; name one, such as {runs[-1]}")
        raise RunVoiceError(
            f"{folder} is a folder, but not of a run; name a .safetensors file, a run, or: bundled"
        )
    paths = [path for path in inside.glob("*.safetensors") if not path.name.startswith(".")]
    if not paths:
        raise RunVoiceError(
            f"the run {folder} has no checkpoint yet; a session writes one every "
            "train.save_every updates, at its end, and when s is pressed"
        )
    named = [(path, NAME.fullmatch(path.stem)) for path in paths]
    return [Saved(path, int(found[1]) if found else -1) for path, found in named]


def nearest(name: str, saved: list[Saved]) -> str:
    """The checkpoint that was meant, or those that there are."""
    stems = [one.path.stem for one in sorted(saved, key=lambda one: one.age, reverse=True)]
    labels = [found[2] for stem in stems if (found := NAME.fullmatch(stem)) and found[2]]
    near = difflib.get_close_matches(name, [*labels, *stems], n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(stems) - 3} more" if len(stems) > 3 else ""
    return f"it has {', '.join(stems[:3])}{more}"


def run_of(path: Path) -> Path | None:
    """The run's folder that `path` is, or lies in or in a folder of; None where there is none."""
    whole = path.absolute()
    near = (whole, *whole.parents[:2])  # further up, a journal would be of something else
    return next((at for at in near if (at / "events.jsonl").is_file()), None)
