from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.files import replacing


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
