"""Recordings of a corpus: finding them, and making one clip of each.

The LJSpeech layout: `metadata.csv` with `id|text|normalised text` and the recordings as
`wavs/ID.wav` or `.flac`. Knows nothing of what becomes of the clips.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine import audio
from engine.align import ALIGN_HZ, align
from engine.data import SAMPLE_RATE_HZ, Clip, CorpusError
from engine.intervals import AlignError, Interval, durations, read_textgrid, to_frames
from engine.text import TextError, to_ids, transcribe
from engine.types import HOP

TARGET_RMS = 0.08
PEAK = 0.99
LOWEST_HZ = 16_000
"""Below it, the upper third of what the voice has to learn is missing."""

SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    id: str
    kind: str
    """One of a few words that can be counted, such as "too short"."""
    reason: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One line of metadata.csv and the files that belong to it."""

    id: str
    text: str
    path: Path | None
    """None: no file in wavs has the id's name."""
    textgrid: Path | None
    """None: durations have to be found by alignment."""
    duplicate: bool
    """An earlier line has the same id."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one recording: a clip, or a reason why there is none."""

    clip: Clip | None
    """Its speaker and audio_start are not known here; held_out is decided over all clips."""
    pcm: bytes
    """16 bit, little-endian."""
    left_out: LeftOut | None
    from_textgrid: bool


class _Unfit(Exception):
    """A clip that is left out."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def find_recordings(corpus: Path, textgrids: Path | None = None) -> list[Recording]:
    """Returns a row for each line of `corpus`/metadata.csv, in its order.

    The text is the third column, or the second where there is none. TextGrids are looked
    for in `textgrids`, or else in `corpus`/TextGrid, at any depth.

    Raises:
        CorpusError: no folder, no metadata.csv, nothing in it, or no recordings.
    """
    metadata = corpus / "metadata.csv"
    if not corpus.is_dir():
        raise CorpusError(f"There is no folder {corpus}.")
    if not metadata.is_file():
        raise CorpusError(f"There is no metadata.csv in {corpus}{_nearest(corpus)}.")
    waves: dict[str, Path] = {}
    for suffix in (".flac", ".wav"):
        found = sorted((corpus / "wavs").glob(f"*{suffix}"))
        waves |= {path.stem: path for path in found if path.is_file()}
    if not waves:
        raise CorpusError(f"There are no recordings (.wav or .flac) in {corpus / 'wavs'}.")
    if textgrids is not None and not textgrids.is_dir():
        raise CorpusError(f"There is no folder {textgrids}.")
    folder = textgrids or corpus / "TextGrid"
    grids = {path.stem: path for path in sorted(folder.rglob("*.TextGrid"))}
    recordings: list[Recording] = []
    seen: set[str] = set()
    for line in _lines(metadata):
        key, *columns = line.split("|")
        text = next((column.strip() for column in reversed(columns[:2]) if column.strip()), "")
        recordings.append(Recording(key, text, waves.get(key), grids.get(key), key in seen))
        seen.add(key)
    if not recordings:
        raise CorpusError(f"{metadata} is empty.")
    return recordings


def _lines(metadata: Path) -> list[str]:
    try:
        text = metadata.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CorpusError(f"{metadata}, line {line}, is not UTF-8 text.") from error
    # not splitlines: a sentence may hold U+2028 and its like
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _nearest(corpus: Path) -> str:
    inside = sorted(corpus.glob("*/metadata.csv"))
    if inside:
        return f", but there is one in {inside[0].parent}"
    tables = sorted(p.name for p in corpus.iterdir() if p.suffix in (".csv", ".tsv", ".txt"))
    if tables:
        return f"; the nearest thing there is {tables[0]}"
    return ""


def make_clip(recording: Recording) -> Made:
    """Cuts to whole frames from the first to the last phone, brings to RMS 0.08, 16 bit.

    The peak stays below 0.99, at the cost of a lower RMS. Never raises for what is wrong
    with the recording or its text: that is what `Made.left_out` says.
    """
    try:
        clip, pcm = _clip(recording)
    except _Unfit as unfit:
        return Made(None, b"", LeftOut(recording.id, unfit.kind, str(unfit)), False)
    return Made(clip, pcm, None, recording.textgrid is not None)


def _clip(recording: Recording) -> tuple[Clip, bytes]:
    wave = _read(recording)
    intervals = _intervals(recording, wave)
    phones = tuple(interval.phone for interval in intervals)
    frames = tuple(durations(intervals))
    cut = _cut(wave, to_frames(intervals[0].start_seconds) * HOP, HOP * sum(frames))
    gain = _gain(cut)
    pcm = (cut * gain * 32768).round().clamp(-32768, 32767).to(torch.int16)
    clip = Clip(
        id=recording.id,
        text=recording.text,
        speaker="",
        phones=phones,
        ids=_ids(phones),
        frames=frames,
        audio_start=0,
        audio_length=len(pcm),
        gain_db=round(20 * math.log10(gain), 3),
        held_out=False,
    )
    return clip, pcm.numpy().astype("<i2").tobytes()


def _read(recording: Recording) -> Tensor:
    """The recording as (S,) at 22,050 Hz."""
    if recording.duplicate:
        raise _Unfit("duplicate id", "An earlier line of metadata.csv has the same id.")
    if not recording.text:
        raise _Unfit("no text", "metadata.csv has no text for it.")
    if recording.path is None:
        raise _Unfit("no recording", f"There is no {recording.id}.wav or .flac in wavs.")
    try:
        wave, hz = audio.read(recording.path)
    except audio.AudioError as error:
        raise _Unfit("unreadable", str(error)) from error
    if hz < LOWEST_HZ:
        raise _Unfit("sample rate", f"Its rate of {hz:,} Hz is below {LOWEST_HZ:,} Hz.")
    seconds = len(wave) / hz
    if seconds < SHORTEST_SECONDS:
        raise _Unfit("too short", f"It lasts {seconds:.2f} seconds.")
    if seconds > LONGEST_SECONDS:
        raise _Unfit("too long", f"It lasts {seconds:.0f} seconds.")
    try:
        return audio.resample(wave, hz, SAMPLE_RATE_HZ)
    except audio.AudioError as error:
        raise _Unfit("sample rate", str(error)) from error


def _intervals(recording: Recording, wave: Tensor) -> list[Interval]:
    try:
        if recording.textgrid is None:
            heard = audio.resample(wave, SAMPLE_RATE_HZ, ALIGN_HZ)
            return align(heard, transcribe(recording.text))
        intervals = read_textgrid(recording.textgrid)
    except TextError as error:
        raise _Unfit("text", str(error)) from error
    except AlignError as error:
        raise _Unfit("alignment", str(error)) from error
    seconds = len(wave) / SAMPLE_RATE_HZ
    if intervals[-1].end_seconds > seconds + 0.1 or not sum(durations(intervals)):
        raise _Unfit("alignment", "Its TextGrid is longer than the recording, or empty.")
    return intervals


def _ids(phones: Iterable[str]) -> tuple[int, ...]:
    try:
        return tuple(to_ids(tuple(phones)))
    except TextError as error:
        raise _Unfit("text", str(error)) from error


def _cut(wave: Tensor, start: int, length: int) -> Tensor:
    """(length,) from `start`, zeros behind the end: frames round to less than a hop beyond."""
    cut = wave[start : start + length]
    return torch.nn.functional.pad(cut, (0, length - len(cut)))


def _gain(wave: Tensor) -> float:
    rms, peak = float(wave.square().mean().sqrt()), float(wave.abs().max())
    if rms < 1e-5:
        raise _Unfit("silent", "It is silent between its first and last phone.")
    return min(TARGET_RMS / rms, PEAK / peak)
