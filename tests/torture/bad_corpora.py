"""Corpora, recordings, TextGrids and sentences that cannot be used."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.torture.bad_profiles import ESCAPE
from tests.torture.cases import DONE, Case, nested_json
from tests.torture.ground import Ground
from tests.voices import SPEECH, SPOKEN

NAME, SENTENCE = next(iter(SPOKEN.items()))
GRID = """File type = "ooTextFile"
Object class = "TextGrid"
{low}
{high}
<exists>
{tiers}
"IntervalTier"
"{tier}"
{low}
{high}
{count}
{rows}
"""


def cases(ground: Ground) -> Iterator[Case]:
    yield from prepared(ground)
    yield from recordings(ground)
    yield from tables(ground)
    yield from textgrids(ground)
    yield from sentences(ground)


def prepared(ground: Ground) -> Iterator[Case]:
    """What `prepare` did not write so."""
    first, *rest = (ground.folder / "corpus/clips.jsonl").read_text().splitlines()
    row = json.loads(first)
    count = len(row["ids"])
    for number, (name, line) in enumerate(
        {
            "no JSON": "{",
            "a list": "[1]",
            "a number": "5",
            "null": "null",
            "deep": nested_json(),
            "digits": '{"id": ' + "9" * 5000 + "}",
            **{
                name: json.dumps({**row, **changes})
                for name, changes in {
                    "a key more": {f"mood{ESCAPE}": 1},
                    "far": {"audio_start": 10**30},
                    "long": {"audio_length": 10**30},
                    "halves": {"frames": [value + 0.5 for value in row["frames"]]},
                    "floats": {"frames": [float(value) for value in row["frames"]]},
                    "negative": {"frames": [-1] * count},
                    "endless": {"frames": [float("inf")] * count},
                    "no frames": {"frames": []},
                    "a number of frames": {"frames": 5},
                    "other ids": {"ids": [10**9] * count},
                    "true ids": {"ids": [True] * count},
                    "ids of text": {"ids": ["a"] * count},
                    "fewer": {"phones": row["phones"][1:]},
                    "speakers": {"speaker": ["a"]},
                    "a speaker who writes": {"speaker": f"a{ESCAPE}"},
                    "no text": {"text": None},
                    "a text of numbers": {"text": 5},
                    "an id of lists": {"id": [1]},
                    "phones of numbers": {"phones": [1] * count},
                }.items()
            },
        }.items()
    ):
        folder = ground.copy("corpus", f"prepared/{number}")
        (folder / "clips.jsonl").write_text("\n".join([line, *rest]) + "\n")
        where = f"prepared/{number}"
        yield Case(f"prepared, {name}", ("pretrain", where, "toy.toml"))
        if number % 3 == 0:
            words = ("--set", f"prompts.train={where}")
            yield Case(f"prompts of one, {name}", ("run", "tiny.toml", "--headless", *words))
    for name, spoil in {
        "no audio": lambda folder: (folder / "audio.i16").unlink(),
        "less audio": lambda folder: os.truncate(folder / "audio.i16", 100),
        "more audio": lambda folder: os.truncate(folder / "audio.i16", 10**7),
        "nothing": lambda folder: (folder / "clips.jsonl").write_bytes(b""),
        "blank lines": lambda folder: (folder / "clips.jsonl").write_bytes(b"\n\n"),
        "zeros": lambda folder: (folder / "clips.jsonl").write_bytes(bytes(1000)),
        "a folder": lambda folder: swapped(folder / "clips.jsonl"),
        "unfinished": lambda folder: (folder / "clips.jsonl").rename(folder / "clips.part"),
    }.items():
        folder = ground.copy("corpus", f"prepared/{name}")
        spoil(folder)
        yield Case(f"prepared, {name}", ("pretrain", f"prepared/{name}", "toy.toml"))


def swapped(path: Path) -> None:
    path.unlink()
    path.mkdir()


def raw(ground: Ground, name: str, write: Callable[[Path], Any], suffix: str = "wav") -> str:
    """A corpus of one recording; its name."""
    folder = ground.folder / "raw" / name
    (folder / "wavs").mkdir(parents=True)
    write(folder / "wavs" / f"a.{suffix}")
    (folder / "metadata.csv").write_text(f"a|{SENTENCE}|{SENTENCE}\n")
    return f"raw/{name}"


def wave_file(rate: int, channels: int, bits: int, kind: int, data: bytes, says: int = -1) -> bytes:
    """A WAV by hand; `says`: how many bytes of data its header claims."""
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * width % 2**32, width % 2**16, bits)
    claimed = len(data) if says < 0 else says
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", claimed % 2**32) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def recordings(ground: Ground) -> Iterator[Case]:
    """WAV and FLAC of every wrong kind."""
    good, hz = soundfile.read(SPEECH / f"{NAME}.flac", dtype="float32")
    flac = (SPEECH / f"{NAME}.flac").read_bytes()
    second = bytes(2 * 22050)
    made: dict[str, tuple[str, Callable[[Path], Any]]] = {
        "empty": ("wav", lambda p: p.write_bytes(b"")),
        "no samples": ("wav", lambda p: soundfile.write(p, good[:0], hz)),
        "not a number": ("wav", lambda p: soundfile.write(p, good * np.nan, hz, subtype="FLOAT")),
        "endless": ("wav", lambda p: soundfile.write(p, good + np.inf, hz, subtype="FLOAT")),
        "silent": ("wav", lambda p: soundfile.write(p, good * 0, hz)),
        "8 bit, 8 kHz": ("wav", lambda p: soundfile.write(p, good[::2], 8000, subtype="PCM_U8")),
        "6 silent channels of 96 kHz": (
            "wav", lambda p: soundfile.write(p, np.zeros((96_000, 6)), 96_000),
        ),
        "a rate of 1": ("wav", lambda p: p.write_bytes(wave_file(1, 1, 16, 1, second))),
        "a rate of 0": ("wav", lambda p: p.write_bytes(wave_file(0, 1, 16, 1, second))),
        "a rate past all": ("wav", lambda p: p.write_bytes(wave_file(2**31 - 1, 1, 16, 1, second))),
        "a rate that shares nothing": (
            "wav", lambda p: soundfile.write(p, np.tile(good, 3), 44_101),
        ),
        "no channel": ("wav", lambda p: p.write_bytes(wave_file(22050, 0, 16, 1, second))),
        "65,535 channels": ("wav", lambda p: p.write_bytes(wave_file(22050, 65535, 16, 1, second))),
        "3 bits": ("wav", lambda p: p.write_bytes(wave_file(22050, 1, 3, 1, second))),
        "another coding": ("wav", lambda p: p.write_bytes(wave_file(22050, 1, 16, 777, second))),
        "a claim of 4 GB": (
            "wav", lambda p: p.write_bytes(wave_file(22050, 1, 16, 1, bytes(100), 2**32 - 1)),
        ),
        "a claim of years": ("flac", lambda p: p.write_bytes(claiming(flac))),
        "cut": ("flac", lambda p: p.write_bytes(flac[:3000])),
        "cut in its head": ("flac", lambda p: p.write_bytes(flac[:30])),
        "text": ("wav", lambda p: p.write_bytes(b"a note")),
        "a folder": ("wav", lambda p: p.mkdir()),
        "nowhere": ("wav", lambda p: p.symlink_to("gone")),
        "a short one": ("wav", lambda p: soundfile.write(p, good[:2000], hz)),
        "two minutes": ("wav", lambda p: soundfile.write(p, np.tile(good, 80), hz)),
        "an MP3's start": ("wav", lambda p: p.write_bytes(b"ID3\x04" + bytes(5000))),
    }  # fmt: skip
    for name, (suffix, write) in made.items():
        where = raw(ground, name, write, suffix)
        yield Case(f"recording, {name}", ("prepare", where, "--out", "p"))


def claiming(flac: bytes) -> bytes:
    """The FLAC, its header claiming as many audio samples as it can."""
    head = bytearray(flac)
    at = 4 + 4 + 13  # the marker, the block's head, up to the last bits of STREAMINFO's count
    head[at] |= 0x0F
    head[at + 1 : at + 5] = b"\xff" * 4
    return bytes(head)


def tables(ground: Ground) -> Iterator[Case]:
    """metadata.csv of every wrong kind, over a recording that is fine."""
    for name, table in {
        "empty": b"",
        "latin": b"a|caf\xe9|caf\xe9\n",
        "no text": b"a||\n",
        "one column": b"a\n",
        "climbing": b"../../voice|Go on.|Go on.\n",
        "absolute": b"/etc/hostname|Go on.|Go on.\n",
        "an id that writes": f"a{ESCAPE}|Go on.|Go on.\n".encode(),
        "a text that writes": f"a|{ESCAPE}|{ESCAPE}\n".encode(),
        "emoji": "a|😀😀|😀😀\n".encode(),
        "other letters": b"a|{XX}|{XX}\n",
        "long": b"a|" + b"x" * 100_000 + b"\n",
        "zeros": bytes(1000),
        "a binary": bytes(range(128)) + b"\n",
    }.items():
        where = raw(
            ground, f"table {name}", lambda p: p.symlink_to(SPEECH / f"{NAME}.flac"), "flac"
        )
        (ground.folder / where / "metadata.csv").write_bytes(table)
        yield Case(f"metadata.csv, {name}", ("prepare", where, "--out", "p"))
    yield Case("a speaker who writes", ("prepare", where, "--out", "p", "--speaker", ESCAPE))
    yield Case("held out", ("prepare", where, "--out", "p", "--held-out", "x"))


def textgrids(ground: Ground) -> Iterator[Case]:
    """Durations that no recording has."""

    def grid(rows: list[tuple[object, object, str]], **changes: object) -> str:
        told = {"low": 0, "high": 2, "tiers": 1, "tier": "phones", "count": len(rows), **changes}
        lines = [f'{start}\n{end}\n"{label}"' for start, end, label in rows]
        return GRID.format(rows="\n".join(lines), **told)

    fine: list[tuple[object, object, str]] = [(0, 0.5, "HH"), (0.5, 1, "IY1")]
    for number, (name, text) in enumerate(
        {
            "empty": "",
            "zeros": "\0" * 100,
            "text": "a grid",
            "no tier": grid(fine, tiers=0),
            "more tiers": grid(fine, tiers=10**9),
            "endless tiers": grid(fine, tiers="1e999"),
            "negative tiers": grid(fine, tiers=-5),
            "more rows": grid(fine, count=10**12),
            "endless rows": grid(fine, count="1e999"),
            "negative rows": grid(fine, count=-1),
            "half a row": grid(fine, count=1.5),
            "no rows": grid([], count=0),
            "another tier": grid(fine, tier="words"),
            "a tier that writes": grid(fine, tier=ESCAPE),
            "a gap": grid([(0, 0.5, "HH"), (0.7, 1, "IY1")]),
            "backwards": grid([(0.5, 0, "HH"), (0, 1, "IY1")]),
            "before the start": grid([(-1, 0.5, "HH"), (0.5, 1, "IY1")]),
            "endless": grid([(0, 0.5, "HH"), (0.5, "1e999", "IY1")]),
            "not a number": grid([('"nan"', '"nan"', "HH"), ('"nan"', '"nan"', "IY1")]),
            "too long": grid([(0, 500, "HH"), (500, 1000, "IY1")]),
            "no time": grid([(0, 0, "HH"), (0, 0, "IY1")]),
            "other phones": grid([(0, 0.5, "Q"), (0.5, 1, "IY1")]),
            "phones that write": grid([(0, 0.5, ESCAPE), (0.5, 1, "IY1")]),
            "pauses": grid([(0, 0.5, ""), (0.5, 1, "sp")]),
            "times of text": grid([('"a"', '"b"', "HH")]),
            "quotes": '"' * 50_001,
            "numbers": "1 " * 100_000,
        }.items()
    ):
        where = raw(
            ground, f"grid {number}", lambda p: p.symlink_to(SPEECH / f"{NAME}.flac"), "flac"
        )
        (ground.folder / where / "TextGrid").mkdir()
        (ground.folder / where / "TextGrid/a.TextGrid").write_text(text)
        yield Case(f"TextGrid, {name}", ("prepare", where, "--out", "p"))


def sentences(ground: Ground) -> Iterator[Case]:
    """What cannot be spoken, typed and from a file; and what can, oddly."""
    for number, (name, text) in enumerate(
        {
            "emoji": "😀😀",
            "controls": "\x07\x08\x00",
            "escapes": "\x1b[31m\x1b]0;title\x07",
            "turned": "\u202e\u2066\u200f",
            "joiners": "\u200d\ufe0f",
            "white": " \t \u2003",
            "signs": "!?!",
            "a brace": "{",
            "no phone": "{HH XX}",
            "a phone that writes": "{\x1b[31m}",
            "100,000 characters": "go " * 33_334,
            "a word of 100,000": "x" * 100_000,
            "20,000 digits": "9" * 20_000,
            "many phones": "Go on. " * 400,
            "combining": "\u0301" * 19_000,
        }.items()
    ):
        words = ("listen", "voice.safetensors", "--steps", "1", "--out", "a.wav", "--text")
        yield Case(f"text, {name}", (*words, text))
        file = ground.file(f"prompts/{number}.txt", text + "\n")
        told = ("--set", f"prompts.evaluation={file}")
        yield Case(f"prompts, {name}", ("run", "tiny.toml", "--headless", *told))
        yield Case(f"compared on, {name}", ("compare", "voice.safetensors", "voice.safetensors",
                   "--models", "loudness", "--prompts", file, "--steps", "1"))  # fmt: skip
    for name, content in {
        "empty": b"",
        "comments": b"# a\n\n# b\n",
        "latin": b"caf\xe9\n",
        "utf-16": "Go on.".encode("utf-16"),
        "a binary": bytes(range(256)),
    }.items():
        file = ground.file(f"prompts/{name}.txt", content)
        told = ("--set", f"prompts.train={file}")
        yield Case(f"prompts, {name}", ("run", "tiny.toml", "--headless", *told))
    for name, text in {
        "surrogates": "Go \udcff on.",
        "escapes": "Go \x1b[31mon\x1b[0m.\u202e",
    }.items():
        words = ("listen", "voice.safetensors", "--steps", "1", "--out", f"{name}.wav", "--text")
        yield Case(f"text that can be spoken, {name}", (*words, text), DONE)
