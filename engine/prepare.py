"""A corpus of recordings into a prepared one: workers, the held-out split, the report.

What was done is kept in a journal, so a run that is stopped at any instant goes on where it
stopped. What is made is read by `engine.data`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import torch

from engine import plain_json
from engine.data import AUDIO_FILE, CLIPS_FILE, SAMPLE_RATE_HZ, UNFINISHED_FILE, Clip, CorpusError
from engine.files import replacing
from engine.recordings import LeftOut, Made, Recording, find_recordings, make_clip

REPORT_FILE = "report.json"
FORMAT = 1

HELD_OUT_SHARE = 0.02
HELD_OUT_LEAST = 8

Progress = Callable[[int, int, str], None]
"""Called as (clips done, clips in all, id of the last one)."""


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
    recordings = find_recordings(corpus, textgrids)
    name = speaker or corpus.resolve().name
    if not name.isprintable():
        raise CorpusError(
            f"The speaker's name {name[:80]!a} cannot be shown; give one with --speaker."
        )
    stamp = _stamp(recordings, name, held_out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"The folder {out} cannot be made: {error.strerror}.") from error
    with (out / UNFINISHED_FILE).open("a+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CorpusError(f"Another process is preparing {out}.") from error
        report = _finished(out, stamp)
        if report is None:
            _make_all(recordings, name, out, journal, stamp, processes, on_progress)
            report = _finish(out, journal, stamp, name, held_out)
        (out / UNFINISHED_FILE).unlink(missing_ok=True)
    return report


def _stamp(recordings: Sequence[Recording], speaker: str, held_out: int | None) -> str:
    """Changes when anything that the result depends on does."""

    def identity(path: Path | None) -> list[int]:
        return [path.stat().st_size, path.stat().st_mtime_ns] if path else []

    rows = [[r.id, r.text, identity(r.path), identity(r.textgrid)] for r in recordings]
    whole = json.dumps([FORMAT, speaker, held_out, rows])
    return hashlib.sha256(whole.encode()).hexdigest()


def _finished(out: Path, stamp: str) -> PrepareReport | None:
    if not (out / CLIPS_FILE).is_file() or not (out / REPORT_FILE).is_file():
        return None
    try:
        row = plain_json.parse((out / REPORT_FILE).read_bytes())
        if row.pop("stamp") != stamp:
            return None
        row["left_out"] = tuple(LeftOut(**clip) for clip in row["left_out"])
        return PrepareReport(**row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


# --- making clips ----------------------------------------------------------------


def _make_all(
    recordings: Sequence[Recording],
    speaker: str,
    out: Path,
    journal: IO[bytes],
    stamp: str,
    processes: int | None,
    on_progress: Progress | None,
) -> None:
    """Appends what is missing; a row is written after its audio, so it never lacks any."""
    done, start = _resume(out, journal, stamp)
    todo = recordings[done:]
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
                on_progress(done + 1, len(recordings), recordings[done].id)
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
        if not line.endswith(b"\n") or line[:1] != b"{":
            break
        try:
            clip = plain_json.parse(line)["clip"]
            end = clip["audio_start"] + clip["audio_length"] if clip else samples
            if not samples <= end <= size // 2:
                break
        except (ValueError, KeyError, TypeError):
            break
        done, samples, good = done + 1, end, good + len(line)
    journal.truncate(good)
    journal.seek(good)
    if size:
        os.truncate(audio_path, 2 * samples)
    return done, samples


def _each(recordings: Sequence[Recording], processes: int | None) -> Iterator[Made]:
    count = processes or min(8, os.cpu_count() or 1)
    if count == 1 or len(recordings) < 2 * count:
        yield from map(make_clip, recordings)
        return
    # spawn: a forked child of a process with threads (torch, a terminal) may hang
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _start_worker)
    try:
        yield from pool.map(make_clip, recordings)
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
        _discard(out)
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
    with replacing(out / REPORT_FILE) as path:
        path.write_text(json.dumps({"stamp": stamp, **asdict(report)}, indent=1))
    with replacing(out / CLIPS_FILE) as path:
        path.write_text("".join(json.dumps(clip) + "\n" for clip in clips))
    return report


def _discard(out: Path) -> None:
    """Removes what a preparation without a usable clip has written."""
    for name in (AUDIO_FILE, UNFINISHED_FILE):
        (out / name).unlink(missing_ok=True)
    with suppress(OSError):  # another's files lie there too
        out.rmdir()


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
