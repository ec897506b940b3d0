"""A session over several processes: real ones once, and stand-ins that print what ranks would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import journal, launch, launch_note
from engine import messages as m
from engine import profile as profiles
from engine.__main__ import main
from engine.launch import Launched, command, environment, open_session
from engine.profile import DistributedSpec, Profile, ProfileError
from engine.session import Session
from engine.worker import HANDED
from tests.voices import write_profile, write_voice

LIMIT_SECONDS = 150.0
ROOT = Path(__file__).parents[2]


@contextmanager
def within(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    """Ends a process that takes longer, ranks and all."""
    timer = threading.Timer(seconds, process.send_signal, [signal.SIGINT])
    timer.start()
    with process:
        try:
            yield
        finally:
            timer.cancel()
            process.send_signal(signal.SIGINT)
            process.wait(60)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors"))


def begin(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine", "run", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_rank_costs_an_update_at_most_and_a_stop_ends_all(tiny: Path) -> None:
    """kill -9 of one of two ranks; torchrun starts both again, and they go on by themselves."""
    changes = ("distributed.devices=2", "train.updates=9999", "evaluation.every=0")
    process = begin(str(tiny), *(part for change in changes for part in ("--set", change)))
    assert process.stdout is not None
    heard: list[m.Event] = []
    pids: tuple[int, ...] = ()
    with within(LIMIT_SECONDS, process):
        for line in process.stdout:
            event = m.from_json(json.loads(line))
            heard.append(event)  # type: ignore[arg-type]
            resumed = any(isinstance(event, m.SessionResumed) for event in heard)
            if isinstance(event, m.UpdateFinished) and not pids:
                (note,) = tiny.parent.glob("runs/*/resume/launch.json")
                pids = launch_note.read(note.parents[1]).pids
                os.kill(pids[1], signal.SIGKILL)
            elif isinstance(event, m.UpdateFinished) and resumed:
                process.terminate()
        assert process.stderr is not None
        assert (process.wait(60), process.stderr.read()) == (0, "")
    (resume,) = (event for event in heard if isinstance(event, m.SessionResumed))
    before = heard[: heard.index(resume)]
    done = [event.update for event in before if isinstance(event, m.UpdateFinished)]
    assert resume.update >= done[-1] - 1
    end = heard[-1]
    assert isinstance(end, m.SessionEnded)
    assert (end.reason, end.update > resume.update) == ("stopped", True)
    (run,) = tiny.parent.glob("runs/*")
    told = journal.replay(run)
    assert told.ended == end
    assert [update for update, _ in told.history] == list(range(1, end.update + 1))
    assert (run / told.checkpoint).is_file()
    assert launch_note.read(run).pids != pids
    for pid in (*pids, *launch_note.read(run).pids):
        assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- stand-ins --------------------------------------------------------------------


SPREAD = Profile(distributed=DistributedSpec(2), runs="nowhere")
ENDED = m.SessionEnded(1, "stopped")


def says(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Python in the place of torchrun; `say` prints an event, `hear` reads a command."""
    helpers = (
        "import json, os, signal, sys\n"
        "signal.signal(signal.SIGQUIT, signal.SIG_DFL)\n"  # a shell's background job ignores it
        "def say(kind, **data): print(json.dumps({'kind': kind, **data}), flush=True)\n"
        "def hear(): return json.loads(sys.stdin.readline())\n"
        "def end(reason='stopped', error='', refused=False):\n"
        "    say('SessionEnded', update=1, reason=reason, error=error, refused=refused)\n"
    )
    monkeypatch.setattr(launch, "command", lambda profile: [sys.executable, "-c", helpers + code])


def run(folder: Path, *commands: m.Command) -> list[m.Event]:
    events: list[m.Event] = []
    launched = open_session(replace(SPREAD, runs=str(folder.parent)), folder, events.append)
    assert isinstance(launched, Launched)
    for asked in commands:
        launched.commands.put(asked)
    launched.run()
    return events


def test_events_come_out_and_commands_go_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = (
        "print('a library says hello')\n"
        "say('PhaseEntered', update=0, phase=hear()['kind'].lower().replace('pause', 'paused'))\n"
        "assert hear() == {'kind': 'Stop', 'save': False}\n"
        "end()\n"
    )
    says(monkeypatch, code)
    events = run(tmp_path, m.Pause(), m.Stop(save=False))
    assert events == [m.PhaseEntered(0, "paused"), ENDED]


def test_the_ranks_are_told_the_run_and_its_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = environment(SPREAD, tmp_path)
    assert told["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1"
    handed = json.loads(told[HANDED])
    assert handed["folder"] == str(tmp_path)
    assert profiles.build(Profile, handed["profile"], "") == SPREAD
    assert told["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
    line = command(SPREAD)
    assert line[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert {"--nproc-per-node=2", "--max-restarts=3"} <= set(line)
    assert line[-3:] == ["-m", "engine", "run"]


def test_a_session_that_was_lost_too_often_ends_in_a_sentence_and_in_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "session.log").write_text("dlpo-tui: a word of an earlier session\n")
    words = "print('dlpo-tui: rank 1: the disk is full\\nTraceback ...', file=sys.stderr)"
    resumed = "say('SessionResumed', update=7, updates=9, knobs={})"
    says(monkeypatch, f"{words}\n{resumed}\nsys.exit(1)")
    *_, end = run(tmp_path)
    assert isinstance(end, m.SessionEnded)
    assert (end.update, end.reason, end.refused) == (7, "failed", False)
    assert "distributed.restarts = 3" in end.error
    assert "(rank 1: the disk is full)" in end.error
    assert list(journal.events(tmp_path)) == [end]


def test_a_session_that_only_fell_silent_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says(monkeypatch, "sys.exit(3)")
    (end,) = run(tmp_path)
    assert "torchrun ended with code 3" in end.error


def test_what_hangs_after_its_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launch, "ENDING_SECONDS", 0.2)
    pids = tmp_path / "pids"
    says(
        monkeypatch,
        f"signal.signal(signal.SIGQUIT, signal.SIG_IGN)\n"
        f"open({str(pids)!r}, 'w').write(str(os.getpid()))\nend()\nsignal.pause()\n",
    )
    assert run(tmp_path) == [ENDED]
    assert not alive(int(pids.read_text()))


def test_an_interrupt_ends_the_ranks_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    says(
        monkeypatch,
        "say('Noticed', update=0, level='info', sentence=str(os.getpid()))\nsignal.pause()\n",
    )
    heard: list[m.Event] = []

    def emit(event: m.Event) -> None:
        heard.append(event)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Launched(SPREAD, tmp_path, emit).run()
    (notice,) = heard
    assert not alive(int(notice.sentence))


def test_one_device_is_a_session_of_this_process(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    opened = open_session(profiles.load(tiny), folder, lambda event: None)
    assert isinstance(opened, Session)
    opened.journal.close()


# --- refusals ---------------------------------------------------------------------


def test_more_gpus_than_there_are_is_one_sentence_and_exit_code_2(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    changes = ("distributed.devices=2", "distributed.backend='nccl'")
    assert main(["run", str(tiny), *(w for c in changes for w in ("--set", c))]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "distributed.devices = 2 needs as many GPUs with nccl" in told.err
    assert not list(tiny.parent.glob("runs/*"))


def test_a_run_goes_on_only_over_devices_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    spread = replace(SPREAD, distributed=DistributedSpec(2, "nccl"))
    with pytest.raises(ProfileError, match="needs as many GPUs"):
        open_session(spread, tmp_path, lambda event: None, m.Snapshot())
