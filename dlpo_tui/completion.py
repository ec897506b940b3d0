"""What a shell offers for PROFILE and RUN; a look at folders, nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def profile(incomplete: str) -> list[str]:
    """TOML files below profiles/ or the folder that is being typed."""
    return offered(incomplete, Path("profiles"), "*.toml", "*/*.toml")


def run(incomplete: str) -> list[str]:
    """Folders of runs below runs/ or the folder that is being typed, the newest first."""
    return offered(incomplete, Path("runs"), "*/events.jsonl", "*/*/events.jsonl")


def offered(incomplete: str, usual: Path, *patterns: str) -> list[str]:
    folder = incomplete if incomplete.endswith("/") else incomplete.rpartition("/")[0]
    places = [usual, Path(folder)] if folder and not str(usual).startswith(folder) else [usual]
    names = dict.fromkeys(name for place in places for name in below(place, patterns))
    return [name for name in names if name.startswith(incomplete)]


def below(place: Path, patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        for path in sorted(place.glob(pattern), reverse=pattern.endswith("events.jsonl")):
            yield str(path.parent if path.name == "events.jsonl" else path)
