"""The session's side: nobody misses an event, nobody disturbs the session, one has the knobs."""

from __future__ import annotations

import base64
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import address, serving, wire
from engine import messages as m
from engine.serving import Served, Server
from tests.audience import PATIENCE_SECONDS, Played, Raw, Watching, lines_in, until

Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    made: list[Played] = []

    def begin(**options: object) -> Played:
        made.append(Played(tmp_path / "run", **options))
        return made[-1]

    yield begin
    for played in made:
        played.end()


# --- Events


def test_a_terminal_gets_the_past_then_what_comes(play: Play) -> None:
    played = play()
    past = played.some(3)
    played.happen(*past, m.PhaseEntered(0, "rollout"), m.PhaseProgressed(0, "rollout", 2, 10))
    at = Raw(played.server.path)
    assert [at.next() for _ in range(3)] == past
    assert at.next() == m.PhaseEntered(0, "rollout")
    assert at.next() == m.PhaseProgressed(0, "rollout", 2, 10)
    assert at.next() == wire.CaughtUp()
    assert at.next() == wire.Audience(1, True, "raw")
    played.happen(m.PhaseProgressed(0, "rollout", 3, 10), m.Noticed(0, "info", "now"))
    assert at.next() == m.PhaseProgressed(0, "rollout", 3, 10)
    assert at.next() == m.Noticed(0, "info", "now")
    at.close()


def test_what_was_said_before_the_server_was_there_is_past_too(play: Play) -> None:
    first = play()
    first.happen(*first.some(2), m.SessionEnded(0, "stopped"))
    first.end()
    with (first.folder / "events.jsonl").open("a") as torn:
        torn.write('{"kind": "Noti')
    second = play()
    second.happen(m.PhaseEntered(0, "loading"))
    at = Raw(second.server.path)
    told = [at.next() for _ in range(5)]
    assert told[:2] == first.some(2)
    assert told[2:] == [
        m.SessionEnded(0, "stopped"), m.PhaseEntered(0, "loading"), wire.CaughtUp()
    ]  # fmt: skip
    assert second.server.before == 3
    at.close()


def test_none_is_lost_and_none_comes_twice_while_the_session_goes_on(play: Play) -> None:
    played, terminals = play(), list[Watching]()
    due, coming = threading.Semaphore(0), threading.Semaphore(0)

    def session() -> None:
        for number in range(800):
            if number % 100 == 50:  # goes on in the moment in which a terminal begins to come
                due.release()
                coming.acquire(timeout=PATIENCE_SECONDS)
            played.happen(*played.some(1, number), m.PhaseProgressed(0, "score", number, 800))

    thread = threading.Thread(target=session)
    thread.start()
    for number in range(8):
        assert due.acquire(timeout=PATIENCE_SECONDS)
        coming.release()
        terminals.append(Watching(played, f"terminal {number}"))
        if number % 3 == 2:  # loses its connection in the middle, and comes back
            terminals[-1].attachment.disconnect()
    thread.join()
    for at in terminals:
        at.until(lambda at=at: len(at.kept) == 800)
    late = Watching(played, "late")
    played.happen(m.SessionEnded(0, "finished"))
    played.end()
    wanted = lines_in(played.folder)
    assert len(wanted) == 801
    for at in (*terminals, late):
        at.thread.join(PATIENCE_SECONDS)
        assert at.kept == wanted, at.attachment.name


def test_the_end_reaches_everyone_even_where_the_disk_is_full(play: Play) -> None:
    played = play()
    at = Watching(played)
    played.server.emit(m.SessionEnded(0, "failed", "no space left on device"))
    late = Watching(played)
    played.end()
    for one in (at, late):
        one.thread.join(30)
        assert one.events[-1] == m.SessionEnded(0, "failed", "no space left on device")


def test_the_end_removes_socket_and_note(play: Play) -> None:
    played = play()
    assert address.alive(played.folder)
    played.end()
    assert {path.name for path in played.folder.iterdir()} == {"events.jsonl"}


# --- Who may come


def test_the_socket_is_this_users_alone(play: Play) -> None:
    path = play().server.path
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_user_gets_one_sentence(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play()
    played.happen(*played.some(3))
    monkeypatch.setattr(serving.address, "peer_uid", lambda connection: os.getuid() + 1)
    at = Raw(played.server.path, hello=False)
    assert at.next() == wire.Farewell("this session is another user's")
    assert at.next() is None
    at.close()


def test_another_version_gets_one_sentence(play: Play) -> None:
    at = Raw(play().server.path, hello=False)
    at.say(wire.line(wire.Hello(wire.VERSION + 1, "new")))
    told = at.next()
    assert isinstance(told, wire.Farewell)
    assert "the same dlpo-tui on both sides" in told.sentence
    at.close()


def test_a_room_that_is_full_says_so(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_GUESTS", 1)
    played = play()
    first, second = Raw(played.server.path), Raw(played.server.path, hello=False)
    assert second.next() == wire.Farewell("1 terminals are attached already")
    first.close()
    second.close()


@pytest.mark.parametrize(
    "text",
    [
        b"no json\n", b"\xff\n", b'{"kind": "Nonsense"}\n', b"[" * 60_000 + b"\n",
        b"x" * (wire.LONGEST_ASKED + 1), b"x" * (3 * wire.LONGEST_ASKED) + b"\n",
        b'{"kind": "RenderStart", "update": "1", "index": 0}\n',
        wire.line(wire.Hello(wire.VERSION, "twice")),
    ],
    ids=range(8),
)  # fmt: skip
def test_a_malformed_line_closes_its_terminal_and_disturbs_nobody(play: Play, text: bytes) -> None:
    played = play()
    other, at = Watching(played), Raw(played.server.path)
    at.say(text)
    told = at.find(wire.Farewell)
    assert isinstance(told, wire.Farewell)
    assert not told.may_return
    assert told.sentence
    assert "\n" not in told.sentence
    assert at.next() is None
    at.close()
    played.happen(*played.some(2))
    other.until(lambda: other.events == played.some(2))
    assert played.commands.empty()
    other.leave()


@pytest.mark.parametrize("text", [b"no json\n", wire.line(m.Pause()), wire.line(wire.TakeKnobs())])
def test_who_does_not_say_hello_first_gets_nothing(play: Play, text: bytes) -> None:
    played = play()
    played.happen(*played.some(3))
    at = Raw(played.server.path, hello=False)
    at.say(text)
    assert isinstance(at.next(), wire.Farewell)
    assert at.next() is None
    assert played.commands.empty()
    at.close()


def test_who_says_nothing_is_let_go(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.guest.PATIENCE_SECONDS", 0.05)
    at = Raw(play().server.path, hello=False)
    assert isinstance(at.next(), wire.Farewell)
    at.close()


def test_a_terminal_that_does_not_read_is_dropped_with_a_reason_and_may_return(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "PATIENCE_SECONDS", 30.0)  # it reads again, though late
    played = play(most_waiting=1 << 20)
    slow, quick = Raw(played.server.path), Watching(played)
    long = [m.Noticed(0, "info", f"{n} {'x' * 2000}") for n in range(3000)]
    for n in range(0, 3000, 100):  # so that the quick one is never far behind
        played.happen(*long[n : n + 100])
        quick.until(lambda n=n: len(quick.events) >= n + 100)
    until(lambda: len(played.server.guests) == 1 or played.server.guests[0].leaving)
    last = slow.find(wire.Farewell)
    assert isinstance(last, wire.Farewell)
    assert last.may_return
    assert "1 MiB behind" in last.sentence
    slow.close()
    assert quick.events == long
    quick.until(lambda: quick.attachment.link.attached == 1)
    back = Watching(played)
    back.until(lambda: back.events == long)
    back.leave()
    quick.leave()


# --- Knobs


def test_the_first_has_the_knobs_and_is_named(play: Play) -> None:
    played = play()
    ann, ben = Watching(played, "ann@here"), Watching(played, "ben@there")
    ben.until(lambda: ben.attachment.link.attached == 2)
    assert ann.attachment.link.holds
    assert not ben.attachment.link.holds
    assert ben.attachment.link.holder == "ann@here"
    ann.attachment.commands.put(m.SetKnobs({"alpha": 2.0}, "somebody else"))
    assert played.commands.get(timeout=10) == m.SetKnobs({"alpha": 2.0}, "ann@here")
    ann.attachment.commands.put(m.SetKnobs({"alpha": 1.0}, "undo by somebody else"))
    assert played.commands.get(timeout=10) == m.SetKnobs({"alpha": 1.0}, "undo by ann@here")
    until(lambda: (address.read(played.folder) or address.Note(0, "", "")).holder == "ann@here")
    note = address.read(played.folder)
    assert note is not None
    assert note.attached == ("ann@here", "ben@there")
    ann.leave()
    ben.leave()


@pytest.mark.parametrize(
    ("command", "kind"),
    [(m.Stop(), "Stop"), (m.SetKnobs({"alpha": 2.0}), ""), (m.Pause(), "Pause")],
)
def test_a_watchers_command_is_refused_to_it_alone(
    play: Play, command: m.Command, kind: str
) -> None:
    played = play()
    ann, ben = Watching(played, "ann@here"), Watching(played, "ben@there")
    ben.attachment.commands.put(command)
    ben.until(lambda: bool(ben.events))
    (refusal,) = ben.events
    assert isinstance(refusal, m.CommandRefused)
    assert refusal.command == kind
    assert "ann@here has the knobs" in refusal.sentence
    assert played.commands.empty()
    played.happen(*played.some(1))
    ann.until(lambda: bool(ann.events))
    assert ann.events == played.some(1)
    assert lines_in(played.folder) == played.some(1)
    ann.leave()
    ben.leave()


def test_a_watcher_takes_the_knobs_and_the_former_holder_is_told(play: Play) -> None:
    played = play()
    ann, ben = Watching(played, "ann@here"), Watching(played, "ben@there")
    ben.attachment.take_knobs()
    ann.until(lambda: ann.attachment.link.holder == "ben@there")
    assert not ann.attachment.link.holds
    ben.until(lambda: ben.attachment.link.holds)
    ann.attachment.commands.put(m.Pause())
    ann.until(lambda: bool(ann.events))
    assert isinstance(ann.events[0], m.CommandRefused)
    ben.attachment.commands.put(m.Resume())
    assert played.commands.get(timeout=10) == m.Resume()
    ben.leave()
    ann.until(lambda: ann.attachment.link.attached == 1)
    assert ann.attachment.link.holder == ""
    late = Watching(played, "cleo@here", watch=True)
    late.until(lambda: late.attachment.link.attached == 2)
    assert not late.attachment.link.holds
    late.leave()
    ann.leave()


def test_knobs_that_belong_to_a_terminal_cannot_be_taken(play: Play) -> None:
    played = play(owner="ann@here")
    ben = Watching(played, "ben@there")
    ben.until(lambda: ben.attachment.link.owned)
    ben.attachment.take_knobs()
    ben.attachment.commands.put(m.Stop())
    ben.until(lambda: len(ben.events) == 2)
    assert all(isinstance(e, m.CommandRefused) and "ann@here" in e.sentence for e in ben.events)
    assert not ben.attachment.link.holds
    assert played.commands.empty()
    ben.leave()


def test_commands_before_the_session_is_there_wait_for_it(tmp_path: Path) -> None:
    server = Server(tmp_path)
    at = Raw(server.path)
    at.say(wire.line(m.Pause()) + wire.line(m.Resume()))
    until(lambda: len(server.audience.early) == 2)
    taken: list[m.Command] = []
    server.obeyed_by(taken.append)
    assert taken == [m.Pause(), m.Resume()]
    at.close()
    server.close()


def test_a_session_that_does_not_open_closes_its_server(tmp_path: Path) -> None:
    server = Server(tmp_path)

    def refuse(emit: m.Emit) -> Played:
        raise ValueError("no such voice")

    with pytest.raises(ValueError, match="no such voice"):
        Served(server, lambda event: None, refuse)  # type: ignore[arg-type]
    assert not address.alive(tmp_path)
    assert not server.thread.is_alive()


# --- Clips


@pytest.fixture
def clips(play: Play) -> Played:
    played = play()
    (played.folder / "samples").mkdir()
    (played.folder / "samples" / "a-01.wav").write_bytes(bytes(range(256)) * 40)
    (played.folder / "samples" / "link.wav").symlink_to("/etc/passwd")
    (played.folder / "samples" / "inner").mkdir()
    (played.folder / "samples" / "inner" / "b.wav").write_bytes(b"b")
    with (played.folder / "samples" / "large.wav").open("wb") as file:
        file.truncate(wire.LONGEST_CLIP + 1)
    return played


def test_a_clip_is_sent(clips: Played) -> None:
    at = Raw(clips.server.path)
    at.say(wire.line(wire.SendClip("samples/a-01.wav")))
    sent = at.find(wire.ClipSent)
    assert isinstance(sent, wire.ClipSent)
    assert base64.b64decode(sent.data) == bytes(range(256)) * 40
    assert sent.error == ""
    at.close()


@pytest.mark.parametrize(
    "path",
    [
        "events.jsonl", "../run/samples/a-01.wav", "samples/../events.jsonl", "/etc/passwd",
        "samples/link.wav", "samples/inner/b.wav", "samples/inner", "samples/none.wav",
        "samples/large.wav", "samples/a-01.wav\0", "samples/",
    ],
)  # fmt: skip
def test_nothing_else_is(clips: Played, path: str) -> None:
    at = Raw(clips.server.path)
    at.say(wire.line(wire.SendClip(path)))
    sent = at.find(wire.ClipSent)
    assert isinstance(sent, wire.ClipSent)
    assert sent.data == ""
    assert sent.error
    at.close()
