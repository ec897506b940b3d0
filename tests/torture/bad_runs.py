"""Runs' folders, journals, states, answers and studies that somebody else has written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.torture.bad_profiles import ESCAPE
from tests.torture.cases import DONE, Case, nested_json
from tests.torture.ground import Ground

LOGS = ("session.log", "events.jsonl")
"""Where a session that is refused on going on says why."""


def cases(ground: Ground) -> Iterator[Case]:
    yield from journals(ground)
    yield from shown(ground)
    yield from states(ground)
    yield from links(ground)
    yield from answers(ground)
    yield from studies(ground)
    yield from trainings(ground)


def wrong_rows(rows: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Lines that are no event of a run."""
    for name, line in {
        "no JSON": "{",
        "a list": "[]",
        "a number": "5",
        "deep": nested_json(),
        "digits": '{"kind": "Noticed", "update": ' + "9" * 5000 + "}",
        "zeros": "\0" * 100,
        "unknown": json.dumps({"kind": f"Dreamt{ESCAPE}"}),
        "no kind": "{}",
        "a kind of lists": '{"kind": []}',
    }.items():
        yield name, line
    started, scored = rows["SessionStarted"], rows["ClipsScored"]
    finished, clip = rows["UpdateFinished"], rows["ClipsScored"]["clips"][0]
    stats = finished["stats"]
    ended = {"kind": "SessionEnded", "update": 1, "reason": "failed"}
    turned = {"kind": "KnobsChanged", "update": 1, "who": "a", "old": {}, "new": {"alpha": 1.0}}
    wrong: dict[str, dict[str, Any]] = {
        "an update of text": {**finished, "update": "one"},
        "an update of halves": {**finished, "update": 0.5},
        "a true update": {**finished, "update": True},
        "an update past all": {**finished, "update": 10**400},
        "a loss of text": {**finished, "stats": {**stats, "loss": "low"}},
        "an endless loss": {**finished, "stats": {**stats, "loss": float("inf")}},
        "a loss of nothing": {**finished, "stats": {**stats, "loss": None}},
        "seconds of lists": {**finished, "stats": {**stats, "seconds": [1]}},
        "seconds of text": {**finished, "stats": {**stats, "seconds": {"score": "x"}}},
        "stats of lists": {**finished, "stats": []},
        "a clip of text": {**scored, "clips": ["a"]},
        "clips of a text": {**scored, "clips": "ab"},
        "scores of text": {**scored, "clips": [{**clip, "scores": {"loudness": "loud"}}]},
        "a kind of clip": {**scored, "clips": [{**clip, "kind": ESCAPE}]},
        "a prompt of numbers": {**scored, "clips": [{**clip, "prompt": 5}]},
        "a clip elsewhere": {**scored, "clips": [{**clip, "path": "/etc/hostname.wav"}]},
        "a clip above": {**scored, "clips": [{**clip, "path": "../../x.flac"}]},
        "a clip of zeros": {**scored, "clips": [{**clip, "path": "a\0b"}]},
        "a start elsewhere": {"kind": "ClipRendered", "update": 1, "index": 0, "path": "../x.flac",
                              "scores": {}},
        "a checkpoint elsewhere": {"kind": "CheckpointSaved", "update": 1, "path": "/etc/passwd"},
        "a level of its own": {"kind": "Noticed", "update": 0, "level": ESCAPE, "sentence": "a"},
        "a phase of its own": {"kind": "PhaseEntered", "update": 0, "phase": ESCAPE},
        "a reason of its own": {**ended, "reason": ESCAPE},
        "an error of numbers": {**ended, "error": 5},
        "rewards of text": {**started, "rewards": "loudness"},
        "a column without a name": {**started, "rewards": [{"unit": "x"}]},
        "knobs of text": {**started, "knobs": {"alpha": "x"}},
        "a knob more": {**started, "knobs": {f"mood{ESCAPE}": 1.0}},
        "timesteps of text": {**started, "kept": "123"},
        "turned without knobs": turned,
        "turned to text": {**turned, "knobs": {}, "new": {"alpha": "x"}},
    }  # fmt: skip
    for name, row in wrong.items():
        yield name, json.dumps(row)


def rows_of(ground: Ground) -> dict[str, dict[str, Any]]:
    """One row of each kind that the run has."""
    lines = (ground.folder / "run/events.jsonl").read_text().splitlines()
    return {row["kind"]: row for row in map(json.loads, lines)}


def journals(ground: Ground) -> Iterator[Case]:
    """The run's own journal with a wrong line in it."""
    lines = (ground.folder / "run/events.jsonl").read_text().splitlines()
    for number, (name, line) in enumerate(wrong_rows(rows_of(ground))):
        where = f"journals/{number}"
        (ground.folder / where).mkdir(parents=True)
        (ground.folder / where / "profile.json").symlink_to(ground.folder / "run/profile.json")
        (ground.folder / where / "resume").symlink_to(ground.folder / "run/resume")
        text = "\n".join([*lines[:2], line, *lines[2:]]) + "\n"
        (ground.folder / where / "events.jsonl").write_text(text)
        yield Case(f"journal, {name}", ("replay", where, "--headless"), says="line 3")
        yield Case(f"report of a journal, {name}", ("report", where))
        if number % 4 == 0:
            yield Case(f"going on with a journal, {name}", ("run", "--resume", where, "--headless"))
    for name, make in {
        "a folder": lambda path: path.mkdir(),
        "nowhere": lambda path: path.symlink_to("gone"),
        "a binary": lambda path: path.write_bytes(bytes(range(256)) * 20),
    }.items():
        where = f"journals/{name}"
        (ground.folder / where).mkdir()
        make(ground.folder / where / "events.jsonl")
        yield Case(f"journal, {name}", ("replay", where, "--headless"))
        yield Case(f"report, {name}", ("report", where))


def written_over(row: Any) -> Any:
    """The row with every text in it such that it writes to a terminal, where any text may stand."""
    kept = {"kind", "phase", "reason", "level", "path", "at"}
    if isinstance(row, dict):
        return {k: v if k in kept else written_over(v) for k, v in row.items()}
    if isinstance(row, list):
        return [written_over(value) for value in row]
    return f"{row}{ESCAPE}<b>\ud800\n" if isinstance(row, str) else row


def shown(ground: Ground) -> Iterator[Case]:
    """A journal that is whole, and whose every text would be obeyed."""
    folder = ground.copy("run", f"runs/odd{ESCAPE}")
    lines = (folder / "events.jsonl").read_text().splitlines()
    rows = [written_over(json.loads(line)) for line in lines]
    rows.insert(-1, {"kind": "Noticed", "update": 0, "level": "warning", "sentence": ESCAPE})
    rows.insert(-1, {"kind": "AlarmRaised", "update": 0, "sentence": ESCAPE})
    rows[-1] = {"kind": "SessionEnded", "update": 1, "reason": "failed", "error": ESCAPE}
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    name = f"runs/odd{ESCAPE}"
    yield Case("a journal that writes", ("replay", name, "--headless"), DONE, "␛[31m")
    yield Case("the same as JSON", ("replay", name, "--json"), DONE)
    yield Case("the same as a page", ("report", name), DONE, "␛[31m")
    yield Case("its voice compared", ("compare", name, f"{name}@no{ESCAPE}"))
    words = ("--models", "loudness", "--steps", "1", "--most", "1", "--prompts", "train.txt")
    yield Case("the same compared", ("compare", name, "voice.safetensors", *words), DONE, "␛[31m")
    yield Case("its answers", ("export-pairs", name), DONE)


def states(ground: Ground) -> Iterator[Case]:
    """What a run goes on from, spoilt."""
    (good,) = (ground.folder / "run/resume").glob("update-000001.safetensors")
    with safe_open(good, "pt") as file:
        told = json.loads(file.metadata()["state"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    whole, policy = good.read_bytes(), next(key for key in tensors if key.startswith("policy."))
    moment = next(key for key in tensors if key.endswith("exp_avg"))
    variants: dict[str, Any] = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "text": b"a state",
        "no metadata": (tensors, {}),
        "deep": (tensors, {"state": nested_json()}),
        "a list": (tensors, {"state": "[1]"}),
        "a number": (tensors, {"state": "5"}),
        "another version": (tensors, {"state": json.dumps({**told, "format_version": 2})}),
        **{
            name: (tensors, {"state": json.dumps({**told, **changes})})
            for name, changes in {
                "an update of text": {"update": "one"},
                "an update below 0": {"update": -1},
                "an update past all": {"update": 10**30},
                "statistics of text": {"statistics": "x"},
                "statistics of lists": {"statistics": {"a": ["b"]}},
                "identity of text": {"identity": 5},
                "another identity": {"identity": {"noise levels": ESCAPE}},
                "skipped of text": {"skipped": "x"},
            }.items()
        },
        "no weights": ({"a": torch.zeros(1)}, {"state": json.dumps(told)}),
        "not a number": (
            {**tensors, policy: tensors[policy] * float("nan")}, {"state": json.dumps(told)},
        ),
        "another shape": ({**tensors, policy: torch.zeros(7)}, {"state": json.dumps(told)}),
        "a weight more": ({**tensors, "policy.x": torch.zeros(7)}, {"state": json.dumps(told)}),
        "another moment": ({**tensors, moment: torch.zeros(7)}, {"state": json.dumps(told)}),
        "a moment of text": (
            {**tensors, "optimizer.x": torch.zeros(7)}, {"state": json.dumps(told)},
        ),
        "a moment past all": (
            {**tensors, "optimizer.99999.step": torch.zeros(())}, {"state": json.dumps(told)},
        ),
        "other scores": ({**tensors, "first": torch.zeros(9, 9)}, {"state": json.dumps(told)}),
        "scores of one row": ({**tensors, "first": torch.zeros(3)}, {"state": json.dumps(told)}),
    }  # fmt: skip
    for name, content in variants.items():
        folder = ground.copy("run", f"states/{name}")
        for path in (folder / "resume").glob("update-*"):
            path.unlink()
        path = folder / "resume/update-000001.safetensors"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save_file(content[0], path, content[1])
        words = ("run", "--resume", f"states/{name}", "--headless")
        yield Case(f"state, {name}", words, may_change=(*LOGS, "profile.toml"))
    for name, spoil in {
        "no start": lambda folder: (folder / "resume/start.safetensors").unlink(),
        "a start of text": lambda folder: (folder / "resume/start.safetensors").write_text("x"),
        "another start": lambda folder: narrowed(folder / "resume/start.safetensors"),
        "no profile": lambda folder: (folder / "profile.json").unlink(),
        "a profile of text": lambda folder: (folder / "profile.json").write_text("x"),
        "no states": lambda folder: shutil.rmtree(folder / "resume"),
        "no journal": lambda folder: (folder / "events.jsonl").unlink(),
    }.items():
        folder = ground.copy("run", f"states/{name}")
        spoil(folder)
        words = ("run", "--resume", f"states/{name}", "--headless")
        yield Case(f"run, {name}", words, may_change=(*LOGS, "profile.toml"))


def narrowed(path: Path) -> None:
    """The voice with one weight of another size."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file({**tensors, "decoder.ublock_preconv.conv1d.bias": torch.zeros(3)}, path, metadata)


def links(ground: Ground) -> Iterator[Case]:
    """Runs whose files lead elsewhere: nothing is written on to there."""
    outside = ground.file("outside.jsonl", (ground.folder / "run/events.jsonl").read_bytes())
    for name in ("events.jsonl", "session.log"):
        folder = ground.copy("run", f"links/{name}")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(ground.folder / outside)
        words = ("run", "--resume", f"links/{name}", "--headless")
        yield Case(f"{name} is a link", words, may_change=(*LOGS, "profile.toml"))
    folder = ground.copy("run", "links/elsewhere")
    (folder / "checkpoints").rename(folder / "kept")
    (folder / "checkpoints").symlink_to("gone")
    yield Case("checkpoints lead nowhere", ("compare", "links/elsewhere", "voice.safetensors"))
    (ground.folder / "links/loop").symlink_to("loop")
    yield Case("a run that leads to itself", ("replay", "links/loop", "--headless"))
    yield Case("the same, gone on with", ("run", "--resume", "links/loop"))


def answers(ground: Ground) -> Iterator[Case]:
    """pairs.jsonl with nothing in it that is a choice."""
    good = json.loads((ground.folder / "run/pairs.jsonl").read_text())
    for number, (name, line) in enumerate(
        {
            "empty": "",
            "zeros": "\0" * 100,
            "no JSON": "{",
            "deep": nested_json(),
            "a list": "[]",
            "digits": "9" * 5000,
            **{
                name: json.dumps({**good, **changes})
                for name, changes in {
                    "another version": {"version": 2},
                    "another choice": {"choice": ESCAPE},
                    "neither": {"choice": "neither"},
                    "a clip elsewhere": {"clip_a": "/etc/hostname"},
                    "a clip above": {"clip_a": "../x.flac"},
                    "a clip that is gone": {"clip_a": f"{ESCAPE}.flac"},
                    "a clip of zeros": {"clip_a": "a\0b"},
                    "a clip of numbers": {"clip_a": 5},
                    "a prompt of lists": {"prompt": [1]},
                    "half a pair": {"prompt": "\ud800"},
                    "not a number": {"seconds": float("nan")},
                    "an endless schedule": {"a": {**good["a"], "schedule": {"x": float("inf")}}},
                    "a sitting of lists": {"sitting": [1]},
                    "a voice of text": {"a": "x"},
                    "true": {"trial": True},
                }.items()
            },
        }.items()
    ):
        folder = ground.copy("run", f"answers/{number}")
        (folder / "pairs.jsonl").write_text(line + "\n")
        yield Case(f"answers, {name}", ("export-pairs", f"answers/{number}"))
        out = ("--out", f"{number}.jsonl")
        yield Case(f"answers to a file, {name}", ("export-pairs", f"answers/{number}", *out))


def studies(ground: Ground) -> Iterator[Case]:
    """study.json that no study wrote."""
    for number, (name, text) in enumerate(
        {
            "empty": "",
            "deep": nested_json(),
            "a list": "[]",
            "digits": "9" * 5000,
            "another version": '{"format_version": 2}',
            "no methods": '{"format_version": 1}',
            "methods of lists": '{"format_version": 1, "methods": [], "machines": []}',
            "settings of text": json.dumps(
                {"format_version": 1, "machines": [], "methods": {f"a{ESCAPE}": {
                    "settings": "x", "begins_with": {"starting voice": "x"}}}}
            ),
            "settings that write": json.dumps(
                {"format_version": 1, "machines": [], "methods": {f"a{ESCAPE}": {
                    "settings": {f"b{ESCAPE}": 1}, "begins_with": {"starting voice": ESCAPE}}}}
            ),
            "a beginning of lists": json.dumps(
                {"format_version": 1, "machines": [], "methods": {"a": {
                    "settings": {}, "begins_with": {"starting voice": [1]}}}}
            ),
        }.items()
    ):  # fmt: skip
        ground.file(f"studies/{number}/study.json", text)
        words = ("study", "methods", "--out", f"studies/{number}", "--seeds", "0")
        yield Case(f"study, {name}", words)
    os.makedirs(ground.folder / "studies/linked")
    (ground.folder / "studies/linked/study.json").symlink_to("gone")
    words = ("study", "methods", "--out", "studies/linked", "--seeds", "0")
    yield Case("study, a link to nowhere", words)


def trainings(ground: Ground) -> Iterator[Case]:
    """The state of a pretraining that cannot be gone on with."""
    fine = {"step": "1", "seconds": "1.0"}
    for number, (name, content) in enumerate(
        {
            "empty": b"",
            "text": b"a state",
            "no metadata": {},
            "a step of text": {**fine, "step": ESCAPE},
            "a step below 0": {**fine, "step": "-1"},
            "a step past all": {**fine, "step": "9" * 5000},
            "seconds of text": {**fine, "seconds": ESCAPE},
            "seconds that are no number": {**fine, "seconds": "nan"},
            "other phases": {**fine, "front_end_steps": "5"},
            "another network": fine,
        }.items()
    ):
        folder = ground.folder / f"trained/{number}"
        folder.mkdir(parents=True)
        if isinstance(content, bytes):
            (folder / "state.safetensors").write_bytes(content)
        else:
            save_file({"model.a": torch.zeros(1)}, folder / "state.safetensors", content)
        words = ("pretrain", "corpus", "toy.toml", "--out", f"trained/{number}")
        yield Case(f"training, {name}", words)
