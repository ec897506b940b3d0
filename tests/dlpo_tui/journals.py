"""Runs' folders made of hand-made events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from engine.messages import Event, to_json


def write_run(folder: Path, events: Sequence[Event], torn: str = "") -> Path:
    """A run's folder with a journal; `torn`: what a killed process left of its last line."""
    (folder / "resume").mkdir(parents=True)
    for state in ("start", "update-000000"):
        (folder / "resume" / f"{state}.safetensors").touch()
    rows = [json.dumps({"at": "2026-01-02T03:04:05", **to_json(event)}) for event in events]
    (folder / "events.jsonl").write_text("".join(f"{row}\n" for row in rows) + torn)
    return folder
