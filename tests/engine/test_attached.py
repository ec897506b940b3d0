"""The terminal's side: a connection that is lost comes back; a session that is gone is told of."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from engine import attached, connection, serving, wire
from engine import messages as m
from engine.attached import Attachment
from tests.audience import PROGRAM, Played, Watching, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    made = Played(tmp_path / "run")
    yield made
    made.end()


class Process:
    """The played session in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def attach(self) -> tuple[Attachment, list[m.Event], threading.Thread]:
        attachment = Attachment(self.folder / "session.sock", self.folder, "ann@here")
        events: list[m.Event] = []
        attachment.emit = events.append
        attachment.open()
        thread = threading.Thread(target=attachment.run, daemon=True)
        thread.start()
        until(lambda: len(events) == 3)
        return attachment, events, thread

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "run")
    yield made
    made.end()


def test_a_session_that_was_killed_is_told_of_in_a_sentence(process: Process) -> None:
    _, events, thread = process.attach()
    process.process.send_signal(signal.SIGKILL)
    thread.join(30)
    assert not thread.is_alive()
    *_, end = events
    assert isinstance(end, m.SessionEnded)
    assert end.reason == "failed"
    told = f"the session's process is gone; dlpo-tui run --resume {process.folder} goes on"
    assert end.error == told
    with pytest.raises(ValueError, match="no session answers at"):
        Attachment(process.folder / "session.sock", process.folder, "ann").open()


def test_a_process_that_stands_still_is_slow_and_not_gone(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(connection, "GLANCE_SECONDS", 0.05)
    attachment, events, thread = process.attach()
    process.process.send_signal(signal.SIGSTOP)
    until(lambda: attachment.link.silent)
    assert attachment.link.connected
    assert attachment.link.quiet_seconds > 0.2
    process.process.send_signal(signal.SIGCONT)
    monkeypatch.setattr(attached, "SILENT_SECONDS", 60.0)
    until(lambda: not attachment.link.silent)
    attachment.leave()
    thread.join(30)
    assert not any(isinstance(event, m.SessionEnded) for event in events)


def test_a_session_that_says_nothing_but_lives_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "BEAT_SECONDS", 0.02)
    played = Played(tmp_path / "run")
    at = Watching(played)
    at.until(lambda: at.attachment.link.quiet_seconds > 0.3)
    assert not at.attachment.link.silent
    at.leave()
    played.end()


def test_a_lost_connection_is_found_again(played: Played) -> None:
    played.happen(*played.some(3))
    at = Watching(played)
    at.until(lambda: len(at.events) == 3)
    links: list[attached.Link] = []
    for guest in list(played.server.guests):
        played.server.loop.call_soon_threadsafe(guest.writer.transport.abort)
    played.happen(*played.some(3, 3))
    at.until(lambda: links.append(at.attachment.link) or len(at.events) == 6)
    assert at.events == played.some(6)
    at.until(lambda: at.attachment.link.connected and at.attachment.link.holds)
    assert any(not link.connected and link.why for link in links)
    at.attachment.commands.put(m.Pause())
    assert played.commands.get(timeout=10) == m.Pause()
    at.leave()


def test_a_command_without_a_connection_is_refused(played: Played) -> None:
    at = Attachment(played.server.path, played.folder, "ann@here")
    told: list[m.Event] = []
    at.emit = told.append
    threading.Thread(target=at.pass_on, daemon=True).start()
    at.commands.put(m.Pause())
    until(lambda: bool(told))
    at.outbox.put(None)
    (refusal,) = told
    assert isinstance(refusal, m.CommandRefused)
    assert refusal.command == "Pause"
    assert "no connection" in refusal.sentence


def test_who_lost_a_session_that_lies_elsewhere_gives_up_in_time(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(attached, "RETRY_SECONDS", 0.02)
    at = Watching(played)
    at.attachment.folder = None
    at.until(lambda: at.attachment.link.attached == 1)
    played.server.close()
    at.thread.join(30)
    (end,) = at.events
    assert isinstance(end, m.SessionEnded)
    assert "no word from the session" in end.error
    assert "dlpo-tui run --resume runs/run goes on" in end.error


def test_a_session_in_another_process_is_not_taken_for_the_lost_one(played: Played) -> None:
    at = Watching(played)
    at.until(lambda: at.attachment.link.attached == 1)
    at.attachment.session = "another"
    for guest in list(played.server.guests):
        played.server.loop.call_soon_threadsafe(guest.writer.transport.abort)
    at.thread.join(30)
    (end,) = at.events
    assert isinstance(end, m.SessionEnded)
    assert "another goes on with the run; attach anew" in end.error


def test_an_end_that_was_gone_on_from_is_a_line_of_the_log(tmp_path: Path) -> None:
    first = Played(tmp_path / "run")
    first.happen(m.PhaseEntered(0, "loading"), m.SessionEnded(3, "stopped"))
    first.end()
    second = Played(tmp_path / "run")
    at = Watching(second)
    resumed = m.SessionResumed(3, 9, m.Knobs())
    second.happen(m.PhaseEntered(3, "loading"), resumed)
    at.until(lambda: len(at.events) == 4)
    assert at.events == [
        m.PhaseEntered(0, "loading"), m.Noticed(3, "info", "stopped"), m.PhaseEntered(3, "loading"),
        resumed,
    ]  # fmt: skip
    assert at.attachment.update == 3
    second.happen(m.SessionEnded(4, "finished"))
    at.thread.join(30)
    assert at.events[-1] == m.SessionEnded(4, "finished")
    second.end()


def test_leaving_ends_without_an_end_of_the_session(played: Played) -> None:
    at = Watching(played)
    at.until(lambda: at.attachment.link.attached == 1)
    at.leave()
    assert at.events == []
    until(lambda: played.server.guests == [])


class Impostor:
    """Answers a hello with whatever it was told to."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.answers, self.said = answers, SimpleQueue[bytes]()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self) -> None:
        connection, _ = self.socket.accept()
        with connection:
            self.said.put(connection.recv(4096))
            for answer in self.answers:
                connection.sendall(answer)
        self.socket.close()


WELCOME = wire.Welcome(wire.VERSION, "run", "/r", 1, "abc", 0, "ann")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "the connection was closed"),
        (wire.line(wire.Beat(1.0)), "nothing was said"),
        (wire.line(wire.Farewell("go away")), "go away"),
        (wire.line(wire.Welcome(99, "run", "/r", 1, "abc", 0, "ann")), "version 99"),
        (b"220 mail.example.org ESMTP\n", "cannot read"),
    ],
)
def test_what_is_no_session_is_one_sentence(tmp_path: Path, answer: bytes, told: str) -> None:
    impostor = Impostor(tmp_path / "s", answer)
    with pytest.raises(ValueError, match=told) as caught:
        Attachment(tmp_path / "s", None, "ann@here").open()
    assert "\n" not in str(caught.value)
    impostor.thread.join(30)


def test_a_socket_of_another_users_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(tmp_path / "run")
    at = Attachment(played.server.path, None, "ann@here")
    monkeypatch.setattr(connection.address, "peer_uid", lambda connection: os.getuid() + 1)
    with pytest.raises(ValueError, match="is another user's"):
        at.open()
    played.end()


def test_a_clip_is_kept_below_the_store_alone(tmp_path: Path) -> None:
    evil = wire.ClipSent("../../evil.wav", "AAAA")
    fine = wire.ClipSent("samples/a-01.wav", "AAEC")
    broken = wire.ClipSent("samples/b-01.wav", "no base64 !")
    lines = (wire.line(message) for message in (WELCOME, evil, fine, broken))
    (tmp_path / "deep" / "store").mkdir(parents=True)
    impostor = Impostor(tmp_path / "s", *lines)
    at = Attachment(tmp_path / "s", None, "ann@here")
    at.store = tmp_path / "deep" / "store"
    at.open()
    thread = threading.Thread(target=at.run, daemon=True)
    thread.start()
    until(lambda: len(at.arrived) == 3)
    at.leave()
    thread.join(30)
    impostor.thread.join(30)
    assert [bool(clip.error) for clip in at.arrived] == [True, False, True]
    files = [path for path in (tmp_path / "deep").rglob("*") if path.is_file()]
    assert files == [at.store / "samples" / "a-01.wav"]
    assert files[0].read_bytes() == b"\x00\x01\x02"


def test_a_clip_comes_over_the_socket(played: Played, tmp_path: Path) -> None:
    (played.folder / "samples").mkdir()
    (played.folder / "samples" / "a-01.wav").write_bytes(b"RIFF")
    at = Watching(played)
    at.attachment.store = tmp_path / "store"
    at.attachment.fetch("samples/a-01.wav")
    at.attachment.fetch("samples/none.wav")
    at.until(lambda: len(at.attachment.arrived) == 2)
    assert (tmp_path / "store" / "samples" / "a-01.wav").read_bytes() == b"RIFF"
    assert "none.wav cannot be read" in at.attachment.arrived[1].error
    at.leave()


def test_a_terminal_has_a_name() -> None:
    name = attached.terminal_name(tty=-1)
    assert "@" in name
    assert wire.named(name) == name
