"""The file of weights: where it lies, whether it is whole, how it comes into the data folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
from safetensors import safe_open
from torch import Tensor

from engine.rewards import registry, utmos_weights, weights
from engine.rewards.utmos_weights import FILE, VARIABLE, fetch, missing, path, read
from engine.rewards.weights import WeightsError, WeightsFile


@pytest.fixture
def file(narrow: Path) -> WeightsFile:
    """The narrow network as if it had been published."""
    data = narrow.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return WeightsFile("utmos", FILE.name, "https://example.invalid/a.pt", len(data), digest)


def quiet(done: int, total: int) -> None:
    del done, total


def test_missing_weights_are_one_sentence(folder: Path) -> None:
    sentence = missing()
    assert "\n" not in sentence
    for part in ("dlpo-tui fetch utmos", FILE.name, FILE.address, str(folder), "411 MB"):
        assert part in sentence
    assert registry.missing("utmos") == sentence
    with pytest.raises(WeightsError) as raised:
        registry.load("utmos")
    assert str(raised.value) == sentence
    assert not folder.exists()


def test_where_weights_are_looked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    published = folder / FILE.name
    with published.open("wb") as opened:
        opened.truncate(FILE.size_bytes)
    assert path() == published
    assert registry.missing("utmos") == ""
    copied = published.with_suffix(".safetensors")
    copied.touch()
    assert path() == copied
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine.pt"))
    with pytest.raises(WeightsError, match=rf"{VARIABLE} names .*mine\.pt .* no such file"):
        path()
    (tmp_path / "mine.pt").touch()
    assert path() == tmp_path / "mine.pt"


def test_a_download_cut_short_is_seen_without_reading_it(folder: Path) -> None:
    folder.mkdir()
    (folder / FILE.name).write_bytes(b"PK\x03\x04")
    assert "is 4 bytes long and should be 411,179,119: it is cut short" in missing()
    with pytest.raises(WeightsError, match=r"cut short.*dlpo-tui fetch utmos"):
        read(folder / FILE.name)


def test_the_published_name_belongs_to_one_file(
    folder: Path, narrow: Path, file: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The narrow network in its place."""
    folder.mkdir()
    placed = Path(shutil.copy(narrow, folder / FILE.name))
    wrong = WeightsFile("utmos", file.name, file.address, file.size_bytes, FILE.sha256)
    monkeypatch.setattr(utmos_weights, "FILE", wrong)
    with pytest.raises(WeightsError, match="SHA-256 is not the published"):
        read(placed)
    assert sorted(p.name for p in folder.iterdir()) == [FILE.name]

    monkeypatch.setattr(utmos_weights, "FILE", file)
    read(placed)
    with monkeypatch.context() as patched:
        patched.delattr(hashlib, "file_digest")
        read(placed)  # Known to be good: not read twice.
        os.utime(placed, ns=(0, 0))
        with pytest.raises(AttributeError, match="file_digest"):
            read(placed)

    broken = bytearray(placed.read_bytes())
    broken[len(broken) // 2] ^= 1
    placed.write_bytes(broken)
    with pytest.raises(WeightsError, match="SHA-256 is not the published"):
        read(placed)


def test_where_nobody_may_write_the_file_is_good_all_the_same(
    folder: Path, narrow: Path, file: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    placed = Path(shutil.copy(narrow, folder / FILE.name))
    monkeypatch.setattr(utmos_weights, "FILE", file)

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(utmos_weights, "replacing", refuse)
    read(placed)
    assert sorted(p.name for p in folder.iterdir()) == [FILE.name]


# Into the data folder


def test_what_is_fetched_becomes_plain_tensors_and_is_found(
    folder: Path,
    narrow: Path,
    file: WeightsFile,
    state: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def download(file: WeightsFile, target: Path, *_others: object) -> None:
        asked.append(file.address)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(narrow, target)

    monkeypatch.setattr(weights, "fetch", download)
    kept = fetch(None, quiet, file)
    assert kept == path() == folder / "utmos22_strong_step7459_v1.safetensors"
    assert sorted(p.name for p in folder.iterdir()) == [kept.name]
    copied = read(kept)
    assert copied.keys() == state.keys()
    assert all(copied[name].equal(tensor) for name, tensor in state.items())
    with safe_open(kept, "pt") as opened:
        assert opened.metadata()["sha256"] == file.sha256
    assert fetch(None, quiet, file) == kept
    assert asked == [file.address]

    kept.write_bytes(kept.read_bytes()[:-1])  # A copy that is not whole is no copy.
    fetch(None, quiet, file)
    assert len(asked) == 2


def test_a_file_the_user_has_is_taken_under_any_name_and_stays(
    folder: Path, narrow: Path, file: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "fetch", None)
    assert fetch(narrow, quiet, file) == path()
    assert narrow.is_file()
    path().unlink()
    placed = Path(shutil.copy(narrow, folder / FILE.name))
    assert fetch(None, quiet, file).suffix == ".safetensors"
    assert placed.is_file()


def test_another_file_is_refused_and_nothing_is_kept(
    folder: Path, narrow: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"narrow\.pt is .* should be 411,179,119"):
        fetch(narrow, quiet)
    with pytest.raises(WeightsError, match=r"there is no file .*away\.pt$"):
        fetch(tmp_path / "away.pt", quiet)
    assert not folder.exists()


def test_a_full_disk_leaves_the_download_and_says_so(
    folder: Path, narrow: Path, file: WeightsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(WeightsError, match=rf"cannot be written into {folder}: No space left"):
        fetch(narrow, quiet, file)
    assert list(folder.iterdir()) == []
