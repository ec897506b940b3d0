"""What is asked for: which methods a study compares, and which runs that makes.

Reads profiles alone; knows no folder of a study and no process.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine import profile as profiles
from engine.profile import Profile

SHARED = ("voice", "prompts", "schedule", "evaluation")
"""Sections that all profiles of a study have alike, or their scores could not be compared."""
OWN = {
    "seed": "name the seeds with --seeds",
    "runs": "the runs of a study lie in --out",
    "name": "a method goes by the name in its profile",
}
"""Keys that --set cannot change here, and what does."""


class StudyError(ValueError):
    """Profiles or a folder that make no study; one sentence."""


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    """The profile's, as a file can have it."""
    profile: Profile

    @property
    def trains(self) -> bool:
        """False for the starting voice as it is: a learning rate of 0."""
        return self.profile.knobs.learning_rate > 0


@dataclass(frozen=True, slots=True)
class Run:
    """One method with one seed."""

    method: str
    seed: int
    profile: Profile
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def end(self) -> Path:
        """The checkpoint of its last update."""
        return self.folder / "checkpoints" / f"update-{self.profile.train.updates:06d}.safetensors"


@dataclass(frozen=True, slots=True)
class Study:
    folder: Path
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]

    @property
    def trained(self) -> tuple[Method, ...]:
        return tuple(method for method in self.methods if method.trains)

    @property
    def base(self) -> str:
        """What the starting voice is called."""
        return next((method.name for method in self.methods if not method.trains), "base")

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every method with the first seed, then with the next: what stops early compares."""
        return tuple(
            Run(
                method.name,
                seed,
                replace(method.profile, seed=seed, runs=str(self.folder)),
                self.folder / f"{method.name}-{seed}",
            )
            for seed in self.seeds
            for method in self.trained
        )


def parse_seeds(told: str) -> tuple[int, ...]:
    """From 0,1,2 to (0, 1, 2), each once; StudyError for anything else."""
    parts = [part.strip() for part in told.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise StudyError(
            f"--seeds takes whole numbers with commas between, such as 0,1,2, not {told!r}"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def load_methods(paths: Sequence[Path], changes: Sequence[str]) -> tuple[Method, ...]:
    """The methods of these profiles, a folder standing for every profile in it.

    Each of `changes` is KEY=VALUE for all of them, or METHOD:KEY=VALUE for one. A learning rate
    of 0 stays 0 unless it is changed for that method by name.

    Errors: StudyError or ProfileError, one sentence.
    """
    files = [file for path in paths for file in unfolded(path)]
    names = [stem(alone(file).name) for file in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        one, other = [file for file, name in zip(files, names, strict=True) if name == twice[0]][:2]
        raise StudyError(
            f"{one} and {other} are both named {twice[0]}, and their runs would share a folder; "
            "give one of them another name"
        )
    check_changes(changes, names)
    methods = [
        Method(name, load(file, name, changes)) for file, name in zip(files, names, strict=True)
    ]
    untrained = [method.name for method in methods if not method.trains]
    if any(method.trains and method.name == "base" for method in methods) and not untrained:
        raise StudyError(
            "the starting voice is called base here, and a profile that trains has that name; "
            "give it another, or knobs.learning_rate = 0"
        )
    if len(untrained) > 1:
        raise StudyError(
            f"{' and '.join(untrained)} learn nothing (knobs.learning_rate = 0), so both are the "
            "starting voice; leave one out"
        )
    check_alike(methods)
    return tuple(methods)


def unfolded(path: Path) -> list[Path]:
    """The file itself, or a folder's profiles in the order of their names."""
    if path.is_dir():
        if found := sorted(path.glob("*.toml")):
            return found
        raise StudyError(f"there is no profile in the folder {path}; name one that holds TOML")
    if str(path).isdecimal() and not path.exists():
        raise StudyError(
            f"there is no profile {path}; seeds are written with commas between: --seeds 0,{path}"
        )
    return [path]


def stem(name: str) -> str:
    """A profile's name as a folder can have it."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def alone(file: Path) -> Profile:
    """The profile as it is written, which may need the changes to be one that can run."""
    return profiles.build(Profile, profiles.read(file, ()), file.name)


def load(file: Path, name: str, changes: Sequence[str]) -> Profile:
    """The profile with the changes that are for it."""
    own = [rest for whose, rest in map(whom, changes) if whose == name]
    every = [rest for whose, rest in map(whom, changes) if not whose]
    if alone(file).knobs.learning_rate == 0:
        every.append("knobs.learning_rate=0")
    return profiles.load(file, [*every, *own])


def whom(change: str) -> tuple[str, str]:
    """METHOD:KEY=VALUE -> (METHOD, KEY=VALUE); the method is empty where none is named."""
    key, equals, value = change.partition("=")
    method, colon, rest = key.rpartition(":")
    return method.strip() if colon else "", rest + equals + value


def check_changes(changes: Sequence[str], names: Sequence[str]) -> None:
    """Refuses a change of a method that is not there, and of what the study itself chooses."""
    for change in changes:
        method, rest = whom(change)
        if method and method not in names:
            near = difflib.get_close_matches(method, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(names)}"
            raise StudyError(f"--set {change}: no profile here is named {method!r}; {hint}")
        key = rest.partition("=")[0].strip()
        if key in OWN:
            raise StudyError(f"--set {change} cannot be in a study: {OWN[key]}")


def check_alike(methods: Sequence[Method]) -> None:
    """Refuses methods that differ in what makes their scores comparable."""
    first = methods[0]
    for other in methods[1:]:
        for key, (one, two) in differing(first.profile, other.profile).items():
            if key.partition(".")[0] in SHARED:
                raise StudyError(
                    f"{first.name} has {key} = {one!r} and {other.name} {two!r}: the methods of "
                    f"a study have {', '.join(SHARED[:-1])} and {SHARED[-1]} alike, or their "
                    "scores could not be compared"
                )


def differing(one: Profile, other: Profile) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> both values, where two profiles differ in more than place, seed and threads."""
    a, b = flat(asdict(one)), flat(asdict(other))
    return {
        key: (a.get(key), b.get(key))
        for key in dict.fromkeys((*a, *b))
        if a.get(key) != b.get(key) and key not in ("name", "seed", "runs", "device.threads")
    }


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables -> dotted keys; what is given by name (a reward's models) stays whole."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and not prefix:
            found |= flat(value, f"{key}.")
        else:
            found[prefix + key] = value
    return found
