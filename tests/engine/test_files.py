from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from engine.files import check_target, own_file, replacing, sweep, told


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_new_file_takes_the_old_ones_place(tmp_path: Path) -> None:
    path = tmp_path / "voice.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"  # until it is whole
        assert temporary.parent == path.parent  # a rename, never a copy
        assert temporary.suffix == path.suffix
        assert temporary.name.startswith(".")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["voice.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "voice.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["voice.txt"]


def test_a_body_that_writes_nothing_is_an_error_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "voice.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["voice.txt"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with replacing(tmp_path / "a" / "b" / "c.txt") as temporary:
        temporary.write_text("deep")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "deep"


def test_the_umask_says_who_may_read_the_result(tmp_path: Path, umask: int) -> None:
    wanted = 0o666 & ~umask
    with replacing(tmp_path / "plain.txt") as temporary:
        temporary.write_text("text")
    with replacing(tmp_path / "weights.safetensors") as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
    with replacing(tmp_path / "secret.txt") as temporary:
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert [mode(path) for path in sorted(tmp_path.iterdir())] == [wanted] * 3


def test_the_data_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    fsync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        told.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(*paths: Path) -> None:
        told.append("rename")
        rename(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("text")
    assert told == ["file", "rename", "folder"]


# --- what the disk refuses ------------------------------------------------------


def failing(path: Path, error: Exception) -> OSError:
    """What a writer gets to hear whose library raised `error`."""
    with pytest.raises(OSError) as caught, replacing(path):  # noqa: PT011 (of any kind)
        raise error
    assert os.listdir(path.parent) == []
    return caught.value


def test_a_full_disk_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "voice.txt"
    error = failing(path, OSError(errno.ENOSPC, "No space left on device"))
    assert told(error) == f"No space left on device {path}; make room, or name another place"
    temporary = tmp_path / f".voice.{os.getpid()}.part.txt"
    error = failing(path, PermissionError(errno.EACCES, "Permission denied", str(temporary)))
    assert told(error) == f"Permission denied {path}; name a place that you may use"


def test_what_went_wrong_with_another_file_keeps_its_name(tmp_path: Path) -> None:
    error = failing(tmp_path / "a.txt", FileNotFoundError(errno.ENOENT, "No such file", "b.txt"))
    assert told(error) == "No such file b.txt"


def test_safetensors_tell_what_the_disk_said(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    why = "Error while serializing: I/O error: No space left on device (os error 28)"
    error = failing(path, SafetensorError(why))
    assert (error.errno, error.filename) == (errno.ENOSPC, str(path))
    with pytest.raises(SafetensorError, match="other"), replacing(path):
        raise SafetensorError("other trouble")


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a note")
    check_target(tmp_path / "new" / "deep" / "a.wav")
    with pytest.raises(IsADirectoryError) as caught:
        check_target(tmp_path)
    assert told(caught.value) == f"Is a directory {tmp_path}; it is a folder; name a file"
    with pytest.raises(NotADirectoryError) as caught_too:
        check_target(tmp_path / "file" / "deep" / "a.wav")
    assert told(caught_too.value).endswith(f"{tmp_path}/file; a file is where a folder should be")
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_written_on_to_is_no_link_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a note")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("gone")
    assert own_file(tmp_path / "file") == tmp_path / "file"
    assert own_file(tmp_path / "new") == tmp_path / "new"
    for name in ("link", "nowhere", "."):
        with pytest.raises(OSError, match="no file of its own") as caught:
            own_file(tmp_path / name)
    assert told(caught.value).endswith("; remove it, or name another folder")


def test_what_killed_processes_were_writing_is_swept_away(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    (tmp_path / "resume").mkdir()
    dead = tmp_path / "resume" / f".update-000003.{process.pid}.part.safetensors"
    own = tmp_path / "resume" / f".update-000003.{os.getpid()}.part.safetensors"  # a number reused
    at_work = tmp_path / "resume" / f".page.{os.getppid()}.part.html"
    others = tmp_path / "resume" / "update-000003.safetensors", tmp_path / "resume" / ".part.x"
    above = tmp_path / f".profile.{process.pid}.part.toml"
    for path in (dead, own, at_work, above, *others):
        path.write_text("half")
    sweep(tmp_path)
    assert set((tmp_path / "resume").iterdir()) == {at_work, *others}
    assert not above.exists()
