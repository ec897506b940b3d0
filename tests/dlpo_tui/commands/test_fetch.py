from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from engine.rewards import nisqa, registry, weights
from engine.rewards.weights import WeightsError, WeightsFile

Call = Callable[..., Result]

DATA = b"weights"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line with an empty home folder, where NISQA's file is one of seven bytes."""
    digest = hashlib.sha256(DATA).hexdigest()
    file = WeightsFile("nisqa", "nisqa.tar", nisqa.FILE.address, len(DATA), digest)
    monkeypatch.setattr(nisqa, "FILE", file)
    monkeypatch.setattr(registry, "package_missing", lambda model: "")
    monkeypatch.setattr("engine.rewards.fetching.package_missing", lambda model: "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, ["fetch", *map(str, arguments)])


def refused(result: Result) -> str:
    """Exit code 2, nothing on stdout, and the sentence that ends what stands on stderr."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("dlpo-tui: ")
    return last


def test_a_file_that_the_user_has_is_kept_and_its_licence_is_stated(call: Call) -> None:
    Path("mine.tar").write_bytes(DATA)
    result = call("nisqa", "--from", "mine.tar")
    assert result.exit_code == 0, result.output
    licence, where = result.stderr.splitlines()
    assert "CC BY-NC-SA 4.0" in licence
    kept = Path("home/.torchmetrics/NISQA/nisqa.tar").resolve()
    assert where == f"weights {kept}"
    assert kept.read_bytes() == DATA


def test_a_download_shows_its_bytes_and_says_where_they_are(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(file: WeightsFile, target: Path, on_progress: Callable, *_others: object) -> None:
        on_progress(len(DATA), file.size_bytes)
        target.parent.mkdir(parents=True)
        target.write_bytes(DATA)

    monkeypatch.setattr(weights, "fetch", download)
    assert call("nisqa").stderr.splitlines()[-1].endswith("nisqa.tar")


def test_without_a_network_it_is_one_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_arguments: object) -> None:
        raise WeightsError("nisqa.tar cannot be fetched")

    monkeypatch.setattr(weights, "fetch", offline)
    assert refused(call("nisqa")) == "dlpo-tui: nisqa.tar cannot be fetched"
    assert not Path("home").exists()


def test_another_file_is_refused(call: Call) -> None:
    Path("mine.tar").write_bytes(DATA[::-1])
    assert "its SHA-256 is not" in refused(call("nisqa", "--from", "mine.tar"))
    assert "there is no file away.tar" in refused(call("nisqa", "--from", "away.tar"))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("umtos", "'umtos'; did you mean 'utmos'?"),
        ("loudness", "loudness has no weights to fetch; those that have: nisqa, utmos, whisper"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(call: Call, model: str, told: str) -> None:
    assert told in refused(call(model))
