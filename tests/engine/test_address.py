"""Where a session is reached: a socket of this user's alone, a note that dies with its process."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import address
from engine.address import Claim, Note, alive, bind, peer_uid, read

NOTE = Note(7, "/somewhere/session.sock", "abc", ("ann@here", "ben@there"), "ann@here")


def test_a_note_is_read_as_it_was_written_and_goes_with_its_claim(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert not alive(tmp_path)
    claim = Claim(tmp_path)
    claim.write(NOTE)
    claim.write(NOTE)
    assert read(tmp_path) == NOTE
    assert alive(tmp_path)
    claim.close()
    assert not alive(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_is_half_written_is_none(tmp_path: Path) -> None:
    for text in ("", '{"pid": 7', '{"pid": 7}', "[]", '{"attached": 3}'):
        (tmp_path / address.NOTE).write_text(text)
        assert read(tmp_path) is None


def test_a_run_is_served_by_one_process(tmp_path: Path) -> None:
    claim = Claim(tmp_path)
    with pytest.raises(ValueError, match=r"at work in another process; dlpo-tui attach"):
        Claim(tmp_path)
    claim.close()
    Claim(tmp_path).close()


def test_a_note_whose_process_was_killed_is_nobodys(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from engine.address import Claim, Note, bind
folder = Path(sys.argv[1])
claim = Claim(folder)
made, path = bind(folder)
claim.write(Note(os.getpid(), str(path), "abc"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == -9
    assert read(tmp_path) is not None
    assert (tmp_path / address.SOCKET).exists()
    assert not alive(tmp_path)
    claim = Claim(tmp_path)
    made, path = bind(tmp_path)
    made.listen()
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
    made.close()
    claim.close()


def test_a_socket_is_this_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made, path = bind(tmp_path)
    finally:
        os.umask(before)
    made.close()
    assert path == tmp_path / address.SOCKET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.fixture
def short_folder() -> Iterator[str]:
    """Whose path leaves room for a socket's, which that of a test's folder may not."""
    with tempfile.TemporaryDirectory(prefix="d") as folder:
        yield folder


def test_where_the_path_is_too_long_the_socket_lies_elsewhere(
    tmp_path: Path, short_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    short = Path(short_folder)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(short))
    made, path = bind(folder)
    made.close()
    assert path.parent == short / f"dlpo-tui-{os.getuid()}"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made, again = bind(folder)
    made.close()
    assert again == path


def test_a_runtime_folder_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / f"dlpo-tui-{os.getuid()}").mkdir()
    (tmp_path / f"dlpo-tui-{os.getuid()}").chmod(0o755)
    with pytest.raises(ValueError, match="is not yours alone"):
        address.runtime_folder()


def test_a_runtime_folder_that_is_given_is_taken_if_it_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Path("/tmp") / f"d{os.getpid()}"  # noqa: S108 (a socket wants a short path)
    given.mkdir(mode=0o700)
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(given))
        assert address.runtime_folder() == given
        given.chmod(0o777)
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        assert address.runtime_folder().parent == tmp_path
    finally:
        given.rmdir()


def test_the_user_at_the_other_end_is_known() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.getuid()


def test_a_note_is_read_whole_while_it_is_written_again_and_again(tmp_path: Path) -> None:
    claim, over = address.Claim(tmp_path), threading.Event()
    notes = [replace(NOTE, attached=("x" * length,)) for length in (1, 400, 30)]
    claim.write(notes[0])

    def write() -> None:
        while not over.is_set():
            for note in notes:
                claim.write(note)

    writer = threading.Thread(target=write)
    writer.start()
    found = [read(tmp_path) for _ in range(500)]
    over.set()
    writer.join()
    claim.close()
    assert all(note in notes for note in found)


def test_a_note_is_not_written_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / address.NOTE).symlink_to("other")
    with pytest.raises(OSError, match="symbolic links"):
        address.Claim(tmp_path)
    assert (tmp_path / "other").read_text() == "mine"
