"""`dlpo-tui run`: a run at work is left alone; others may watch one on a screen."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue

import pytest

from dlpo_tui.bridge import Bridge
from dlpo_tui.commands.run import open_run, served
from engine import address, journal
from engine import messages as m
from engine.attached import Attachment
from engine.files import sha256_of
from engine.journal import Journal, JournalError
from engine.profile import Profile
from engine.reopening import folder_of
from tests.audience import until


class Waits:
    """A session that ends when it is told to."""

    def __init__(self, folder: Path, emit: m.Emit) -> None:
        self.journal, self.emit = Journal(folder), emit
        self.commands: SimpleQueue[m.Command] = SimpleQueue()

    def run(self) -> None:
        self.journal.write(m.Noticed(0, "info", "hello"))
        self.emit(m.Noticed(0, "info", "hello"))
        while not isinstance(self.commands.get(), m.Stop):
            pass
        self.emit(m.SessionEnded(0, "stopped"))
        self.journal.close()


def test_a_session_on_a_screen_can_be_watched_and_not_steered(tmp_path: Path) -> None:
    bridge = Bridge(lambda emit: served(tmp_path, emit, lambda both: Waits(tmp_path, both)))
    until(lambda: address.alive(tmp_path) and address.read(tmp_path) is not None)
    note = address.read(tmp_path)
    assert note is not None
    events: list[m.Event] = []
    at = Attachment(Path(note.socket), tmp_path, "ben@there")
    at.open()

    def hear(event: m.Event) -> None:
        events.append(event)
        if isinstance(event, m.Noticed):
            at.commands.put(m.Stop())
        elif isinstance(event, m.CommandRefused):
            bridge.send(m.Stop())

    at.emit = hear
    at.run()
    hello, refusal, end = events
    assert hello == m.Noticed(0, "info", "hello")
    assert isinstance(refusal, m.CommandRefused)
    assert "has the knobs" in refusal.sentence
    assert end == m.SessionEnded(0, "stopped")
    assert at.link.owned
    assert bridge.join(30)
    bridge.drain()
    assert bridge.now.ended == end
    assert not address.alive(tmp_path)
    assert not Path(note.socket).exists()


def test_a_session_that_cannot_be_watched_goes_on_without(tmp_path: Path) -> None:
    claim = address.Claim(tmp_path)
    session = Waits(tmp_path, lambda event: None)
    assert served(tmp_path, lambda event: None, lambda emit: session) is session
    session.journal.close()
    claim.close()


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
