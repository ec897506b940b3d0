"""`dlpo-tui attach` without a screen: which session it finds, what it prints, what it refuses."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import scenes
from click.testing import Result
from terminals import Terminal
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.commands.attach import newest
from engine import messages as m
from engine.endings import ENDINGS
from engine.journal import Journal
from tests.audience import PROGRAM, Played, Watching, until

ROOT = Path(__file__).parents[3]
Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    handling = {n: signal.getsignal(n) for n in (signal.SIGINT, *ENDINGS)}
    yield
    for number, handler in handling.items():
        signal.signal(number, handler)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *arguments: CliRunner().invoke(cli.app, ["attach", *map(str, arguments)])


@pytest.fixture
def played(call: Call) -> Iterator[Played]:
    made = Played(Path("runs/one"))
    yield made
    made.end()


def ending(played: Played, *events: m.Event) -> threading.Thread:
    """Once somebody is attached, these happen."""

    def work() -> None:
        until(lambda: bool(played.server.guests))
        played.happen(*events)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("by", ["name", "nothing", "socket"])
def test_events_come_as_lines_of_json(call: Call, played: Played, by: str) -> None:
    played.happen(*played.some(2))
    thread = ending(played, m.PhaseProgressed(0, "score", 1, 2), m.SessionEnded(7, "finished"))
    named = {"name": ["runs/one"], "nothing": [], "socket": ["--socket", played.server.path]}
    result = call(*named[by], "--json")
    thread.join()
    assert result.exit_code == 0, result.output
    events = [m.from_json(json.loads(line)) for line in result.stdout.splitlines()]
    assert events == [
        *played.some(2), m.PhaseProgressed(0, "score", 1, 2), m.SessionEnded(7, "finished")
    ]  # fmt: skip
    assert "the session finished after 0 updates" in result.stderr


def test_lines_leave_the_knobs_where_they_are(call: Call, played: Played) -> None:
    holder = Watching(played)
    thread = ending(played, *played.some(1), m.SessionEnded(0, "failed", "the GPU is gone"))
    result = call("runs/one", "--headless")
    thread.join()
    assert result.exit_code == 1
    assert "event 0" in result.stdout
    assert "the session failed after 0 updates: the GPU is gone" in result.stderr
    holder.thread.join(30)
    assert holder.attachment.link.holder == "ann@here"


def test_an_interrupt_leaves_and_the_session_goes_on(call: Call, played: Played) -> None:
    def work() -> None:
        until(lambda: bool(played.server.guests))
        # Tests in the background of a shell begin with SIGINT ignored, which has no name.
        until(lambda: getattr(signal.getsignal(signal.SIGINT), "__name__", "") == "leave")
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=work)
    thread.start()
    result = call("--headless")
    thread.join()
    assert result.exit_code == 130
    assert "the session goes on; dlpo-tui attach runs/one comes back" in result.stderr
    assert played.commands.empty()


def over(state: str) -> None:
    folder = Path("runs/over")
    folder.mkdir(parents=True)
    journal = Journal(folder)
    journal.write(m.SessionEnded(3, state) if state else m.PhaseEntered(0, "loading"))  # type: ignore[arg-type]
    journal.close()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("finished", "its session finished after 3 updates; dlpo-tui replay runs/over shows it"),
        (
            "stopped",
            "its session stopped after 3 updates; dlpo-tui run --resume runs/over --detach",
        ),
        (
            "",
            "its session crashed after 0 updates; dlpo-tui run --resume runs/over --detach goes on",
        ),
    ],
)
def test_a_run_that_is_not_at_work_is_refused_in_one_sentence(
    call: Call, state: str, told: str
) -> None:
    over(state)
    assert told in refused(call("runs/over"))


def refused(result: Result) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("dlpo-tui: ")
    return line


def test_what_cannot_be_attached_to_is_refused_in_one_sentence(call: Call) -> None:
    assert "no session under runs/ is at work" in refused(call())
    assert "there is no run away" in refused(call("away"))
    assert "name a run or --socket PATH, not both" in refused(call("runs", "--socket", "x"))
    assert "no session answers at x: No such file" in refused(call("--socket", "x"))
    stale = socket.socket(socket.AF_UNIX)
    stale.bind("s")
    stale.close()
    assert "no session answers at s: Connection refused" in refused(call("--socket", "s"))
    folder = Path("runs/plain")
    folder.mkdir(parents=True)
    journal = Journal(folder)
    assert "is at work in another process, but serves nobody" in refused(call(folder))
    journal.close()


def test_the_newest_at_work_is_found(call: Call, played: Played) -> None:
    over("finished")
    played.happen(*played.some(1))
    assert newest() == Path("runs/one")


# --- On the screen


def test_leaving_the_screen_leaves_the_session_as_it_is(call: Call, played: Played) -> None:
    played.happen(*scenes.fresh())
    at = Terminal("attach", "runs/one")
    at.until("knobs · 1")
    at.press("q")
    at.until("leave this terminal")
    at.press("l")
    assert at.end() == 0
    assert "the session goes on; dlpo-tui attach runs/one comes back" in at.plain()
    until(lambda: not played.server.guests)
    assert played.commands.empty()
    back = Terminal("attach", "--socket", str(played.server.path))
    back.until("knobs · 1")
    back.press(" ")
    assert played.commands.get(timeout=30) == m.Pause()
    back.press("qx")
    assert played.commands.get(timeout=30) == m.Stop(save=False)
    played.happen(m.SessionEnded(0, "stopped"))
    assert back.end() == 0
    assert "the session stopped after 0 updates" in back.plain()


def test_a_session_that_is_killed_under_the_screen_is_told_of(call: Call) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(Path("runs/one").absolute())], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        at = Terminal("attach", "runs/one")
        at.until("knobs · 1")
        process.kill()
        at.until("the session's process is gone")
        at.press("q")
        assert at.end() == 1
    assert "dlpo-tui run --resume runs/one goes on" in at.plain()
