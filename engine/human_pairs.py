"""Choices made in blind listening: kept as JSON lines, and read again for a preference learner.

Two kinds of lines: an answer, and that one was taken back. Standard library only; knows neither
sound nor screen.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import plain_json
from engine.files import own_file, sync

FORMAT, VERSION = "dlpo-tui pair", 1
NAME = "pairs.jsonl"
"""In a run's folder."""


class PairsError(ValueError):
    """A place that holds no answers; one sentence."""


@dataclass(frozen=True, slots=True)
class Voice:
    """One of the two voices of a sitting."""

    path: str
    """Relative to the folder of the answers' file where it lies in there; or: bundled."""
    sha256: str
    timesteps: int
    schedule: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sitting:
    """What all answers of one blind test share."""

    sitting: str
    """Its name: when it began, and four random digits."""
    speaker: str
    pace: float
    sample_rate: int
    noise_seed: int
    """With the prompt's place it names the noise that both clips were made of."""
    order_seed: int
    """Of the order of the pairs and of their labels."""
    a: Voice
    b: Voice


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice."""

    sitting: Sitting
    trial: int
    """From 1, in the order in which they were heard."""
    at: str
    """UTC, ISO 8601."""
    prompt: str
    place: int
    """Of the prompt among those that were spoken, from 0."""
    x: str
    """Which voice was called X: A or B."""
    choice: str
    """A, B or neither."""
    seconds: float
    """From the pair's appearing to the answer."""
    clip_a: str
    """Relative to the folder of the answers' file."""
    clip_b: str

    def plain(self) -> dict[str, Any]:
        """As a line of JSON holds it."""
        own = asdict(self)
        shared = own.pop("sitting")
        return {"format": FORMAT, "version": VERSION, **shared, **own}


def clips_folder(path: Path) -> Path:
    """Where the clips of an answers' file lie: beside it, under its name without the suffix."""
    return path.with_suffix("")


def append(path: Path, row: dict[str, Any]) -> None:
    """Adds one line, which is on the disk on return; makes the file where there is none.

    What a killed process left of its last line stays, on a line of its own.

    Errors: OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    with own_file(path).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two terminals may listen to one run
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if fresh:
        sync(path.parent)


def taken_back(sitting: str, trial: int, at: str) -> dict[str, Any]:
    """The line that says so."""
    return {
        "format": FORMAT, "version": VERSION, "sitting": sitting, "trial": trial, "at": at,
        "taken_back": True,
    }  # fmt: skip


def read(path: Path) -> tuple[list[Answer], int]:
    """The answers that stand, in order; and how many lines are torn, or none of ours.

    Errors: PairsError where there is no such file, or it cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise PairsError(f"{path} cannot be read ({error.strerror})") from None
    found, foreign = dict[tuple[str, int], Answer](), 0
    for line in filter(bytes.strip, lines):
        try:
            row = plain_json.parse(line)
            if row["format"] != FORMAT or row["version"] != VERSION:
                raise ValueError("another format")
            if row.get("taken_back"):
                found.pop((row["sitting"], row["trial"]), None)
            else:
                answer = parse(row)
                found[answer.sitting.sitting, answer.trial] = answer
        except (ValueError, TypeError, LookupError, RecursionError):
            foreign += 1
    return list(found.values()), foreign


def parse(row: dict[str, Any]) -> Answer:
    """The inverse of `Answer.plain`; ValueError, TypeError or LookupError where it is none."""
    a, b = (Voice(**checked(Voice, row[side])) for side in "ab")
    shared = checked(Sitting, {**row, "a": a, "b": b})
    answer = Answer(**checked(Answer, {**row, "sitting": Sitting(**shared)}))
    if answer.x not in ("A", "B") or answer.choice not in ("A", "B", "neither"):
        raise ValueError("a choice is A, B or neither")
    for clip in (answer.clip_a, answer.clip_b):
        if Path(clip).is_absolute() or ".." in Path(clip).parts:
            raise ValueError("a clip lies in the folder of the answers")
    return answer


KINDS: dict[str, Any] = {
    "str": str, "int": int, "float": (int, float), "dict[str, Any]": dict,
    "Voice": Voice, "Sitting": Sitting,
}  # fmt: skip


def checked(kind: type, row: dict[str, Any]) -> dict[str, Any]:
    """What a dataclass has fields for, each of its type; keys it does not know are left out."""
    values = {name: row[name] for name in kind.__annotations__}
    for name, told in kind.__annotations__.items():
        value = values[name]
        if not isinstance(value, KINDS[told]) or isinstance(value, bool):
            raise TypeError(f"{name} is not of type {told}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is no number")
        if isinstance(value, dict):
            json.dumps(value, allow_nan=False)
        if isinstance(value, str):
            value.encode()  # half of a surrogate pair, which JSON can hold, cannot be written on
    return values


# --- For a preference learner -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Export:
    """The pairs of some files, and what was left out of them."""

    rows: list[dict[str, Any]]
    neither: int
    """Answers without a preference."""
    silent: int
    """Answers of which a clip is gone."""
    foreign: dict[Path, int]
    """File -> its lines that could not be read, where there are any."""


def export(paths: list[Path]) -> Export:
    """Prompt, chosen and rejected clip of every preference; each answer once.

    Errors: PairsError, one sentence.
    """
    seen, rows, foreign = set[tuple[str, int]](), list[dict[str, Any]](), dict[Path, int]()
    neither = silent = 0
    for path in paths:
        answers, bad = read(path)
        if bad:
            foreign[path] = bad
        for answer in answers:
            name = answer.sitting.sitting, answer.trial
            if name in seen:
                continue
            seen.add(name)
            row = pair(path.resolve().parent, answer)
            if row is None:
                neither += 1
            elif all(Path(row[side]).is_file() for side in ("chosen", "rejected")):
                rows.append(row)
            else:
                silent += 1
    return Export(rows, neither, silent, foreign)


def pair(folder: Path, answer: Answer) -> dict[str, Any] | None:
    """One preference as a learner reads it; paths are absolute. None without a preference."""
    if answer.choice == "neither":
        return None
    sitting = answer.sitting
    sides = {"A": (answer.clip_a, sitting.a), "B": (answer.clip_b, sitting.b)}
    (chosen, winner), (rejected, loser) = (
        sides[answer.choice],
        sides["B" if answer.choice == "A" else "A"],
    )
    return {
        "prompt": answer.prompt,
        "chosen": str(folder / chosen),
        "rejected": str(folder / rejected),
        "speaker": sitting.speaker,
        "pace": sitting.pace,
        "sample_rate": sitting.sample_rate,
        "noise": {"seed": sitting.noise_seed, "place": answer.place},
        "chosen_voice": voice(folder, winner),
        "rejected_voice": voice(folder, loser),
        "seconds": answer.seconds,
        "at": answer.at,
        "sitting": sitting.sitting,
        "trial": answer.trial,
    }


def voice(folder: Path, told: Voice) -> dict[str, Any]:
    path = told.path if told.path == "bundled" else str(folder / told.path)
    return {**asdict(told), "path": path}


def files(sources: list[Path]) -> Iterator[Path]:
    """The answers' file of each run's folder or path, each once.

    Errors: PairsError, one sentence, where one is not there.
    """
    seen = set[Path]()
    for source in sources:
        path = source / NAME if source.is_dir() else source
        if not path.is_file():
            raise PairsError(missing(source))
        if path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def missing(source: Path) -> str:
    """Why there is nothing to export, and what there could be."""
    if not source.is_dir():
        return f"there is no {source}; name a run's folder, or a file of answers"
    inside = sorted(source.glob(f"*/{NAME}"))
    if inside:
        return f"{source} holds no {NAME}; did you mean {inside[-1].parent}?"
    return f"{source} holds no {NAME}: nothing was heard blind there; see compare --blind"
