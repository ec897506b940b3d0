"""The app over a session in another process; leaving it leaves the session as it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dlpo_tui.app import DlpoApp
from dlpo_tui.bridge import Bridge
from dlpo_tui.screens.attached import AttachedScreen
from dlpo_tui.sound import Sound
from engine.attached import Attachment
from engine.messages import Emit


class AttachedApp(DlpoApp):
    """The session's app with the attached screen."""

    def __init__(
        self,
        bridge: Bridge,
        attachment: Attachment,
        sound: Sound,
        folder: Path,
        fetches: bool = False,
        log_path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(bridge, sound, folder, log_path, outlives=True, clock=clock)
        self.run_screen = AttachedScreen(attachment, sound, folder, log_path, fetches)


def bridged(attachment: Attachment) -> Bridge:
    """The bridge to a session that is connected to already."""

    def open_session(emit: Emit) -> Attachment:
        attachment.emit = emit
        return attachment

    return Bridge(open_session)
