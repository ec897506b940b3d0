"""What the machine may do to a session: a full disk, a read-only one, a clock that is set back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import checkpoint, journal
from engine import messages as m
from engine.journal import replay
from engine.profile import Profile
from engine.session import Session
from tests.sessions import Ran, begun, gone_on, same
from tests.voices import write_profile, write_voice

THREE = ("train.updates=3", "evaluation.every=0", "train.save_every=1")


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    return write_profile(folder, write_voice(folder / "voice.safetensors"))


@pytest.fixture(scope="module")
def whole(profile: Path) -> Ran:
    return begun(profile, profile.parent / "whole", *THREE)


@contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    """A mount for as long as it is needed; skips where none is allowed."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no mount is allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(arguments[-1])], check=True)


def at_update(number: int, act: Callable[[], None]) -> Callable[[m.Event, Session], None]:
    def react(event: m.Event, session: Session) -> None:
        if isinstance(event, m.UpdateFinished) and event.update == number:
            act()

    return react


def whole_files(folder: Path) -> None:
    """Nothing half-written lies anywhere, and what lies there can be read."""
    assert not list(folder.rglob("*.part*"))
    for path in (folder / "checkpoints").iterdir():
        checkpoint.load(path)
    replay(folder)


def test_a_disk_that_is_full_ends_the_session_and_room_lets_it_go_on(
    profile: Path, whole: Ran, tmp_path: Path
) -> None:
    folder, filler = tmp_path / "small" / "run", tmp_path / "small" / "filler"
    (tmp_path / "small").mkdir()
    with mounted("-t", "tmpfs", "-o", "size=6m", "tmpfs", tmp_path / "small"):

        def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * 4096)
                except OSError:
                    pass

        ran = begun(profile, folder, *THREE, react=at_update(2, fill))
        assert ran.ended.reason == "failed"
        assert ran.ended.error.startswith("No space left on device ")
        assert ran.ended.error.endswith("; make room, or name another place")
        whole_files(folder)
        filler.unlink()
        again = gone_on(folder)
        assert again.ended == m.SessionEnded(3, "finished")
        assert same(again.weights, whole.weights)
        whole_files(folder)


def test_a_folder_that_turns_read_only_ends_the_session_and_spoils_nothing(
    profile: Path, whole: Ran, tmp_path: Path
) -> None:
    folder, inside = tmp_path / "run", ("samples", "checkpoints", "resume")

    def forbid() -> None:
        if os.geteuid() == 0:  # root may write whatever a folder's mode says
            for options in (["--bind"], ["-o", "remount,ro,bind"]):
                subprocess.run(["mount", *options, str(folder), str(folder)], check=True)
        else:
            for name in inside:
                (folder / name).chmod(0o555)

    def allow() -> None:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        else:
            for name in inside:
                (folder / name).chmod(0o755)

    if os.geteuid() == 0:
        (tmp_path / "probe").mkdir()
        with mounted("--bind", tmp_path / "probe", tmp_path / "probe"):
            pass
    try:
        ran = begun(profile, folder, *THREE, react=at_update(2, forbid))
    finally:
        allow()
    assert ran.ended.reason == "failed"
    assert "; name a place that you may use" in ran.ended.error
    whole_files(folder)
    assert replay(folder).ended == ran.ended  # the journal had been open all along
    again = gone_on(folder)
    assert again.ended == m.SessionEnded(3, "finished")
    assert same(again.weights, whole.weights)


class Backwards(datetime):
    """A wall clock that somebody sets back by an hour each time it is read."""

    at = datetime(2026, 3, 4, 12, 5, 6, tzinfo=UTC)

    @classmethod
    def now(cls, tz=None):  # type: ignore[no-untyped-def, override]
        cls.at -= timedelta(hours=1)
        return cls.at.astimezone(tz)


def test_a_clock_that_is_set_back_changes_nothing_but_the_times_told(
    profile: Path, whole: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "datetime", Backwards)

    def stop(event: m.Event, session: Session) -> None:
        if isinstance(event, m.UpdateFinished) and event.update == 1:
            session.commands.put(m.Stop())

    ran = begun(profile, tmp_path / "run", *THREE, react=stop)
    again = gone_on(ran.folder)
    assert again.ended == m.SessionEnded(3, "finished")
    assert same(again.weights, whole.weights)
    now = replay(ran.folder)
    assert [update for update, _ in now.history] == [1, 2, 3]
    assert all(v >= 0 for _, stats in now.history for v in stats.seconds.values())
    runs = Profile(name="a", runs=str(tmp_path / "runs"))
    noon = datetime(2026, 3, 4, 12)
    made = [journal.create(runs, "", at) for at in (noon, noon - timedelta(hours=1), noon)]
    assert len(set(made)) == 3
