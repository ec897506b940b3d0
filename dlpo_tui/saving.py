"""A clip's copy where its user wants it; nothing is ever written over."""

from __future__ import annotations

import re
import shutil
from itertools import count
from pathlib import Path

SUFFIXES = (".wav", ".flac")
LONGEST_NAME = 40


def free_name(text: str, seed: int, side: str = "", folder: Path | None = None) -> Path:
    """A name in the folder, of the sentence's first words and the seed, that is not taken yet."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    stem = words[:LONGEST_NAME].rsplit("-", 1)[0] if len(words) > LONGEST_NAME else words
    parts = [stem or "clip", f"seed{seed}", side.lower()]
    name = "-".join(part for part in parts if part)
    folder = folder or Path()
    for number in count(1):
        path = folder / f"{name}{f'-{number}' if number > 1 else ''}.wav"
        if not path.exists():
            return path
    raise AssertionError("counting has no end")


def save(clip: Path, wanted: str) -> Path:
    """Copies a WAV file to a path that ends in .wav or .flac; the path.

    Errors: ValueError, one sentence, for another suffix or a name that is taken; OSError.
    """
    from engine.files import check_target, replacing

    path = Path(wanted.strip()).expanduser()
    if not wanted.strip():
        raise ValueError("say where to save it: a path that ends in .wav or .flac")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} must end in {' or '.join(SUFFIXES)}")
    if path.exists():
        raise ValueError(f"{path} is there already; name another file")
    check_target(path)
    with replacing(path) as temporary:
        if path.suffix.lower() == ".wav":
            shutil.copyfile(clip, temporary)
        else:
            import soundfile

            samples, rate = soundfile.read(clip, dtype="int16")
            soundfile.write(temporary, samples, rate, subtype="PCM_16")
    return path
