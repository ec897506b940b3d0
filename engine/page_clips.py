"""Which clips of a run a page plays, and their sound as data URIs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import journal
from engine import messages as m

TYPES = {".flac": "audio/flac", ".wav": "audio/wav", ".ogg": "audio/ogg"}
BEST = 4
"""Rollouts with the highest reward that are heard, and as many with the lowest."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip of the page's table."""

    clip: m.Clip
    why: str
    """first evaluation, last evaluation, best, worst."""
    sound: str
    """A data URI; empty where it is left out."""


def read(folder: Path) -> tuple[m.Snapshot, list[m.Clip]]:
    """The fold of a run's journal, and all its clips in order; a snapshot keeps but the latest."""
    now, clips = m.Snapshot(), dict[tuple[str, int, int], m.Clip]()
    for event in journal.events(folder):
        now = m.advance(now, event)
        if isinstance(event, m.SessionResumed):
            clips = {name: clip for name, clip in clips.items() if clip.update <= event.update}
        elif isinstance(event, m.ClipsScored):
            clips |= {(clip.kind, clip.update, clip.index): clip for clip in event.clips}
    return now, list(clips.values())


def chosen(clips: Sequence[m.Clip]) -> list[tuple[m.Clip, str]]:
    """The clips of the first and the last evaluation, then the best and the worst rollouts."""
    evaluated = [clip for clip in clips if clip.kind == "evaluation"]
    picked: list[tuple[m.Clip, str]] = []
    if evaluated:
        first, last = (f(clip.update for clip in evaluated) for f in (min, max))
        picked += [(clip, "first evaluation") for clip in evaluated if clip.update == first]
        if last > first:
            picked += [(clip, "last evaluation") for clip in evaluated if clip.update == last]
    rollouts = [clip for clip in clips if clip.kind == "rollout" and clip.reward is not None]
    rollouts.sort(key=lambda clip: -(clip.reward or 0.0))
    count = min(BEST, len(rollouts) // 2)
    picked += [(clip, "best") for clip in rollouts[:count]]
    picked += [(clip, "worst") for clip in rollouts[len(rollouts) - count :]]
    return picked


def embed(folder: Path, picked: Sequence[tuple[m.Clip, str]], most_bytes: int) -> list[Heard]:
    """The clips with their sound, until the page would hold `most_bytes` of it.

    Pairs come first: a sentence of the first and of the last evaluation are heard together.
    """
    order = sorted(range(len(picked)), key=lambda i: (picked[i][0].kind, picked[i][0].index))
    sounds, used = [""] * len(picked), 0
    for at in order:
        sound = data_uri(folder, picked[at][0].path, most_bytes - used)
        sounds[at], used = sound, used + len(sound)
    return [Heard(clip, why, sounds[i]) for i, (clip, why) in enumerate(picked)]


def data_uri(folder: Path, name: str, most_bytes: int) -> str:
    """A clip's file; empty where it is not there, too large, or outside the run."""
    path = folder / name
    kind = TYPES.get(path.suffix.lower())
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        if not name or kind is None or not inside or path.stat().st_size * 4 / 3 + 64 > most_bytes:
            return ""
        return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except (OSError, ValueError):
        return ""
