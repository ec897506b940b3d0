"""The app over a journal; leaves where there is nothing to show."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from dlpo_tui.app import DlpoApp
from dlpo_tui.bridge import Bridge
from dlpo_tui.replaying import Replay
from dlpo_tui.screens.replay import ReplayScreen
from dlpo_tui.sound import Sound


class ReplayApp(DlpoApp):
    """The session's app with a journal behind it and the replay's screen."""

    def __init__(
        self,
        replay: Replay,
        sound: Sound,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(cast(Bridge, replay), sound, folder, clock=clock)
        self.replay = replay
        self.run_screen = ReplayScreen(replay, sound, folder)

    def tick(self) -> None:
        super().tick()
        if self.replay.error:
            self.exit()
