"""The protocol's lines: what is said comes back the same; what is no message is one sentence."""

from __future__ import annotations

import json

import pytest

from engine import messages as m
from engine import wire

COMMANDS: list[m.Command] = [
    m.SetKnobs({"alpha": 2}, "ann"),
    m.Pause(),
    m.Resume(),
    m.SingleUpdate(),
    m.SaveCheckpoint("a name"),
    m.Evaluate(),
    m.RenderStart(3, 1),
    m.Stop(save=False),
]
REQUESTS: list[wire.Request] = [
    wire.Hello(wire.VERSION, "ann@host/3", True, 7),
    wire.TakeKnobs(),
    wire.SendClip("samples/a.wav"),
]
TOLD: list[wire.Told] = [
    wire.Welcome(1, "run", "/runs/run", 7, "abc", 3, "ann"),
    wire.CaughtUp(),
    wire.Audience(2, True, "ann"),
    wire.Beat(1.5),
    wire.Refused("no", "Pause"),
    wire.ClipSent("samples/a.wav", "AAAA"),
    wire.Farewell("bye", True),
]


@pytest.mark.parametrize("message", [*COMMANDS, *REQUESTS])
def test_what_a_terminal_says_comes_back_the_same(message: m.Command | wire.Request) -> None:
    assert wire.asked(wire.line(message)) == message


@pytest.mark.parametrize(
    "message", [*TOLD, m.Noticed(1, "info", "ä\n\u2028"), m.PhaseEntered(0, "score")]
)
def test_what_a_session_says_comes_back_the_same(message: m.Event | wire.Told) -> None:
    line = wire.line(message)
    assert line.count(b"\n") == 1
    assert wire.told(line) == message


def test_a_line_of_the_journal_is_an_event() -> None:
    row = {"at": "2026-01-02T03:04:05.678+00:00", **m.to_json(m.PhaseEntered(4, "score"))}
    assert wire.told(json.dumps(row).encode()) == m.PhaseEntered(4, "score")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"[]",
        b"17",
        b"\xff\xfe{}",
        b"{}",
        b'{"kind": 4}',
        b'{"kind": "Nonsense"}',
        b'{"kind": "UpdateFinished"}',
        b'{"kind": "SetKnobs"}',
        b'{"kind": "SetKnobs", "changes": []}',
        b'{"kind": "SetKnobs", "changes": {"alpha": "much"}}',
        b'{"kind": "SetKnobs", "changes": {"alpha": true}}',
        b'{"kind": "RenderStart", "update": "3", "index": 0}',
        b'{"kind": "RenderStart", "update": 3}',
        b'{"kind": "RenderStart", "update": 3.5, "index": 0}',
        b'{"kind": "SaveCheckpoint", "label": 4}',
        b'{"kind": "Stop", "save": 1}',
        b'{"kind": "Pause", "more": 1}',
        b'{"kind": "Hello", "version": true, "name": "x"}',
        b"[" * 60_000,
    ],
)
def test_what_is_no_message_is_one_sentence(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"line|is no command|a broken") as caught:
        wire.asked(text)
    assert "\n" not in str(caught.value)


def test_a_command_is_no_event() -> None:
    with pytest.raises(ValueError, match="no event"):
        wire.told(wire.line(m.Pause()))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("ann@host/3", "ann@host/3"),
        ("", "somebody"),
        ("a\nb\x1b[2J", "a b [2J"),
        ("x" * 200, "x" * wire.LONGEST_NAME),
        ("undo by ann", "ann"),
    ],
)
def test_a_name_is_one_short_line_and_never_an_undo(said: str, named: str) -> None:
    assert wire.named(said) == named


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("samples/update-000001-03.flac", True),
        ("samples/evaluation-000000-00-start.wav", True),
        ("samples/../profile.toml", False),
        ("samples/..", False),
        ("samples/.hidden", False),
        ("/etc/passwd", False),
        ("samples//a.wav", False),
        ("samples/a/b.wav", False),
        ("samples/", False),
        ("session.log", False),
        ("samples/a.wav\n", False),
        ("samples/a\0b", False),
    ],
)
def test_only_files_of_samples_are_clips(path: str, allowed: bool) -> None:
    assert (wire.CLIP.fullmatch(path) is not None) == allowed
