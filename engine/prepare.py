"""A folder of recordings into a prepared corpus: phones, durations, level, held-out split.

Reads the LJSpeech layout: `metadata.csv` with `id|text|normalised text` and the recordings
as `wavs/ID.wav` or `.flac`. A run that is stopped at any instant goes on where it stopped.
Knows nothing of models; what is made is read by `engine.data`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from engine import audio
from engine.align import ALIGN_HZ, AlignError, Interval, align, durations, read_textgrid, to_frames
from engine.data import AUDIO_FILE, CLIPS_FILE, SAMPLE_RATE_HZ, UNFINISHED_FILE, Clip, CorpusError
from engine.text import TextError, to_ids, transcribe
from engine.types import HOP

REPORT_FILE = "report.json"
FORMAT = 1

TARGET_RMS = 0.08
PEAK = 0.99
LOWEST_HZ = 16_000
"""Below it, the upper third of what the voice has to learn is missing."""

SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 60.0

HELD_OUT_SHARE = 0.02
HELD_OUT_LEAST = 8

Progress = Callable[[int, int, str], None]
"""Called as (clips done, clips in all, id of the last one)."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    id: str
    kind: str
    """One of a few words that can be counted, such as "too short"."""
    reason: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class PrepareReport:
    speaker: str
    kept: int
    held_out: int
    hours: float
    """Of the kept clips, after cutting."""
    from_textgrids: int
    """Kept clips whose durations were read, not found by `engine.align.align`."""
    left_out: tuple[LeftOut, ...]

    @property
    def left_out_by_kind(self) -> dict[str, int]:
        return dict(Counter(clip.kind for clip in self.left_out).most_common())

    def summary(self) -> str:
        """A few lines for a terminal or a log."""
        lines = [
            f"{self.speaker}: {self.kept:,} clips, {self.hours:.2f} hours; "
            f"{self.held_out} held out, {len(self.left_out)} left out"
        ]
        lines += [f"  {count} {kind}" for kind, count in self.left_out_by_kind.items()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Job:
    """One line of the metadata; all that a worker needs."""

    id: str
    text: str
    recording: Path | None
    textgrid: Path | None
    duplicate: bool


@dataclass(frozen=True, slots=True)
class _Made:
    clip: Clip | None
    pcm: bytes
    left_out: LeftOut | None
    from_textgrid: bool


class _Unfit(Exception):
    """A clip that is left out."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def prepare(
    corpus: Path,
    out: Path,
    *,
    speaker: str | None = None,
    textgrids: Path | None = None,
    held_out: int | None = None,
    processes: int | None = None,
    on_progress: Progress | None = None,
) -> PrepareReport:
    """Makes a prepared corpus of `corpus` in `out`; at once if nothing changed since the last.

    Each clip is cut from its first to its last phone, to whole conditioning frames, and
    brought to RMS 0.08 with its peak below 0.99. Clips that cannot be used are left out,
    each with its reason. The same corpus gives the same bytes, however often the run was
    stopped and whatever `processes` is.

    Args:
        corpus: folder in the LJSpeech layout.
        out: folder to make; what another corpus or setting left there is replaced.
        speaker: name of the voice; the corpus folder's name if None.
        textgrids: folder with ID.TextGrid files of the Montreal Forced Aligner, at any
            depth; `corpus`/TextGrid if None. Clips without one are aligned here.
        held_out: clips to hold out, more where a sentence has several takes. None: 2 % of
            the clips and at least 8, but never more than a fifth.
        processes: workers; None: one a core, at most 8.
        on_progress: called after each clip, in this thread.

    Raises:
        CorpusError: no corpus there, nothing usable in it, or another process is at it.
    """
    jobs = _jobs(corpus, textgrids)
    name = speaker or corpus.resolve().name
    stamp = _stamp(jobs, name, held_out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / UNFINISHED_FILE).open("a+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CorpusError(f"Another process is preparing {out}.") from error
        report = _finished(out, stamp)
        if report is None:
            _make_all(jobs, name, out, journal, stamp, processes, on_progress)
            report = _finish(out, journal, stamp, name, held_out)
        (out / UNFINISHED_FILE).unlink()
    return report


# --- what there is ---------------------------------------------------------------


def _jobs(corpus: Path, textgrids: Path | None) -> list[_Job]:
    metadata = corpus / "metadata.csv"
    if not corpus.is_dir():
        raise CorpusError(f"There is no folder {corpus}.")
    if not metadata.is_file():
        raise CorpusError(f"There is no metadata.csv in {corpus}{_nearest(corpus)}.")
    recordings: dict[str, Path] = {}
    for suffix in (".flac", ".wav"):
        recordings |= {path.stem: path for path in sorted((corpus / "wavs").glob(f"*{suffix}"))}
    if not recordings:
        raise CorpusError(f"There are no recordings (.wav or .flac) in {corpus / 'wavs'}.")
    if textgrids is not None and not textgrids.is_dir():
        raise CorpusError(f"There is no folder {textgrids}.")
    folder = textgrids or corpus / "TextGrid"
    grids = {path.stem: path for path in sorted(folder.rglob("*.TextGrid"))}
    jobs = []
    seen: set[str] = set()
    for line in _lines(metadata):
        key, *columns = line.split("|")
        text = next((column.strip() for column in reversed(columns[:2]) if column.strip()), "")
        jobs.append(_Job(key, text, recordings.get(key), grids.get(key), key in seen))
        seen.add(key)
    if not jobs:
        raise CorpusError(f"{metadata} is empty.")
    return jobs


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


def _stamp(jobs: Sequence[_Job], speaker: str, held_out: int | None) -> str:
    """Changes when anything that the result depends on does."""

    def identity(path: Path | None) -> list[int]:
        return [path.stat().st_size, path.stat().st_mtime_ns] if path else []

    rows = [[j.id, j.text, identity(j.recording), identity(j.textgrid)] for j in jobs]
    whole = json.dumps([FORMAT, speaker, held_out, rows])
    return hashlib.sha256(whole.encode()).hexdigest()


def _finished(out: Path, stamp: str) -> PrepareReport | None:
    if not (out / CLIPS_FILE).is_file() or not (out / REPORT_FILE).is_file():
        return None
    try:
        row = json.loads((out / REPORT_FILE).read_text(encoding="utf-8"))
        if row.pop("stamp") != stamp:
            return None
        row["left_out"] = tuple(LeftOut(**clip) for clip in row["left_out"])
        return PrepareReport(**row)
    except (ValueError, KeyError, TypeError):
        return None


# --- making clips ----------------------------------------------------------------


def _make_all(
    jobs: Sequence[_Job],
    speaker: str,
    out: Path,
    journal: IO[bytes],
    stamp: str,
    processes: int | None,
    on_progress: Progress | None,
) -> None:
    """Appends what is missing; a row is written after its audio, so it never lacks any."""
    done, start = _resume(out, journal, stamp)
    todo = jobs[done:]
    with (out / AUDIO_FILE).open("ab") as file:
        for made in _each(todo, processes):
            clip = made.clip
            if clip is not None:
                clip = replace(clip, speaker=speaker, audio_start=start)
                start += clip.audio_length
                file.write(made.pcm)
                file.flush()
            row = {
                "clip": _row(clip) if clip else None,
                "left_out": asdict(made.left_out) if made.left_out else None,
                "from_textgrid": made.from_textgrid,
            }
            journal.write(json.dumps(row).encode() + b"\n")
            journal.flush()
            if on_progress:
                on_progress(done + 1, len(jobs), jobs[done].id)
            done += 1
        os.fsync(file.fileno())


def _resume(out: Path, journal: IO[bytes], stamp: str) -> tuple[int, int]:
    """Clips and audio samples that a stopped run has left; drops what is half written."""
    journal.seek(0)
    header = json.dumps({"stamp": stamp}).encode() + b"\n"
    audio_path = out / AUDIO_FILE
    if journal.readline() != header:
        for name in (CLIPS_FILE, REPORT_FILE, AUDIO_FILE):
            # removed, not emptied: a training run may have the old audio mapped
            (out / name).unlink(missing_ok=True)
        journal.truncate(0)
        journal.write(header)
        journal.flush()
        return 0, 0
    size = audio_path.stat().st_size if audio_path.is_file() else 0
    done = samples = 0
    good = journal.tell()
    for line in journal:
        if not line.endswith(b"\n"):
            break
        clip = json.loads(line)["clip"]
        end = clip["audio_start"] + clip["audio_length"] if clip else samples
        if 2 * end > size:
            break
        done, samples, good = done + 1, end, good + len(line)
    journal.truncate(good)
    journal.seek(good)
    if size:
        os.truncate(audio_path, 2 * samples)
    return done, samples


def _each(jobs: Sequence[_Job], processes: int | None) -> Iterator[_Made]:
    count = processes or min(8, len(os.sched_getaffinity(0)))
    if count == 1 or len(jobs) < 2 * count:
        yield from map(_make, jobs)
        return
    # spawn: a forked child of a process with threads (torch, a terminal) may hang
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start_worker)
    try:
        yield from pool.map(_make, jobs)
    except BrokenProcessPool as error:
        raise CorpusError("A worker of the preparation died; run it again to go on.") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _make(job: _Job) -> _Made:
    try:
        clip, pcm = _clip(job)
    except _Unfit as unfit:
        return _Made(None, b"", LeftOut(job.id, unfit.kind, str(unfit)), False)
    return _Made(clip, pcm, None, job.textgrid is not None)


def _clip(job: _Job) -> tuple[Clip, bytes]:
    wave = _read(job)
    intervals = _intervals(job, wave)
    phones = tuple(interval.phone for interval in intervals)
    frames = tuple(durations(intervals))
    cut = _cut(wave, to_frames(intervals[0].start_seconds) * HOP, HOP * sum(frames))
    gain = _gain(cut)
    pcm = (cut * gain * 32768).round().clamp(-32768, 32767).to(torch.int16)
    clip = Clip(
        id=job.id,
        text=job.text,
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


def _read(job: _Job) -> Tensor:
    """The recording as (S,) at 22,050 Hz."""
    if job.duplicate:
        raise _Unfit("duplicate id", "An earlier line of metadata.csv has the same id.")
    if not job.text:
        raise _Unfit("no text", "metadata.csv has no text for it.")
    if job.recording is None:
        raise _Unfit("no recording", f"There is no {job.id}.wav or .flac in wavs.")
    try:
        wave, hz = audio.read(job.recording)
    except audio.AudioError as error:
        raise _Unfit("unreadable", str(error)) from error
    if hz < LOWEST_HZ:
        raise _Unfit("sample rate", f"Its rate of {hz:,} Hz is below {LOWEST_HZ:,} Hz.")
    seconds = len(wave) / hz
    if seconds < SHORTEST_SECONDS:
        raise _Unfit("too short", f"It lasts {seconds:.2f} seconds.")
    if seconds > LONGEST_SECONDS:
        raise _Unfit("too long", f"It lasts {seconds:.0f} seconds.")
    return audio.resample(wave, hz, SAMPLE_RATE_HZ)


def _intervals(job: _Job, wave: Tensor) -> list[Interval]:
    try:
        if job.textgrid is None:
            heard = audio.resample(wave, SAMPLE_RATE_HZ, ALIGN_HZ)
            return align(heard, transcribe(job.text))
        intervals = read_textgrid(job.textgrid)
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


# --- finishing -------------------------------------------------------------------


def _finish(
    out: Path, journal: IO[bytes], stamp: str, speaker: str, held_out: int | None
) -> PrepareReport:
    """Writes the report, then the clips: their name appearing is what finishes a run."""
    journal.seek(0)
    rows = [json.loads(line) for line in list(journal)[1:]]
    clips = [row["clip"] for row in rows if row["clip"]]
    left_out = tuple(LeftOut(**row["left_out"]) for row in rows if row["left_out"])
    if not clips:
        kinds = Counter(clip.kind for clip in left_out)
        raise CorpusError(
            "No clip could be used: "
            + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            + f"; the first, {left_out[0].id}: {left_out[0].reason}"
        )
    held = _held_out([clip["text"] for clip in clips], held_out)
    for clip in clips:
        clip["held_out"] = clip["text"] in held
    report = PrepareReport(
        speaker=speaker,
        kept=len(clips),
        held_out=sum(clip["held_out"] for clip in clips),
        hours=sum(clip["audio_length"] for clip in clips) / SAMPLE_RATE_HZ / 3600,
        from_textgrids=sum(row["from_textgrid"] for row in rows),
        left_out=left_out,
    )
    _replace(out / REPORT_FILE, json.dumps({"stamp": stamp, **asdict(report)}, indent=1))
    _replace(out / CLIPS_FILE, "".join(json.dumps(clip) + "\n" for clip in clips))
    return report


def _held_out(texts: Sequence[str], count: int | None) -> set[str]:
    """Sentences to hold out, so that all takes of one are on the same side.

    Ordered by a hash of the text: the choice neither depends on the order of the clips nor
    changes much when clips come or go.
    """
    takes = Counter(texts)
    if count is None:
        wanted = max(HELD_OUT_LEAST, round(HELD_OUT_SHARE * len(texts)))
        count = min(wanted, len(texts) // 5)
    chosen: set[str] = set()
    clips = 0
    for text in sorted(takes, key=lambda text: hashlib.sha256(text.encode()).digest()):
        if clips >= count or len(chosen) == len(takes) - 1:
            break
        chosen.add(text)
        clips += takes[text]
    return chosen


def _row(clip: Clip) -> dict[str, object]:
    row = asdict(clip)
    # given by the order in which corpora are opened
    del row["speaker_id"]
    return row


def _replace(path: Path, content: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
