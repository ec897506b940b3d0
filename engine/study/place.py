"""A study's folder: whose it is, how far each run in it has come, and what a run began with.

    FOLDER/study.json        the methods, what they begin with, the machines they ran on
    FOLDER/METHOD-SEED/      a run, as any other
    FOLDER/scores/           what each voice scored
    FOLDER/table.md, .json   the result

Starts no process and scores nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from engine import assembly, checkpoint, plain_json, preflight, resume
from engine import messages as m
from engine import profile as profiles
from engine.device import choose_device
from engine.doctor import cpu_model, cuda_devices, usable_cores
from engine.files import check_target, replacing, sha256_of
from engine.journal import JournalError, event_of, plain
from engine.profile import Profile
from engine.reopening import saved
from engine.study.plan import Method, Run, Study, StudyError, check_alike, differing

FORMAT_VERSION = 1
STUDY_FILE, LOCK_FILE = "study.json", ".lock"
TAIL_BYTES = 65_536
"""More than a SessionEnded takes."""
HEAD_BYTES = 200
"""Within which a line of a journal says its kind."""

Stage: TypeAlias = Literal["new", "begun", "finished"]
Beginnings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Method -> what its runs begin with, by name."""


def beginning(profile: Profile) -> dict[str, str]:
    """What a run begins with here and now, that its profile does not say, by name.

    Errors: ProfileError, CheckpointError or CorpusError for what the session would refuse.
    """
    preflight.check(profile)
    device, spec = choose_device(profile.device), profile.rollout
    small = spec.cpu_batch and device.type == "cpu"
    told = {
        "starting voice": digest(voice_file(profile)),
        "reward": ", ".join(assembly.choose_rewards(profile).weights),
        "rollouts an update": str(spec.cpu_batch if small else spec.batch),
    }
    if profile.train.penalty_source != "data":
        texts = assembly.prompt_texts(profile.prompts.train, 0, profile.prompts.fallback, [])
        told["training prompts"] = resume.digest(texts)
    return told


def voice_file(profile: Profile) -> Path:
    """The file of the voice that a session starts from here."""
    voice = assembly.choose_voice(profile, [])
    return checkpoint.BUNDLED if voice == "bundled" else Path(voice)


def digest(file: Path) -> str:
    """Sixteen hex digits that name a file's content."""
    return sha256_of(file)[:16]


def machine(at_once: int) -> str:
    """This machine in a line: processor, cards, torch, and how many runs share it."""
    cards = [str(card["name"]) for card in cuda_devices()] or ["no GPU"]
    runs = "1 run at a time" if at_once == 1 else f"{at_once} runs at a time"
    return (
        f"{cpu_model()}, {usable_cores()} cores, {', '.join(cards)}; "
        f"torch {torch.__version__}; {runs}"
    )


# --- the folder -----------------------------------------------------------------


def check(study: Study, beginnings: Beginnings) -> None:
    """Refuses a folder that is not a study's, or one of other methods; writes nothing.

    More seeds and more methods may come to a study; what is there stays as it is.

    Errors: StudyError or OSError, one sentence.
    """
    folder = study.folder
    check_target(folder / STUDY_FILE)
    if not (folder / STUDY_FILE).exists():
        if folder.exists() and any(path.name != LOCK_FILE for path in folder.iterdir()):
            raise StudyError(
                f"{folder} holds other things and no study; name a new folder with --out"
            )
        return
    told = read(folder)
    there = {name: settings(folder, name, row) for name, row in told["methods"].items()}
    for method in study.methods:
        if method.name not in there:
            continue
        same(folder, method.name, there[method.name], method.profile)
        if any(run.method == method.name and stage(run) != "finished" for run in study.runs):
            begins_alike(folder, method.name, told, beginnings[method.name])
    voices = {row["begins_with"]["starting voice"] for row in told["methods"].values()}
    if voices != {begins["starting voice"] for begins in beginnings.values()}:
        raise StudyError(
            f"{folder} holds another study: its runs began with another voice than "
            f"{voice_file(study.methods[0].profile)}; put that back, or name a new --out"
        )
    try:
        check_alike((*(Method(n, p) for n, p in there.items()), *study.methods))
    except StudyError as error:
        raise StudyError(f"{folder} holds another study: {error}") from None


def read(folder: Path) -> dict[str, Any]:
    """What study.json says; StudyError where it is damaged or another version's."""
    path = folder / STUDY_FILE
    try:
        told: dict[str, Any] = plain_json.parse(path.read_bytes())
        if told["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {told['format_version']}, not {FORMAT_VERSION}")
        for row in told["methods"].values():
            dict(row["settings"]), row["begins_with"]["starting voice"]
            if not all(isinstance(value, str) for value in row["begins_with"].values()):
                raise TypeError("what a method begins with is no text")
        list(told["machines"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{path} is no study's that this program can read ({error}); name a new --out"
        ) from None
    return told


def settings(folder: Path, name: str, row: Mapping[str, Any]) -> Profile:
    return profiles.build(Profile, row["settings"], f"{folder / STUDY_FILE}, {name}")


def same(folder: Path, name: str, there: Profile, here: Profile) -> None:
    """Refuses a method whose settings are no longer those of its runs."""
    for key, (old, new) in differing(there, here).items():
        raise StudyError(
            f"{folder} holds another study: its {name} has {key} = {old!r} and not {new!r}; name "
            "a new --out, or give the method as it was"
        )


def begins_alike(folder: Path, name: str, told: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Refuses to go on where a file, the reward or the batch is no longer that of the runs."""
    then = told["methods"][name]["begins_with"]
    for what, old in then.items():
        if now.get(what) != old:
            raise StudyError(
                f"{folder} holds another study: the {what} of its {name} was {old} and is now "
                f"{now.get(what)}; put back what was there, or name a new --out"
            )


def record(study: Study, beginnings: Beginnings, machines: Sequence[str] = ()) -> dict[str, Any]:
    """Adds the methods, and machines that runs are on, to study.json; returns all it says."""
    path = study.folder / STUDY_FILE
    told = read(study.folder) if path.exists() else {"methods": {}, "machines": []}
    for method in study.methods:
        row = {"settings": plain(method.profile), "begins_with": dict(beginnings[method.name])}
        told["methods"].setdefault(method.name, row)
    told["machines"] = list(dict.fromkeys([*told["machines"], *machines]))
    told = {"format_version": FORMAT_VERSION, **told}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return told


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process from the same study; StudyError where one is at it already."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                f"{folder} is at work in another process; wait for its end, or stop it there"
            ) from None
        yield


# --- the runs in it -------------------------------------------------------------


def stage(run: Run) -> Stage:
    """How far a run is. New: nothing is there that it could go on from."""
    end = ended(run.folder)
    if end is not None and end.reason == "finished":
        return "finished"
    return "begun" if saved(run.folder) else "new"


def ended(folder: Path) -> m.SessionEnded | None:
    """How the session of a run ended, from the end of its journal; None: it did not, or is not."""
    try:
        with (folder / "events.jsonl").open("rb") as file:
            file.seek(-min(file.seek(0, os.SEEK_END), TAIL_BYTES), os.SEEK_END)
            last = file.read().removesuffix(b"\n").rpartition(b"\n")[2]
        event = event_of(last)
    except (OSError, ValueError):
        return None
    return event if isinstance(event, m.SessionEnded) else None


def cost(run: Run) -> tuple[int, float, int]:
    """Updates of a run, minutes they took without evaluations, and alarms, up to the study's last.

    Reads what it needs of the journal alone: the clips in it are many.

    Errors: JournalError.
    """
    minutes: dict[int, float] = {}
    alarms: set[int] = set()
    for event in rows(run.folder, ("UpdateFinished", "AlarmRaised")):
        match event:
            case m.AlarmRaised(update) if update <= run.profile.train.updates:
                alarms.add(update)
            case m.UpdateFinished(update, stats) if update <= run.profile.train.updates:
                # an update that was lost and came again counts once
                minutes[update] = sum(stats.seconds.values()) / 60
    return len(minutes), sum(minutes.values()), len(alarms)


def rows(folder: Path, kinds: Sequence[str]) -> Iterator[m.Event]:
    """The events of these kinds in the whole lines of a journal; JournalError where one is none."""
    path = folder / "events.jsonl"
    signs = [f'"kind": "{kind}"'.encode() for kind in kinds]
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                if line.endswith(b"\n") and any(sign in line[:HEAD_BYTES] for sign in signs):
                    yield event_of(line)
    except OSError as error:
        raise JournalError(f"{folder} has no journal that can be read ({error})") from None
    except ValueError as error:
        raise JournalError(f"{path}, line {number}: {error}") from None
