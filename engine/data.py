"""Corpora that are ready to train on, batches of them, and lists of prompts.

A prepared corpus is a folder with `clips.jsonl` (a row a clip), `audio.i16` (all clips end
to end: mono, 22,050 Hz, 16 bit, little-endian) and `report.json`. `engine.prepare` writes
it. Knows nothing of alignment, models or the drawing of batches.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine import plain_json
from engine.text import SYMBOLS
from engine.types import HOP

SAMPLE_RATE_HZ = 22_050
CLIPS_FILE = "clips.jsonl"
AUDIO_FILE = "audio.i16"
UNFINISHED_FILE = "clips.part"
"""The journal of a preparation; there until it is finished."""


class CorpusError(ValueError):
    """A corpus or a list of prompts that cannot be used; its message is one sentence."""


@dataclass(frozen=True, slots=True)
class Clip:
    id: str
    text: str
    speaker: str
    phones: tuple[str, ...]
    """N phones without "@", pauses inside included."""
    ids: tuple[int, ...]
    """(N,) their rows in `engine.text.SYMBOLS`."""
    frames: tuple[int, ...]
    """(N,) duration of each phone in conditioning frames (1/73.5 s)."""
    audio_start: int
    """Audio samples before this clip, counted over all audio of the corpora opened together."""
    audio_length: int
    """Audio samples, HOP * sum(frames)."""
    gain_db: float
    """What loudness normalisation multiplied the recording by."""
    held_out: bool
    """Never to be trained on."""
    speaker_id: int = 0

    @property
    def total_frames(self) -> int:
        return self.audio_length // HOP

    @property
    def seconds(self) -> float:
        return self.audio_length / SAMPLE_RATE_HZ


@dataclass(frozen=True)
class PreparedCorpus:
    """One or several prepared corpora, opened; their audio stays on disk until asked for."""

    clips: tuple[Clip, ...]
    speakers: tuple[str, ...]
    """Name by speaker id."""
    audio_files: tuple[np.ndarray[tuple[int], np.dtype[np.int16]], ...]
    """Memory-mapped, in the order in which `Clip.audio_start` counts."""

    @classmethod
    def open(cls, folder: Path) -> PreparedCorpus:
        """Opens what `engine.prepare.prepare` made.

        Raises:
            CorpusError: not there, not finished, or damaged.
        """
        return open_corpora([folder])

    @property
    def training(self) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.clips if not clip.held_out)

    @property
    def held_out(self) -> tuple[Clip, ...]:
        return tuple(clip for clip in self.clips if clip.held_out)

    @property
    def hours(self) -> float:
        return sum(clip.seconds for clip in self.clips) / 3600

    def wave(self, clip: Clip) -> Tensor:
        """The audio of one of `clips`: (clip.audio_length,) float32 in [-1, 1)."""
        ends = np.cumsum([len(audio) for audio in self.audio_files]).tolist()
        file = bisect.bisect_right(ends, clip.audio_start)
        start = clip.audio_start - (ends[file - 1] if file else 0)
        samples = self.audio_files[file][start : start + clip.audio_length]
        return torch.from_numpy(samples.astype(np.float32)) / 32768

    def all_audio(self) -> Tensor:
        """All audio in memory, (total,) int16, 159 MB an hour; 32768 is full scale.

        A clip lies at [clip.audio_start : clip.audio_start + clip.audio_length].
        """
        return torch.from_numpy(np.concatenate(self.audio_files))


@dataclass(frozen=True, slots=True)
class Batch:
    """B clips, padded. N phones, S audio samples (a multiple of HOP) of the longest."""

    clip_ids: tuple[str, ...]
    ids: Tensor
    """(B, N) int64 symbols, 0 behind each row's length; rows by falling length."""
    lengths: Tensor
    """(B,) int64 phones, falling: what packed LSTMs need."""
    durations: Tensor
    """(B, N) int64 conditioning frames, 0 behind each row's length."""
    wave: Tensor
    """(B, S) float32, 0 behind each row's audio."""
    frames: Tensor
    """(B,) int64 real conditioning frames, audio samples / HOP."""
    speakers: Tensor
    """(B,) int64 speaker ids."""


def open_corpora(folders: Sequence[Path]) -> PreparedCorpus:
    """Opens several prepared corpora as one; speaker ids 0, 1, ... in the order given.

    Corpora of the same speaker name share an id.

    Raises:
        CorpusError: none given, or one of them not there, not finished, or damaged.
    """
    if not folders:
        raise CorpusError("No prepared corpus was given.")
    clips: list[Clip] = []
    files = []
    speakers: dict[str, int] = {}
    base = 0
    for folder in folders:
        rows = _read_rows(Path(folder))
        audio = _map_audio(Path(folder), sum(row.audio_length for row in rows))
        for row in rows:
            speaker_id = speakers.setdefault(row.speaker, len(speakers))
            clips.append(replace(row, audio_start=row.audio_start + base, speaker_id=speaker_id))
        files.append(audio)
        base += len(audio)
    return PreparedCorpus(tuple(clips), tuple(speakers), tuple(files))


def collate(clips: Sequence[Clip], waves: Sequence[Tensor]) -> Batch:
    """Pads clips and their whole waves into a batch, rows sorted by falling phone count.

    Args:
        clips: B clips.
        waves: B tensors (clip.audio_length,), in the order of `clips`.
    """
    order = sorted(range(len(clips)), key=lambda i: len(clips[i].ids), reverse=True)
    rows = [clips[i] for i in order]
    longest = len(rows[0].ids)
    wave = torch.zeros(len(rows), max(row.audio_length for row in rows))
    for b, i in enumerate(order):
        wave[b, : clips[i].audio_length] = waves[i]

    def padded(values: Sequence[tuple[int, ...]]) -> Tensor:
        return torch.tensor([[*row, *[0] * (longest - len(row))] for row in values])

    return Batch(
        clip_ids=tuple(row.id for row in rows),
        ids=padded([row.ids for row in rows]),
        lengths=torch.tensor([len(row.ids) for row in rows]),
        durations=padded([row.frames for row in rows]),
        wave=wave,
        frames=torch.tensor([row.total_frames for row in rows]),
        speakers=torch.tensor([row.speaker_id for row in rows]),
    )


def read_prompts(path: Path) -> tuple[str, ...]:
    """Returns the sentences of a text file: one a line, blank lines and # comments skipped.

    Raises:
        CorpusError: unreadable, not UTF-8, or no sentence in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CorpusError(f"The prompts {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"The prompts {path} are not UTF-8 text.") from error
    stripped = [line.strip() for line in lines]
    prompts = tuple(line for line in stripped if line and not line.startswith("#"))
    if not prompts:
        raise CorpusError(f"There is no sentence in {path}: write one a line, without # before it.")
    return prompts


def _read_rows(folder: Path) -> list[Clip]:
    path = folder / CLIPS_FILE
    if not path.is_file():
        if (folder / UNFINISHED_FILE).is_file():
            raise CorpusError(
                f"The preparation of {folder} was not finished; prepare it again, and it goes "
                "on where it stopped."
            )
        if (folder / "metadata.csv").is_file():
            raise CorpusError(f"{folder} is a corpus that has not been prepared yet.")
        raise CorpusError(f"There is no prepared corpus in {folder}: no {CLIPS_FILE}.")
    rows: list[Clip] = []
    try:
        for line in path.read_bytes().splitlines():
            rows.append(_clip(line, rows[-1].audio_start + rows[-1].audio_length if rows else 0))
    except (ValueError, TypeError, KeyError) as error:
        raise CorpusError(
            f"{path}, line {len(rows) + 1}, is damaged; prepare the corpus again."
        ) from error
    return rows


def _clip(line: bytes, start: int) -> Clip:
    row = plain_json.parse(line)
    row |= {key: tuple(row[key]) for key in ("phones", "ids", "frames")}
    clip = Clip(**row)
    if not all(isinstance(word, str) for word in (clip.id, clip.text, clip.speaker, *clip.phones)):
        raise ValueError("a word is none")
    if not all(type(n) is int for n in (*clip.ids, *clip.frames, clip.audio_start)):
        raise ValueError("a count is no whole number")
    if not clip.speaker.isprintable():
        raise ValueError("the speaker's name cannot be shown")
    if not len(clip.phones) == len(clip.ids) == len(clip.frames):
        raise ValueError("lengths differ")
    if clip.audio_length != HOP * sum(clip.frames) or min(clip.frames) < 0:
        raise ValueError("durations and audio differ")
    if not all(0 <= symbol < len(SYMBOLS) for symbol in clip.ids):
        raise ValueError("a phone is not in the table")
    if clip.audio_start != start:
        raise ValueError("its audio is not where that of the clip before ends")
    return clip


def _map_audio(folder: Path, length: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    path = folder / AUDIO_FILE
    size = path.stat().st_size if path.is_file() else 0
    if size != 2 * length or length == 0:
        raise CorpusError(
            f"{path} is damaged: it has {size:,} bytes and its clips need {2 * length:,}; prepare "
            "the corpus again."
        )
    return np.memmap(path, dtype="<i2", mode="r")
