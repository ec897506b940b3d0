"""When each phone of a recording is spoken: forced alignment by pocketsphinx 5, offline.

Its US English model, with our own pronunciations. Knows nothing of corpora or files.
"""

from __future__ import annotations

import functools
import os
import tempfile
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from engine.intervals import AlignError, Interval, without_edges
from engine.text import PAUSE, SILENCES, Word

if TYPE_CHECKING:
    from pocketsphinx import Decoder
    from torch import Tensor

ALIGN_HZ = 16_000
"""Sample rate of pocketsphinx's acoustic model."""

SHORTEST_PAUSE_SECONDS = 0.05
"""A silence below this is the closure of a stop, not a pause; it joins the phone behind it."""

SLOWEST_PHONE_SECONDS = 1.0
HURRIED_SHARE = 0.45
"""Words that do not fit the recording are squeezed into shortest phones; more is a misfit."""

_STEP_SECONDS = 0.01
_CENTRE_SECONDS = 0.0078
"""A boundary lies between the centres of two 25.6 ms windows, not where the second one starts."""

_EDGE_SECONDS = 0.2
_RMS = 0.08
_SHORTEST_PHONE_STEPS = 3
_BEAMS: tuple[dict[str, Any], ...] = ({}, {"beam": 1e-120, "pbeam": 1e-120, "wbeam": 1e-100})


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
            found = [
                [(p.name, p.start, p.duration) for p in word] for word in decoder.get_alignment()
            ]
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
    return _without_closures(without_edges([Interval(*interval) for interval in timed]))


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
