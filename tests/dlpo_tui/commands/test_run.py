from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from dlpo_tui.commands.run import open_run
from engine import journal
from engine.files import sha256_of
from engine.journal import Journal, JournalError
from engine.profile import Profile
from engine.reopening import folder_of


def test_going_on_with_a_run_that_is_at_work_changes_nothing_in_it(tmp_path: Path) -> None:
    profile = Profile(name="a", runs=str(tmp_path))
    text = json.dumps(journal.plain(profile))
    folder = journal.create(profile, text, datetime(2026, 3, 4), "profile.json")
    folder_of(folder).mkdir()
    for name in ("start", "update-000001"):
        (folder_of(folder) / f"{name}.safetensors").write_bytes(b"")
    at_work = Journal(folder)
    before = {path: sha256_of(path) for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(JournalError, match="is at work in another process"):
        open_run(None, folder, None, ["train.updates=5"])
    assert {p: sha256_of(p) for p in folder.rglob("*") if p.is_file()} == before
    at_work.close()
