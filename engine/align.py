"""When each phone of a recording is spoken: forced alignment by pocketsphinx 5, offline.

Its US English model, with our own pronunciations. Knows nothing of corpora or files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

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
LOWEST_FIT = -32.0
"""Mean acoustic score of a 10 ms step (0: no model of the step's sound would fit better).

Measured: right words -18 to -7, under noise of 10 dB less than the speech -29 to -17;
another sentence's words below -37.
"""

_STEP_SECONDS = 0.01
_CENTRE_SECONDS = 0.0078
"""A boundary lies between the centres of two 25.6 ms windows, not where the second one starts."""

_EDGE_SECONDS = 0.2
_RMS = 0.08
_SHORTEST_PHONE_STEPS = 3
_Word = list[tuple[str, int, int, int]]
"""(phone without stress, first step, steps, score); silence is [("SIL", ...)]."""

_BEAMS: tuple[dict[str, float], ...] = ({}, {"beam": 1e-120, "pbeam": 1e-120, "wbeam": 1e-100})


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
    for beams in _BEAMS:
        found = _decode(pcm, spoken, beams)
        if found:
            intervals = _intervals(found, spoken, seconds)
            _check(found, intervals)
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


def _decoder(spoken: Sequence[tuple[str, ...]], beams: dict[str, float]) -> Decoder:
    """A decoder whose only words are w0, w1, ..., pronounced as `spoken`."""
    from pocketsphinx import Decoder

    file, dictionary = tempfile.mkstemp(suffix=".dict")
    try:
        with os.fdopen(file, "w") as lines:
            for i, phones in enumerate(spoken):
                lines.write(f"w{i} {' '.join(map(_bare, phones))}\n")
        return Decoder(
            lm=None,
            dict=dictionary,
            # "live" would adapt to the noise at the start before it has heard any speech
            cmn="batch",
            silprob=0.1,
            bestpath=False,
            loglevel="FATAL",
            **beams,
        )
    finally:
        os.unlink(dictionary)


def _decode(pcm: bytes, spoken: Sequence[tuple[str, ...]], beams: dict[str, float]) -> list[_Word]:
    """The words found, silences among them; [] on failure."""
    # a new one for each clip (10 ms): the acoustic scorer starts from the densities that
    # were best at the end of the clip before, which moves boundaries
    decoder = _decoder(spoken, beams)
    try:
        decoder.set_align_text(" ".join(f"w{i}" for i in range(len(spoken))))
        _feed(decoder, pcm)
        decoder.set_alignment()
        _feed(decoder, pcm)
        found = [
            [(phone.name, phone.start, phone.duration, phone.score) for phone in word]
            for word in decoder.get_alignment()
        ]
    except (RuntimeError, TypeError):
        # pocketsphinx says that the search failed, or gives None for the alignment
        return []
    heard = [[name for name, *_ in word] for word in found if word[0][0] != "SIL"]
    return found if heard == [[_bare(p) for p in phones] for phones in spoken] else []


def _feed(decoder: Decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _bare(phone: str) -> str:
    return phone.rstrip("012")


def _intervals(
    found: Sequence[_Word],
    spoken: Sequence[tuple[str, ...]],
    seconds: float,
) -> list[Interval]:
    stressed = iter(spoken)
    labelled: list[tuple[str, int]] = []
    for word in found:
        silence = word[0][0] == "SIL"
        phones = (PAUSE,) * len(word) if silence else next(stressed)
        labelled.extend((phone, start) for phone, (_, start, *_) in zip(phones, word, strict=True))
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


def _check(found: Sequence[_Word], intervals: Sequence[Interval]) -> None:
    spoken = [phone for word in found for phone in word if phone[0] != "SIL"]
    fit = sum(score for *_, score in spoken) / sum(steps for _, _, steps, _ in spoken)
    if fit < LOWEST_FIT:
        raise AlignError(f"The words do not fit the recording (fit {fit:.0f}).")
    longest = max(i.end_seconds - i.start_seconds for i in intervals if i.phone not in SILENCES)
    if longest > SLOWEST_PHONE_SECONDS:
        raise AlignError(
            f"The words do not fit the recording: one phone would last {longest:.1f} seconds."
        )
