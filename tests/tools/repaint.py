"""What a screen writes to its terminal: bytes a second, idle and while a session runs.

`python tests/tools/repaint.py` counts them through a pseudo-terminal of 120 x 40.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APP = """
import sys, tempfile
from pathlib import Path
sys.path[:0] = [{root!r}, {root!r} + "/tests/dlpo_tui"]
import scenes
from dlpo_tui.app import run_app
from dlpo_tui.bridge import Bridge
folder = Path(tempfile.mkdtemp())
if {scene!r} == "live":
    bridge = Bridge(lambda emit: scenes.Live(emit, folder, 0.1))
else:
    bridge, _ = scenes.scripted(scenes.SCENES[{scene!r}]())
run_app(bridge, folder)
"""


def written(scene: str, settle: float, seconds: float) -> int:
    """Bytes that a scene's screen writes within `seconds`, from `settle` seconds of quiet on.

    `live`: from `settle` seconds after its first paint on.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        code = APP.format(root=str(ROOT), scene=scene)
        os.execv(sys.executable, [sys.executable, "-c", code])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    try:
        first = len(read(terminal, 60.0, until=2000))
        assert first >= 2000, "the screen was never painted"
        end = time.monotonic() + 60
        while read(terminal, settle) and scene != "live" and time.monotonic() < end:
            pass
        return len(read(terminal, seconds))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def read(terminal: int, seconds: float, until: int | None = None) -> bytes:
    """What comes within some seconds, or until so much has come."""
    found, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and (until is None or len(found) < until):
        if select.select([terminal], [], [], left)[0]:
            found += os.read(terminal, 1 << 16)
    return found


def main() -> int:
    idle = {scene: written(scene, 2.0, 3.0) for scene in ("running", "paused", "finished")}
    for scene, count in idle.items():
        print(f"{scene}, nothing happens: {count} bytes in 3 s")
    live = written("live", 8.0, 10.0)
    print(f"a session with ten events a second: {live / 10:.0f} bytes a second")
    return 1 if any(idle.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
