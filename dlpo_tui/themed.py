"""A quiet way to run an app that has no folder for a log."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from dlpo_tui.app import run_guarded
from dlpo_tui.base_app import BaseApp
from dlpo_tui.sound import Sound


def run_quietly(
    app: BaseApp, name: str, sound: Sound, keep: Callable[[], bool] = lambda: False
) -> str:
    """Runs an app that has no folder for a log; what is printed meanwhile goes to a file.

    `sound` is what the app plays with; it is closed at the end.

    Returns "why is in FILE" where the app failed or `keep()` says so; else the file goes.
    """
    # Its name cannot be guessed, so that nobody can lay a link there first.
    handle, place = tempfile.mkstemp(prefix=f"dlpo-tui-{name}-", suffix=".log")
    os.close(handle)
    path = Path(place)
    run_guarded(app, sound, path)
    if app.return_code or keep():
        return f"why is in {path}"
    path.unlink(missing_ok=True)
    return ""
