"""When each phone of a recording is spoken: forced alignment, TextGrids, frame counts.

`align` finds it offline with pocketsphinx 5 and its US English model; `read_textgrid` takes
what the Montreal Forced Aligner found. Knows nothing of corpora or files of audio.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from engine.text import PAUSE, SILENCES, Word
from engine.types import HOP

if TYPE_CHECKING:
    from pocketsphinx import Decoder
    from torch import Tensor

ALIGN_HZ = 16_000
"""Sample rate of pocketsphinx's acoustic model."""

FRAMES_PER_SECOND = 22_050 / HOP
"""73.5, WaveGrad 2's conditioning frames."""

SHORTEST_PAUSE_SECONDS = 0.05
"""A silence below this is the closure of a stop, not a pause; it joins the phone behind it."""

SLOWEST_PHONE_SECONDS = 1.0
HURRIED_SHARE = 0.45
"""Words that do not fit the recording are squeezed into shortest phones; more than this is wrong."""

_STEP_SECONDS = 0.01
_CENTRE_SECONDS = 0.0078
"""A boundary lies between the centres of two 25.6 ms windows, not where the second one starts."""

_EDGE_SECONDS = 0.2
_RMS = 0.08
_SHORTEST_PHONE_STEPS = 3
_BEAMS = ({}, {"beam": 1e-120, "pbeam": 1e-120, "wbeam": 1e-100})


class AlignError(ValueError):
    """A recording that cannot be aligned; its message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Interval:
    phone: str
    """Stressed ARPAbet, or sp, spn, sil."""
    start_seconds: float
    end_seconds: float


def align(wave: Tensor, words: Sequence[Word]) -> list[Interval]:
    """Returns when each phone of `words` is spoken in `wave`; contiguous, no pause at the ends.

    Viterbi alignment in 10 ms steps (every phone lasts at least 30 ms) with the words'
    own pronunciations, so no word is unknown. Pauses among `words` are not used: "sp"
    stands where one is heard between two words. The same input gives the same intervals,
    whatever was aligned before.

    Args:
        wave: (S,) float at `ALIGN_HZ`, any level.
        words: what is said, from `engine.text.transcribe`.

    Raises:
        AlignError: silence, no words, or words that do not fit the recording.
    """
    spoken = [tuple(p for p in word.phones if p not in SILENCES) for word in words]
    spoken = [phones for phones in spoken if phones]
    if not spoken:
        raise AlignError("There are no words to align.")
    seconds = wave.shape[-1] / ALIGN_HZ
    shortest = sum(map(len, spoken)) * _SHORTEST_PHONE_STEPS * _STEP_SECONDS
    if seconds < shortest:
        raise AlignError(
            f"The recording lasts {seconds:.2f} seconds, too short for its words "
            f"(at least {shortest:.2f})."
        )
    pcm = _pcm(wave)
    for i in range(len(_BEAMS)):
        found = _decode(pcm, spoken, i)
        if found:
            intervals = _intervals(found, spoken, seconds)
            _check(intervals)
            return intervals
    raise AlignError("The words do not fit the recording.")


def read_textgrid(path: Path) -> list[Interval]:
    """Returns the intervals of tier "phones" of a Praat TextGrid, long or short format.

    Pauses at both ends are dropped, those inside are kept; an empty label is "sp".

    Raises:
        AlignError: unreadable, no such tier, or no phone in it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AlignError(f"The TextGrid {path} cannot be read: {error.strerror}.") from error
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        tiers = _tiers(raw.decode(encoding))
    except (ValueError, IndexError) as error:
        raise AlignError(f"{path} is not a TextGrid that can be read.") from error
    if "phones" not in tiers:
        names = ", ".join(tiers) or "none"
        raise AlignError(f'The TextGrid {path} has no tier "phones"; its tiers: {names}.')
    intervals = _without_edges(tiers["phones"])
    if not intervals:
        raise AlignError(f"The TextGrid {path} holds no phone.")
    return intervals


def durations(intervals: Sequence[Interval]) -> list[int]:
    """Frames of each interval: round(73.5 end) - round(73.5 start).

    Rounding the ends, not the lengths, keeps their sum that of the whole. A phone shorter
    than half a frame may get 0.
    """
    return [to_frames(i.end_seconds) - to_frames(i.start_seconds) for i in intervals]


def to_frames(seconds: float) -> int:
    """The nearest boundary between conditioning frames."""
    return round(seconds * FRAMES_PER_SECOND)


def _without_edges(intervals: Sequence[Interval]) -> list[Interval]:
    real = [i for i, interval in enumerate(intervals) if interval.phone not in SILENCES]
    return list(intervals[real[0] : real[-1] + 1]) if real else []


# --- pocketsphinx --------------------------------------------------------------


def _pcm(wave: Tensor) -> bytes:
    """16-bit audio at a fixed RMS, faint noise before and behind it.

    The corpora are cut close to the first and last phone, and an acoustic model that is
    shown no silence there stretches these phones over whatever is left.
    """
    wave = wave.detach().float().cpu()
    level = float(wave.square().mean().sqrt()) if wave.numel() else 0.0
    if not level > 1e-5:
        raise AlignError("The recording is silent.")
    generator = torch.Generator().manual_seed(0)
    edge = torch.randn(2, round(_EDGE_SECONDS * ALIGN_HZ), generator=generator) * 1e-3
    padded = torch.cat([edge[0], wave * (_RMS / level), edge[1]])
    scaled = (padded.clamp(-1.0, 1.0) * 32767).round().to(torch.int16)
    return bytes(scaled.numpy().tobytes())


_lock = threading.Lock()


@functools.cache
def _decoder(beams: int) -> Decoder:
    """One decoder a process; `_add` gives it the words as they come."""
    from pocketsphinx import Decoder

    file, dictionary = tempfile.mkstemp(suffix=".dict")
    try:
        os.write(file, b"w_AH AH\n")
        os.close(file)
        return Decoder(
            lm=None,
            dict=dictionary,
            # "live" carries the mean over to the next clip: results would depend on the order
            cmn="batch",
            silprob=0.1,
            bestpath=False,
            loglevel="FATAL",
            **_BEAMS[beams],
        )
    finally:
        os.unlink(dictionary)


def _decode(
    pcm: bytes, spoken: Sequence[tuple[str, ...]], beams: int
) -> list[list[tuple[str, int, int]]]:
    """Words, each its (phone, first step, steps), silence as [("SIL", ...)]; [] on failure."""
    with _lock:
        decoder = _decoder(beams)
        names = [_add(decoder, phones) for phones in spoken]
        try:
            decoder.set_align_text(" ".join(names))
            _feed(decoder, pcm)
            decoder.set_alignment()
            _feed(decoder, pcm)
            found = [[(p.name, p.start, p.duration) for p in word] for word in decoder.get_alignment()]
        except (RuntimeError, TypeError):
            # pocketsphinx says that the search failed, or gives None for the alignment
            return []
    heard = [[name for name, _, _ in word] for word in found if word[0][0] != "SIL"]
    return found if heard == [[_bare(p) for p in phones] for phones in spoken] else []


def _add(decoder: Decoder, phones: Sequence[str]) -> str:
    bare = [_bare(phone) for phone in phones]
    name = "w_" + "_".join(bare)
    if decoder.lookup_word(name) is None:
        decoder.add_word(name, " ".join(bare), False)
    return name


def _feed(decoder: Decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _bare(phone: str) -> str:
    return phone.rstrip("012")


def _intervals(
    found: Sequence[Sequence[tuple[str, int, int]]],
    spoken: Sequence[tuple[str, ...]],
    seconds: float,
) -> list[Interval]:
    stressed = iter(spoken)
    labelled: list[tuple[str, int]] = []
    for word in found:
        silence = word[0][0] == "SIL"
        phones = (PAUSE,) * len(word) if silence else next(stressed)
        labelled.extend((phone, start) for phone, (_, start, _) in zip(phones, word, strict=True))
    last = found[-1][-1]

    def to_seconds(step: int) -> float:
        moved = step * _STEP_SECONDS + _CENTRE_SECONDS - _EDGE_SECONDS
        return min(max(moved, 0.0), seconds)

    starts = [to_seconds(step) for _, step in labelled]
    ends = [*starts[1:], to_seconds(last[1] + last[2])]
    timed = zip((phone for phone, _ in labelled), starts, ends, strict=True)
    return _without_closures(_without_edges([Interval(*interval) for interval in timed]))


def _without_closures(intervals: Iterable[Interval]) -> list[Interval]:
    kept: list[Interval] = []
    start: float | None = None
    for interval in intervals:
        length = interval.end_seconds - interval.start_seconds
        if interval.phone == PAUSE and length < SHORTEST_PAUSE_SECONDS - 1e-9:
            start = interval.start_seconds
            continue
        begins = interval.start_seconds if start is None else start
        kept.append(Interval(interval.phone, begins, interval.end_seconds))
        start = None
    return kept


def _check(intervals: Sequence[Interval]) -> None:
    phones = [i.end_seconds - i.start_seconds for i in intervals if i.phone not in SILENCES]
    hurried = sum(length < 0.035 for length in phones) / len(phones)
    if len(phones) >= 10 and hurried > HURRIED_SHARE:
        raise AlignError(
            f"The words do not fit the recording: {hurried:.0%} of the phones would last "
            "30 milliseconds or less."
        )
    if max(phones) > SLOWEST_PHONE_SECONDS:
        raise AlignError(
            f"The words do not fit the recording: one phone would last {max(phones):.1f} seconds."
        )


# --- TextGrid ------------------------------------------------------------------

_VALUE = re.compile(r'"((?:[^"]|"")*)"|<(exists|absent)>|(?<![\w.\[])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.\]])')


def _tiers(text: str) -> dict[str, list[Interval]]:
    """Interval tiers by name. Both formats are the same values, the long one with names between."""
    values: list[str | float] = []
    for string, flag, number in _VALUE.findall(text):
        values.append(float(number) if number else flag or string.replace('""', '"'))
    if values[:2] != ["ooTextFile", "TextGrid"]:
        raise ValueError("not a TextGrid")
    count = int(values[5])
    at = 6
    tiers: dict[str, list[Interval]] = {}
    for _ in range(count):
        kind, name, size = str(values[at]), str(values[at + 1]), int(values[at + 4])
        width = 3 if kind == "IntervalTier" else 2
        rows = [values[i : i + width] for i in range(at + 5, at + 5 + size * width, width)]
        if kind == "IntervalTier":
            tiers[name] = [
                Interval(str(label).strip() or PAUSE, float(start), float(end))
                for start, end, label in rows
            ]
        at += 5 + size * width
    return tiers
