"""Checkpoints that are none, or more than they say: safetensors, and others' pickles."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from tests.lightning import HPARAMETERS, write_checkpoint
from tests.torture.bad_profiles import ESCAPE
from tests.torture.cases import DONE, Case, nested_json
from tests.torture.ground import Ground

SAY = ("--text", "Go.", "--steps", "1", "--out", "a.wav")
BIAS = "decoder.ublock_preconv.conv1d.bias"
COUNT = "num_batches_tracked"


def cases(ground: Ground) -> Iterator[Case]:
    with safe_open(ground.folder / "voice.safetensors", "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    whole = (ground.folder / "voice.safetensors").read_bytes()
    made = {
        **{name: bytes_of for name, bytes_of in broken(whole)},
        **{name: save(tensors, {**metadata, **told}) for name, told in told_wrong(metadata)},
        **{name: save(weights, metadata) for name, weights in weighed_wrong(tensors)},
    }
    for number, (name, content) in enumerate(made.items()):
        file = ground.file(f"voices/{number}.safetensors", content)
        yield Case(f"voice, {name}", ("listen", file, *SAY))
        if number % 4 == 0:
            yield Case(f"voice compared, {name}", ("compare", "voice.safetensors", file))
            begin = ("--set", f"voice.checkpoint={file}")
            yield Case(f"session's voice, {name}", ("run", "tiny.toml", "--headless", *begin))
            yield Case(f"branched, {name}", ("run", "tiny.toml", "--headless", "--from", file))
            start = ("--set", f"start={file}")
            yield Case(f"trained on, {name}", ("pretrain", "corpus", "toy.toml", *start))
    yield from places(ground)
    yield from schedules(ground, tensors, metadata)
    odd = json.dumps({"run": f"r{ESCAPE}", "update": 3, "made": ESCAPE})
    save_file(tensors, ground.folder / f"odd{ESCAPE}.safetensors", {**metadata, "about": odd})
    # Where a voice may be heard, it is: and its path is shown.
    words = ("listen", f"odd{ESCAPE}.safetensors", "--text", "Go.", "--steps", "1")
    yield Case("voice, a path that writes", (*words, "--out", "odd.wav"), DONE, "␛[31m")
    yield from pickles(ground)


def broken(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that are no whole safetensors file."""
    for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        yield f"cut at {size}", whole[:size]
    yield "one byte more", whole + b"\0"
    for size in (0, 1, 2**20, 2**27, 2**31, 2**63, 2**64 - 1):
        yield f"a header of {size}", struct.pack("<Q", size) + whole[8:]
    for name, header in {
        "no JSON": b"{no json",
        "a list": b"[]",
        "deep": nested_json().encode(),
        "deep metadata": b'{"__metadata__": ' + nested_json().encode() + b"}",
        "metadata of numbers": b'{"__metadata__": {"config": 5}}',
        "nothing in it": b"{}",
        "no UTF-8": b'{"\xff": 1}',
        "twice": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        "no dtype": b'{"a":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}}',
        "far away": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[99999,100003]}}',
        "backwards": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        "vast": b'{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]}}',
        "negative": b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        "empty shape": b'{"a":{"dtype":"F32","shape":[0,9223372036854775807],'
        b'"data_offsets":[0,0]}}',
    }.items():
        yield f"header: {name}", struct.pack("<Q", len(header)) + header + bytes(4)
    yield "a zip", b"PK\x03\x04" + bytes(100)
    yield "a pickle", pickle.dumps({"a": 1}, 2)
    yield "a new pickle", pickle.dumps({"a": 1}, 5)
    yield "text", b"a voice"
    yield "a GIF", b"GIF89a" + bytes(100)


def told_wrong(metadata: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Descriptions that no voice has."""
    config = json.loads(metadata["config"])

    def sized(**sizes: Any) -> dict[str, str]:
        return {"config": json.dumps({**config, **sizes})}

    for name, sizes in {
        "vast": {"u_pre": 2**40},
        "past every float": {"speech_rms": 10**400},
        "deep": {"encoder_layers": 10**9},
        "0": {"encoder_channels": 0},
        "negative": {"hop": -300},
        "a text": {"hop": ESCAPE},
        "true": {"hop": True},
        "null": {"u_out": None},
        "a list in a list": {"u_out": [[1]]},
        "not a number": {"speech_rms": float("nan")},
        "a rate of 0": {"sample_rate": 0},
        "another rate": {"window_frames": 0},
        "more levels": {"u_factors": [1] * 200},
        "unknown": {f"mood{ESCAPE}": 1},
        "two speakers more": {"speakers": 4},
        "other channels": {"encoder_channels": 32},
    }.items():
        yield f"config: {name}", sized(**sizes)
    for name, text in {
        "no JSON": "{",
        "a list": "[]",
        "nothing": "",
        "deep": nested_json(),
        "deep tables": '{"a":' * 100_000,
        "digits": '{"hop": ' + "9" * 5000 + "}",
    }.items():
        yield f"config: {name}", {"config": text}
        yield f"about: {name}", {"about": text if text != "[]" else "[1]"}
        yield f"symbols: {name}", {"symbols": text}
    yield "speakers: a number", {"speakers": "5"}
    yield "speakers: deep", {"speakers": nested_json()}
    yield "speakers: too many", {"speakers": '["a", "b", "c"]'}
    yield "speakers: one writes", {"speakers": json.dumps(["a", f"b{ESCAPE}"])}
    yield "speakers: one breaks lines", {"speakers": json.dumps(["a", "b\nc"])}
    yield "speakers: half a pair", {"speakers": '["a", "\\ud800"]'}
    yield "symbols: others", {"symbols": json.dumps(["a", "b"])}
    yield "another format", {"format": f"other{ESCAPE}"}
    yield "another version", {"version": f"2{ESCAPE}"}


def weighed_wrong(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Weights that fit no description."""
    value = tensors[BIAS]
    count = next(key for key in tensors if key.endswith(COUNT))
    for name, other in {
        "of another shape": torch.zeros(3),
        "of one more": torch.zeros(len(value) + 1),
        "without a shape": torch.zeros(()),
        "not a number": value * float("nan"),
        "endless": value + float("inf"),
        "whole": value.long(),
        "true": value.bool(),
        "complex": value.to(torch.complex64),
        "bytes": value.to(torch.uint8),
        "empty": torch.zeros(0),
    }.items():
        yield f"weights {name}", {**tensors, BIAS: other}
    for name in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint64"):
        if dtype := getattr(torch, name, None):
            nan = (value * float("nan")).to(dtype) if "float" in name else value.to(dtype)
            yield f"weights of {name}", {**tensors, BIAS: nan}
    yield "a count that is no whole number", {**tensors, count: torch.tensor(0.5)}
    yield "a weight is missing", {k: v for k, v in tensors.items() if k != BIAS}
    yield "a weight more", {**tensors, f"mood{ESCAPE}": torch.zeros(1)}
    yield "a training's rest", {**tensors, "training.model.x": torch.zeros(1)}


def places(ground: Ground) -> Iterator[Case]:
    """Paths that are no file."""
    folder = ground.folder / "places"
    folder.mkdir()
    ground.file("note", "a note\n")
    (folder / "folder.safetensors").mkdir()
    (folder / "nowhere.safetensors").symlink_to("gone")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "linked.safetensors").symlink_to(ground.folder / "note")
    (folder / f"w{ESCAPE}.safetensors").symlink_to(ground.folder / "note")
    for path in sorted(folder.iterdir()):
        name = f"places/{path.name}"
        yield Case(f"voice, {name!a}", ("listen", name, *SAY))
        yield Case(f"convert, {name!a}", ("convert", name))
        if "pipe" not in name:  # which a shell may well fill
            yield Case(f"profile, {name!a}", ("profiles", "check", name))


def schedules(
    ground: Ground, tensors: dict[str, Tensor], metadata: dict[str, str]
) -> Iterator[Case]:
    """Cards whose own noise schedule cannot be."""
    for number, about in enumerate(
        (
            {"schedule": 5},
            {"schedule": {"kind": ESCAPE}},
            {"schedule": {"timesteps": 10**30}},
            {"schedule": {"kind": "betas", "betas": [2.0]}},
            {"schedule": {f"mood{ESCAPE}": 1}},
            {"schedules": 5},
            {"schedules": {"1": 5}},
            {"schedules": {"1": {"eta": "x"}}},
            {"schedules": {"1": {"kind": "snr", "low_db": 50}}},
        )
    ):
        path = ground.folder / f"voices/schedule-{number}.safetensors"
        save_file(tensors, path, {**metadata, "about": json.dumps(about)})
        yield Case(f"voice's schedule {number}", ("listen", str(path), *SAY))


# --- pickles --------------------------------------------------------------------


class Trap:
    """Runs a command where it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def packed(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return held.getvalue()


def saved(value: Any) -> bytes:
    held = io.BytesIO()
    torch.save(value, held)
    return held.getvalue()


def pickles(ground: Ground) -> Iterator[Case]:
    """Others' checkpoints; nothing in them may be run."""
    sprung = str(ground.folder / "sprung")
    weights = {"encoder.embedding.weight": torch.zeros(151, 4)}
    whole = write_checkpoint(ground.folder / "whole.ckpt", weights).read_bytes()
    (ground.folder / "whole.ckpt").unlink()
    version = {"archive/version": b"3\n"}
    made: dict[str, bytes] = {
        "a Lightning checkpoint of other weights": whole,
        "empty": b"",
        "a bare pickle": pickle.dumps(Trap(os.system, f"touch {sprung}"), 2),
        "a trap": saved(Trap(os.system, f"touch {sprung}")),
        "a trap among weights": saved({"state_dict": weights, "x": Trap(open, sprung, "w")}),
        "eval": saved(Trap(eval, f"open({sprung!r}, 'w')")),
        "a getattr": saved(Trap(getattr, "a text", "join")),
        "protocol 4": packed({"archive/data.pkl": pickle.dumps({"a": 1}, 4), **version}),
        "protocol 0": packed({"archive/data.pkl": pickle.dumps({"a": 1}, 0), **version}),
        "no pickle": packed(version),
        "an empty pickle": packed({"archive/data.pkl": b"", **version}),
        "half a pickle": packed({"archive/data.pkl": pickle.dumps({"a": 1}, 2)[:5], **version}),
        "compressed": packed({"archive/data.pkl": bytes(10**6)}, zipfile.ZIP_DEFLATED),
        "names that write": packed(
            {"archive/data.pkl": f"\x80\x02c{ESCAPE}\nx\n.".encode(), **version}
        ),
        "a deep pickle": packed(
            {"archive/data.pkl": b"\x80\x02" + b"]" * 90_000 + b".", **version}
        ),
        "a memo far away": packed({"archive/data.pkl": b"\x80\x02}r\xff\xff\xff\x7f.", **version}),
        "climbing names": packed({"../../data.pkl": b"\x80\x02}.", "../../../etc/x": b"x"}),
        "a list": saved([1, 2]),
        "a number": saved(5),
        "no weights": saved({"state_dict": {}}),
        "weights of text": saved({"state_dict": {"a": "b"}}),
        "keys that write": saved({"state_dict": {f"a{ESCAPE}": torch.zeros(1)}}),
        "keys of numbers": saved({"state_dict": {5: torch.zeros(1)}}),
        "a claim without bytes": saved({"a": torch.zeros(1).expand(2**40)}),
        "other symbols": saved({"encoder.embedding.weight": torch.zeros(40, 4)}),
        "no shape": saved({"encoder.embedding.weight": torch.zeros(())}),
        "a nested dict": saved(OrderedDict(state_dict=OrderedDict(a={"b": {}}))),
    }
    for at in (10, 100, len(whole) // 2, len(whole) - 30):
        made[f"cut at {at}"] = whole[:at]
        made[f"a bit turned at {at}"] = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
    for name, content in made.items():
        file = ground.file(f"pickles/{name}.ckpt", content)
        yield Case(f"convert, {name}", ("convert", file))
    hostile = {**HPARAMETERS, "data": {"lang": ESCAPE, "speakers": [ESCAPE]}}
    path = write_checkpoint(ground.folder / "pickles/settings.ckpt", weights, hostile)
    yield Case("convert, settings that write", ("convert", str(path)))
    yield Case("convert, to nowhere", ("convert", str(path), "--out", "toy.toml/a.safetensors"))
    yield Case("nothing was run", ("convert", sprung))  # where it is, it is another kind of file


def never_sprung(folder: Path) -> bool:
    return not (folder / "sprung").exists()
