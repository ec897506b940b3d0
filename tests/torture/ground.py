"""A folder in which all is well: a voice, a corpus, a profile, a run, answers of a blind test."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine import human_pairs, journal
from engine import profile as profiles
from engine.session import Session
from tests.voices import write_corpus, write_methods, write_profile, write_voice


@dataclass(frozen=True, slots=True)
class Ground:
    """Everything is named relative to `folder`, which is the working directory."""

    folder: Path

    def file(self, name: str, content: bytes | str) -> str:
        """Writes a file; returns its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(*RAW))
        return name

    def copy(self, source: str, name: str) -> Path:
        """A copy of a folder, to be spoilt."""
        shutil.copytree(self.folder / source, self.folder / name, symlinks=True)
        return self.folder / name


RAW = ("utf-8", "surrogatepass")


def make(folder: Path) -> Ground:
    """Makes the ground and stands on it."""
    os.chdir(folder)
    write_profile(folder, write_voice(folder / "voice.safetensors", ("anna", "ben")))
    write_voice(folder / "other.safetensors", ("anna", "ben"), seed=1)
    write_corpus(folder / "corpus")
    write_methods(folder, folder / "voice.safetensors")
    (folder / "toy.toml").write_text('device = { device = "cpu", threads = 1 }\nsteps = 1\n')
    (folder / "runs").mkdir()
    ran(folder)
    return Ground(folder)


def ran(folder: Path) -> None:
    """A run of one update of two, so that there is something to go on from."""
    profile = profiles.load(folder / "tiny.toml", ["train.updates=1"])
    run = folder / "run"
    for name in ("checkpoints", "samples"):
        (run / name).mkdir(parents=True)
    Session(profile, run, lambda event: None).run()
    longer = profiles.load(folder / "tiny.toml")
    (run / "profile.json").write_text(json.dumps(journal.plain(longer)))
    human_pairs.append(run / human_pairs.NAME, answer().plain())


def answer() -> human_pairs.Answer:
    """A choice between two clips that are there."""
    side = human_pairs.Voice("bundled", "00" * 32, 10, {"kind": "respaced"})
    sitting = human_pairs.Sitting("20260101-000000-abcd", "anna", 1.0, 22050, 1, 2, side, side)
    clips = [f"samples/evaluation-000000-{i:02d}.flac" for i in (0, 1)]
    return human_pairs.Answer(
        sitting, 1, "2026-01-01T00:00:00Z", "Go on.", 0, "A", "B", 2.5, *clips
    )
