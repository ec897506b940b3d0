"""One terminal's lines: all of the past whatever happens, unless it is too far behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import wire
from engine.guest import Guest, lines_of


class Writer:
    """Takes lines as a stream does."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    async def drain(self) -> None:
        await asyncio.sleep(0)


def guest(most: int = 1 << 20) -> tuple[Guest, Writer]:
    writer = Writer()
    return Guest(asyncio.StreamReader(), writer, most), writer  # type: ignore[arg-type]


PAST = [b"%d\n" % number for number in range(10)]


async def test_a_session_that_ends_meanwhile_cuts_no_past_short() -> None:
    one, writer = guest()

    def past() -> Iterator[bytes]:
        for number, line in enumerate(PAST):
            if number == 4:
                one.put(b"end\n")
                one.finish()
                one.put(b"too late\n")
            yield line

    await one.send_all(past())
    assert writer.lines == [*PAST, b"end\n"]


async def test_who_is_too_far_behind_in_the_past_gets_one_word_more() -> None:
    one, writer = guest(most=2000)

    def past() -> Iterator[bytes]:
        for number, line in enumerate(PAST):
            if number == 4:
                one.put(b"x" * 1500)
                one.put(b"y" * 1500)
            yield line

    await one.send_all(past())
    *before, last = writer.lines
    assert before == PAST[:5]
    farewell = wire.told(last)
    assert isinstance(farewell, wire.Farewell)
    assert farewell.may_return


async def test_what_comes_is_sent_as_it_comes() -> None:
    one, writer = guest()
    sending = asyncio.create_task(one.send_all([b"past\n"]))
    while not writer.lines:
        await asyncio.sleep(0)
    one.put(b"now\n")
    while len(writer.lines) < 2:
        await asyncio.sleep(0)
    assert one.size == 0
    one.part("bye")
    one.part("twice")
    await sending
    assert writer.lines[:2] == [b"past\n", b"now\n"]
    assert [wire.told(line) for line in writer.lines[2:]] == [wire.Farewell("bye")]


@pytest.mark.parametrize(
    ("size", "after", "found"),
    [(6, 0, [b"a\n", b"b\n", b"c\n"]), (4, 0, [b"a\n", b"b\n"]), (4, 1, [b"b\n"]), (6, 3, [])],
)
def test_the_past_is_what_was_in_the_journal_by_then(
    tmp_path: Path, size: int, after: int, found: list[bytes]
) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"a\nb\nc\nd\n")
    assert list(lines_of(tmp_path / "events.jsonl", size, after)) == found
    assert list(lines_of(tmp_path / "none", size, after)) == []


async def test_a_terminal_that_leaves_in_the_middle_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"line\n" * 10)
    past = lines_of(path, 50, 0)

    class Gone:
        def write(self, line: bytes) -> None:
            raise ConnectionResetError

    one = Guest(asyncio.StreamReader(), Gone())  # type: ignore[arg-type]
    with pytest.raises(ConnectionResetError):
        await one.send_all(past)
    assert next(iter(past), None) is None
