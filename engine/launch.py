"""A session over several devices, seen from the process that starts it.

torchrun runs one engine a device and starts all of them again where one is lost; from here it
is a session like any other, with commands and events. Opens one of either kind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from engine import distributed, journal, plain_json
from engine import messages as m
from engine.device import choose_device
from engine.files import own_file
from engine.journal import Journal, JournalError
from engine.profile import Profile
from engine.session import Session
from engine.worker import HANDED

ENDING_SECONDS = 30.0
"""How long the processes may take to go after their session has ended."""


def open_session(
    profile: Profile,
    folder: Path,
    emit: Callable[[m.Event], None],
    before: m.Snapshot | None = None,
) -> Session | Launched:
    """A session in this process, or in as many as `distributed.devices` says.

    Errors: ProfileError where there are not so many devices; JournalError where the run is at work.
    """
    kind = Session if profile.distributed.devices == 1 else Launched
    return kind(profile, folder, emit, before)


class Launched:
    """A session in processes of its own: rank 0's events come by a pipe, commands go by another."""

    def __init__(
        self,
        profile: Profile,
        folder: Path,
        emit: Callable[[m.Event], None],
        before: m.Snapshot | None = None,
    ) -> None:
        """The run's folder is there, with the profile in it."""
        distributed.check(profile.distributed, choose_device(profile.device))
        journal.check_free(folder)
        self.profile, self.folder, self.emit = profile, folder, emit
        self.commands: SimpleQueue[m.Command] = SimpleQueue()
        self.update = before.update if before else 0

    def run(self) -> None:
        """Until the session has ended, however that is; emits exactly one SessionEnded."""
        log = own_file(self.folder / "session.log")
        with log.open("ab") as told:
            began = told.tell()
            process = subprocess.Popen(  # noqa: S603 (our own command line, without a shell)
                command(self.profile), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told,
                env=environment(self.profile, self.folder), start_new_session=True,
            )  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            threading.Thread(target=self.forward, args=(process.stdin,), daemon=True).start()
            try:
                ended = self.listen(process.stdout)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(ENDING_SECONDS)
            finally:
                end_now(process)
                self.commands.put(m.Stop())  # lets the thread see that nobody reads any more
        if not ended:
            self.lost(process.returncode, last_word(log, began))

    def forward(self, lines: IO[bytes]) -> None:
        """Passes commands on to rank 0, until it is gone."""
        with suppress(OSError, ValueError), lines:
            while True:
                line = plain_json.line(m.to_json(self.commands.get()))
                lines.write(line.encode() + b"\n")
                lines.flush()

    def listen(self, lines: IO[bytes]) -> bool:
        """Emits what rank 0 says; True where the session has ended in its own words."""
        with lines:
            for line in lines:
                with suppress(ValueError):  # what a library prints between them
                    event = m.from_json(plain_json.parse(line))
                    self.emit(event)  # type: ignore[arg-type]  # a session says no commands
                    if isinstance(event, m.UpdateFinished | m.SessionResumed):
                        self.update = event.update
                    if isinstance(event, m.SessionEnded):
                        return True
        return False

    def lost(self, code: int, word: str) -> None:
        """Says, in the journal too, that the session cannot go on by itself."""
        times = self.profile.distributed.restarts
        why = word or f"torchrun ended with code {code}"
        end = m.SessionEnded(
            self.update,
            "failed",
            f"a process was lost once more than distributed.restarts = {times} allows ({why}); "
            f"what it printed is in {self.folder / 'session.log'}",
        )
        with suppress(OSError, JournalError):
            written = Journal(self.folder)
            written.write(end)
            written.close()
        self.emit(end)


def command(profile: Profile) -> list[str]:
    """torchrun, as a module of the Python that runs this."""
    spec = profile.distributed
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1",
        f"--nproc-per-node={spec.devices}", f"--max-restarts={spec.restarts}",
        f"--log-dir={os.devnull}", "-m", "engine", "run",
    ]  # fmt: skip


def environment(profile: Profile, folder: Path) -> dict[str, str]:
    """What the processes need to know beside what this one's environment says."""
    handed = {"folder": str(folder), "profile": journal.plain(profile)}
    threads = profile.device.threads or (os.cpu_count() or 1) // profile.distributed.devices
    here, there = str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")
    return {
        "OMP_NUM_THREADS": str(max(threads, 1)),
        **os.environ,
        HANDED: json.dumps(handed),
        # The same engine as here, wherever it was started.
        "PYTHONPATH": os.pathsep.join([here, there] if there else [here]),
        # Without it ranks that are started again hang (pytorch#135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


def end_now(process: subprocess.Popen[bytes]) -> None:
    """Ends what is still there; torchrun passes the signal on, and no rank outlives that one."""
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def last_word(log: Path, began: int) -> str:
    """The last sentence of ours in what was printed from byte `began` on; empty where none is."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(began)
        lines = file.read().decode(errors="replace").splitlines()
        own = [line for line in lines if line.startswith("dlpo-tui: ")]
        return own[-1].removeprefix("dlpo-tui: ") if own else ""
    return ""
