"""`dlpo-tui run` on the screen: others may watch the session, its own terminal keeps the knobs."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

from dlpo_tui.bridge import Bridge
from dlpo_tui.commands.run import served
from engine import address
from engine import messages as m
from engine.attached import Attachment
from engine.journal import Journal
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
