"""The terminal's app: routes snapshots to the screen; `run_app` guards the process around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dlpo_tui.base_app import BaseApp
from dlpo_tui.bridge import Bridge
from dlpo_tui.endings import forget_terminal
from dlpo_tui.screens.question import Question
from dlpo_tui.screens.run import RunScreen
from dlpo_tui.sound import Sound, speaker
from engine.endings import heeded
from engine.messages import Stop

TICK_SECONDS = 0.1
DRAIN_SECONDS = 0.01
"""A key that is pressed during a burst of events waits no longer than this for each helping."""
CATCH_UP_SECONDS = 0.002
PATIENCE_SECONDS = 15.0
"""How long a stopping session may still hold the process: a Stop acts between timesteps."""


class DlpoApp(BaseApp):
    """Drains the bridge ten times a second; leaves when a stop that was asked for has come."""

    def __init__(
        self,
        bridge: Bridge,
        sound: Sound,
        folder: Path | None = None,
        log_path: Path | None = None,
        outlives: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.bridge, self.sound, self.clock = bridge, sound, clock
        self.run_screen = RunScreen(bridge.send, sound, folder, log_path, outlives)
        self._began = clock()
        self._refused = 0
        self._catching_up = False

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in heeded():
            loop.add_signal_handler(number, self.leave, number)
        self.push_screen(self.run_screen)
        self.set_interval(TICK_SECONDS, self.tick)
        self.call_after_refresh(self.tick)
        self.run_screen.call_after_refresh(self.bridge.painted.set)

    def tick(self) -> None:
        """Takes in what the session has done and shows it."""
        if not self.run_screen.is_mounted:
            return
        self.bridge.drain(DRAIN_SECONDS)
        self.catch_up()
        now = self.bridge.now
        for refusal in self.bridge.refusals[self._refused :]:
            self.run_screen.refuse(refusal.sentence, refusal.command)
        self._refused = len(self.bridge.refusals)
        self.run_screen.show(now, self.clock() - self._began)
        if now.ended is not None:
            stack = self.screen_stack
            # While the app closes, the timer may ring once more over an empty stack.
            if stack and isinstance(stack[-1], Question):
                stack[-1].dismiss("keep")
            if self.run_screen.asked == "stopping" or now.ended.refused:
                self.exit()

    def catch_up(self) -> None:
        """Takes in the rest of a burst, a helping at a time, so that keys come in between."""
        if self.bridge.waiting and not self._catching_up:
            self._catching_up = True
            self.set_timer(CATCH_UP_SECONDS, self.take_more)

    def take_more(self) -> None:
        self._catching_up = False
        self.bridge.drain(DRAIN_SECONDS)
        self.catch_up()

    def leave(self, number: int) -> None:
        """The process is told to go: no question, and what runs is stopped in good order."""
        self.hung_up = number == signal.SIGHUP
        if self.hung_up:
            # Told by the kernel and by the shell: the second must not cut short a stop.
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
        self.exit()

    async def action_quit(self) -> None:
        """Textual's own way out asks as well."""
        if self.screen is self.run_screen:
            self.run_screen.action_ask()

    def action_help_quit(self) -> None:
        """Ctrl+C, where no text is selected, is a wish to quit."""
        if self.screen is self.run_screen:
            self.run_screen.action_ask()


def run_app(
    bridge: Bridge,
    folder: Path,
    sound: Sound | None = None,
    outlives: bool = False,
    patience_seconds: float = PATIENCE_SECONDS,
) -> int:
    """Shows the session of the run in `folder` until its user leaves; returns the exit code.

    0: finished, stopped, or (`outlives`) left running. 1: the session or the app failed.
    130: it had not stopped within `patience_seconds`. `bridge.now` holds the last snapshot.
    What C libraries print goes to the folder's session.log.
    """
    sound = sound or speaker()
    log_path = folder / "session.log"
    app = DlpoApp(bridge, sound, folder, log_path, outlives)
    run_guarded(app, sound, log_path)
    bridge.drain()
    if outlives and bridge.now.ended is None and not app.return_code:
        return 0
    if bridge.now.ended is None:
        bridge.send(Stop())
    ended = bridge.join(patience_seconds)
    bridge.drain()
    if app.return_code or (bridge.now.ended and bridge.now.ended.reason == "failed"):
        return 1
    return 0 if ended else 130


def run_guarded(app: BaseApp, sound: Sound, log_path: Path) -> None:
    """Runs an app to its end and closes what it plays with; what is printed goes to a file."""
    with errors_into(log_path):
        app.run()
        sound.close()  # a device that is still being looked for prints until it is found
    if app.hung_up:
        forget_terminal()


@contextlib.contextmanager
def errors_into(log_path: Path) -> Iterator[None]:
    """Sends file descriptor 2 and `sys.stderr` to a file while Textual keeps the terminal.

    Textual draws through `sys.__stderr__`, and C libraries (ALSA, PortAudio) write to
    descriptor 2: the two must part while the app runs. `sys.stderr`, where a traceback goes, has
    the file for itself: while sounddevice looks for devices it points descriptor 2 at nothing.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    drawn, told, terminal = sys.__stderr__, sys.stderr, os.dup(2)
    screen = os.fdopen(os.dup(terminal), "w", encoding="utf-8")
    with log_path.open("a", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), 2)
        sys.__stderr__, sys.stderr = screen, file  # type: ignore[misc]
        try:
            yield
        finally:
            sys.__stderr__, sys.stderr = drawn, told  # type: ignore[misc]
            os.dup2(terminal, 2)
            os.close(terminal)
            with contextlib.suppress(OSError):  # what a closed terminal has not shown
                screen.close()
