"""The app of `listen`: drains the worker, shows its takes; `run_listen` guards the process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from textual.app import App

from dlpo_tui.app import TICK_SECONDS, errors_into
from dlpo_tui.screens.listen import ListenScreen
from dlpo_tui.sound import Sound, Speaker
from dlpo_tui.speaking import Speaking
from dlpo_tui.speech_settings import Settings
from dlpo_tui.theme import CALM, EXTRA, PAPER

PATIENCE_SECONDS = 10.0
"""How long the worker may still hold the process: a model that loads cannot be interrupted."""


class ListenApp(App[None]):
    """Loads the voices behind the first paint; leaves where they cannot be loaded."""

    TITLE = "dlpo-tui"

    def __init__(
        self,
        speaking: Speaking,
        sound: Sound,
        sources: tuple[str, ...],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.speaking, self.clock = speaking, clock
        self.listen_screen = ListenScreen(speaking, sound, sources, settings)
        self._began = clock()
        self.register_theme(CALM)
        self.register_theme(PAPER)
        self.theme = CALM.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of ours for the themes that do not name them."""
        return EXTRA

    def on_mount(self) -> None:
        self.push_screen(self.listen_screen)
        self.set_interval(TICK_SECONDS, self.tick)
        self.call_after_refresh(self.speaking.start)

    def tick(self) -> None:
        """Takes in what the worker has done and shows it."""
        if not self.listen_screen.is_mounted:
            return
        self.speaking.drain()
        now = self.speaking.now
        self.listen_screen.show(now, self.clock() - self._began)
        if now.ended is not None and not now.voices:
            self.exit()  # there is no voice to listen to; why is said on the way out

    def action_help_quit(self) -> None:
        """Ctrl+C, where no text is selected, is a wish to quit."""
        self.exit()


def run_listen(
    speaking: Speaking,
    sources: tuple[str, ...],
    settings: Settings,
    sound: Sound | None = None,
) -> int:
    """Shows the screen until its user leaves; 0, or 1 where the worker or the app failed.

    `speaking.now.ended` says why, and whether the input was at fault.
    """
    sound = sound or Speaker()
    with errors_into(Path(os.devnull)):
        app = ListenApp(speaking, sound, sources, settings)
        app.run()
    sound.close()
    speaking.close(PATIENCE_SECONDS)
    return 1 if app.return_code or speaking.now.ended else 0
