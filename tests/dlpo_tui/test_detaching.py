"""A detached session from its start to its end: real processes, a tiny voice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli, detaching
from engine import address, journal, launch_note
from engine import messages as m
from engine.attached import Attachment
from engine.run_states import look
from tests.audience import until
from tests.voices import write_profile, write_voice

ROOT = Path(__file__).parents[2]
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))
    yield lambda *arguments: CliRunner().invoke(cli.app, list(map(str, arguments)))
    for note in map(address.read, tmp_path.glob("runs/*")):
        if note is not None:  # a test that failed leaves no session behind
            os.kill(note.pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Logging of the command's own process is put back."""
    import logging

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.setLevel(level)
    for added in set(root.handlers) - set(handlers):
        root.removeHandler(added)
        added.close()


class Terminal:
    """Attached to a run; what happened is in `events`."""

    def __init__(self, folder: Path) -> None:
        note = address.read(folder)
        assert note is not None
        self.pid, self.socket, self.events = note.pid, Path(note.socket), list[m.Event]()
        self.attachment = Attachment(self.socket, folder, "ann@here/3")
        self.attachment.open()
        self.then: Callable[[m.Event], None] = lambda event: None
        self.attachment.emit = self.hear

    def hear(self, event: m.Event) -> None:
        self.events.append(event)
        self.then(event)

    def watch(self, then: Callable[[m.Event], None]) -> None:
        """Until the session ends or is left."""
        self.then = then
        self.attachment.run()

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def begun(result: Result) -> Path:
    assert result.exit_code == 0, result.output
    run, attach = result.stdout.splitlines()
    folder = Path(run.removeprefix("run    "))
    assert attach == f"attach dlpo-tui attach {folder}"
    return folder


def gone(pid: int) -> None:
    """Waits for the end of a process that is our child and was let go."""
    until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)


def test_a_session_is_left_killed_gone_on_with_and_stopped(call: Call) -> None:
    folder = begun(call("run", "tiny.toml", "--detach", "--set", "train.updates=500"))
    first = Terminal(folder)

    def turn_then_leave(event: m.Event) -> None:
        if isinstance(event, m.SessionStarted):
            first.attachment.commands.put(m.SetKnobs({"alpha": 2.0}, "ann@here/3"))
        elif isinstance(event, m.KnobsChanged):
            first.attachment.leave()

    first.watch(turn_then_leave)
    (turned,) = first.of(m.KnobsChanged)
    assert (turned.who, turned.new) == ("ann@here/3", {"alpha": 2.0})
    assert os.getsid(first.pid) == first.pid, "a session of its own outlives the terminal's"
    run = look(folder)
    assert (run.state, run.updates, run.served) == ("running", 500, True)

    second = Terminal(folder)

    def kill(event: m.Event) -> None:
        if isinstance(event, m.UpdateFinished) and event.update > turned.update + 1:
            os.kill(second.pid, signal.SIGKILL)

    second.watch(kill)
    assert second.of(m.KnobsChanged) == [turned]
    (end,) = second.of(m.SessionEnded)
    assert end.error.startswith(f"the session's process is gone; dlpo-tui run --resume {folder}")
    gone(second.pid)
    assert look(folder).state == "crashed"
    assert second.socket.exists()

    assert begun(call("run", "--resume", folder, "--detach")) == folder
    third = Terminal(folder)

    def stop(event: m.Event) -> None:
        if isinstance(event, m.SessionResumed):
            third.attachment.commands.put(m.Stop())

    third.watch(stop)
    assert third.of(m.SessionEnded) == [third.events[-1]]
    assert third.events[-1].reason == "stopped"  # type: ignore[union-attr]
    gone(third.pid)
    kept = [event for event in third.events if not isinstance(event, m.PhaseProgressed)]
    assert kept == list(journal.events(folder))
    assert look(folder).state == "stopped"
    assert not third.socket.exists()
    assert not (folder / address.NOTE).exists()


def test_a_terminal_stays_with_a_session_over_two_processes_that_loses_one(call: Call) -> None:
    changes = (
        "distributed.devices=2", "train.updates=9999", "evaluation.every=0", "train.microbatch=0",
    )  # fmt: skip
    folder = begun(call("run", "tiny.toml", "--detach", *(f"--set={one}" for one in changes)))
    terminal = Terminal(folder)
    told = terminal.attachment.commands.put

    def act(event: m.Event) -> None:
        if isinstance(event, m.SessionStarted):
            told(m.SetKnobs({"alpha": 2.0}, "ann@here/3"))
        elif isinstance(event, m.KnobsChanged):
            os.kill(launch_note.read(folder).pids[1], signal.SIGKILL)
        elif isinstance(event, m.SessionResumed):
            told(m.SaveCheckpoint("after it"))
        elif isinstance(event, m.CheckpointSaved) and event.label:
            told(m.Stop())

    terminal.watch(act)
    gone(terminal.pid)
    (started,), (resumed,) = terminal.of(m.SessionStarted), terminal.of(m.SessionResumed)
    assert started.device == "2 x cpu"
    assert resumed.knobs.alpha == 2.0
    (measured,) = terminal.of(m.MicrobatchMeasured)
    assert (measured.update, measured.size) == (0, 2), "a process has two of the four clips"
    assert terminal.events[-1] == m.SessionEnded(terminal.events[-1].update, "stopped")
    (saved,) = (event for event in terminal.of(m.CheckpointSaved) if event.label == "after it")
    assert (folder / saved.path).is_file()
    kept = [event for event in terminal.events if not isinstance(event, m.PhaseProgressed)]
    assert kept == list(journal.events(folder))
    assert not terminal.socket.exists()


def test_a_profile_that_is_wrong_starts_nothing(call: Call) -> None:
    for arguments, told in (
        (("tiny.toml", "--set", "train.updats=3"), "unknown key 'updats'"),
        (("none.toml",), "there is no profile"),
        (("--resume", "runs/none"), "there is no run"),
        (("tiny.toml", "--json"), "--detach prints no events"),
    ):
        result = call("run", *arguments, "--detach")
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert told in result.stderr
    assert not Path("runs").exists()


def test_a_session_that_refuses_its_input_is_told_of_and_leaves_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detaching, "PATIENCE_SECONDS", 120.0)
    result = call("run", "tiny.toml", "--detach", "--set", "voice.checkpoint=away.safetensors")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "away.safetensors" in result.stderr
    assert list(Path("runs").iterdir()) == []


def test_a_process_that_dies_at_its_start_is_told_of(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interpreter = tmp_path / "broken"
    interpreter.write_text("#!/bin/sh\necho 'no such module' >&2\nexit 3\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(detaching.sys, "executable", str(interpreter))
    result = call("run", "tiny.toml", "--detach")
    assert result.exit_code == 2
    assert "the session's process ended at its start: no such module" in result.stderr
    assert list(Path("runs").iterdir()) == []


def test_a_process_that_never_listens_is_given_up(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interpreter = tmp_path / "stuck"
    interpreter.write_text("#!/bin/sh\nexec sleep 60\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(detaching.sys, "executable", str(interpreter))
    monkeypatch.setattr(detaching, "READY_SECONDS", 0.3)
    began = time.monotonic()
    result = call("run", "tiny.toml", "--detach")
    assert result.exit_code == 2
    assert "the session did not start within" in result.stderr
    assert time.monotonic() - began < 30
