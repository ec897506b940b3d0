"""The process around the app: a real terminal, exit codes, file descriptor 2, imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import scenes
from conftest import Stager
from terminals import Terminal

from dlpo_tui.app import errors_into
from dlpo_tui.screens.reading import Help
from engine.messages import Noticed, PhaseProgressed

HERE = Path(__file__).parent
PROGRAM = """
import os, sys
from pathlib import Path
here, scene, folder = sys.argv[1:4]
sys.path.insert(0, here)
import scenes
from dlpo_tui.app import run_app
from dlpo_tui.bridge import Bridge

if scene == "breaking":
    from dlpo_tui.widgets.knobs import KnobPanel

    def broken(panel, name):
        raise RuntimeError("a widget is broken")

    KnobPanel.choose, scene = broken, "running"
events = scenes.SCENES[scene]()
session = scenes.Scripted(events)
if scene == "fresh":
    run = session.run
    def noisy():
        session.commands.get()
        os.write(2, b"ALSA lib pcm.c: noise\\n")
        run()
    session.run = noisy
code = run_app(bridge := Bridge(session.open), Path(folder), patience_seconds=20)
Path(folder, "ended").write_text(bridge.now.ended.reason)
os.write(2, f"the session {bridge.now.ended.reason}\\n".encode())
os.write(2, b"after\\n")
sys.exit(code)
"""


def terminal(scene: str, folder: Path) -> Terminal:
    """The program in a pseudo-terminal."""
    return Terminal(str(HERE), scene, str(folder), before=PROGRAM)


def test_a_session_in_a_terminal_is_stopped_and_exits_with_0(tmp_path: Path) -> None:
    at = terminal("fresh", tmp_path)
    at.until("none yet")
    at.press("e")
    at.until("asked for an evaluation")
    at.press("q")
    at.until("stop without saving")
    at.press("x")
    assert at.end() == 0
    assert "noise" not in at.plain(), "what C libraries print must not reach the screen"
    assert "ALSA lib pcm.c: noise" in (tmp_path / "session.log").read_text()
    assert at.plain().rstrip().endswith("after"), "the terminal gets descriptor 2 back"


def test_a_process_that_is_told_to_go_stops_its_session(tmp_path: Path) -> None:
    at = terminal("running", tmp_path)
    at.until("update 40")
    at.process.send_signal(signal.SIGTERM)
    assert at.end() == 0
    assert (tmp_path / "ended").read_text() == "stopped"
    assert "\x1b[?1049l" in at.seen, "the terminal leaves the screen's page"


def test_a_terminal_that_is_closed_stops_its_session(tmp_path: Path) -> None:
    at = terminal("running", tmp_path)
    at.until("update 40")
    os.close(at.master)
    at.process.send_signal(signal.SIGHUP)  # as the kernel does, if it were its controlling one
    at.process.send_signal(signal.SIGHUP)  # as the shell does, too
    assert at.process.wait(60) == 0
    assert (tmp_path / "ended").read_text() == "stopped"


def test_what_nohup_has_ignored_stays_ignored(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    at = Terminal(str(HERE), "running", str(tmp_path), before=ignoring + PROGRAM)
    at.until("update 40")
    at.process.send_signal(signal.SIGHUP)
    at.press("?")
    at.until("esc back")
    at.press("\x1b")
    at.process.send_signal(signal.SIGTERM)
    assert at.end() == 0
    assert (tmp_path / "ended").read_text() == "stopped"


def test_a_terminal_that_is_gone_without_a_signal_is_noticed(tmp_path: Path) -> None:
    at = terminal("running", tmp_path)
    at.until("update 40")
    os.close(at.master)
    assert at.process.wait(60) == 0
    assert (tmp_path / "ended").read_text() == "stopped"


def test_a_failed_session_exits_with_1(tmp_path: Path) -> None:
    at = terminal("failed", tmp_path)
    at.until("FAILED")
    at.press("q")
    assert at.end() == 1


def test_a_widget_that_breaks_stops_the_session_in_good_order_and_exits_with_1(
    tmp_path: Path,
) -> None:
    at = terminal("breaking", tmp_path)
    at.until("update 40")
    at.press("a")
    assert at.end() == 1
    assert "the session stopped" in at.plain()
    assert "\x1b[?1049l" in at.seen, "the terminal leaves the screen's page"
    assert "Traceback" not in at.plain()
    assert "a widget is broken" in (tmp_path / "session.log").read_text()


def test_descriptor_2_comes_back_after_an_error(tmp_path: Path) -> None:
    log_path = tmp_path / "deep" / "session.log"
    original, told = sys.__stderr__, sys.stderr
    before = os.fstat(2)

    def noisy() -> None:
        with errors_into(log_path):
            os.write(2, b"from a library\n")
            assert sys.__stderr__ is not original
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 2)  # as sounddevice does while it looks for devices
            os.close(nothing)
            print("from Python", file=sys.stderr)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        noisy()
    assert log_path.read_text() == "from a library\nfrom Python\n"
    assert sys.stderr is told
    assert sys.__stderr__ is original
    assert os.fstat(2) == before


def test_the_app_loads_no_torch() -> None:
    code = "import dlpo_tui.app, sys; print(sorted({'torch', 'sounddevice'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


async def test_a_burst_of_20_000_events_loses_none_and_lets_keys_in(
    stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlpo_tui.app.DRAIN_SECONDS", 0.001)
    events = scenes.running(20)
    steps = [PhaseProgressed(20, "rollout", done, 20_000) for done in range(20_000)]
    async with stage(events, (80, 24)) as on:
        for event in [*steps, Noticed(20, "info", "the last one")]:
            on.session.emit(event)
        await on.pilot.press("question_mark")
        assert isinstance(on.app.screen, Help)
        while on.bridge.waiting:
            await on.pilot.pause()
        expected = scenes.fold([*events, *steps, Noticed(20, "info", "the last one")])
        assert on.bridge.now == expected
