"""The app of `listen`: drains the worker, shows its takes; `run_listen` guards the process."""

from __future__ import annotations

import time
from collections.abc import Callable

from dlpo_tui.app import TICK_SECONDS
from dlpo_tui.base_app import BaseApp
from dlpo_tui.screens.listen import ListenScreen
from dlpo_tui.sound import Sound, speaker
from dlpo_tui.speaking import Speaking
from dlpo_tui.speech_settings import Settings
from dlpo_tui.themed import run_quietly

PATIENCE_SECONDS = 10.0
"""How long the worker may still hold the process: a model that loads cannot be interrupted."""


class ListenApp(BaseApp):
    """Loads the voices behind the first paint; leaves where they cannot be loaded."""

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
) -> str:
    """Shows the screen until its user leaves; where the worker or the app failed, a sentence.

    `speaking.now.ended` says whether it was the worker, and whether its input was at fault.
    """
    sound = sound or speaker()

    def failed() -> bool:
        ended = speaking.now.ended
        return ended is not None and not ended.refused

    why = run_quietly(ListenApp(speaking, sound, sources, settings), "listen", sound, failed)
    speaking.close(PATIENCE_SECONDS)
    if (ended := speaking.now.ended) is not None:
        return f"{ended.sentence}; {why}" if why else ended.sentence
    return f"the screen failed; {why}" if why else ""
