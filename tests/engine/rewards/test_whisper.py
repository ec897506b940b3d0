"""A stand-in for faster-whisper, which is called as the real one wants to be called."""

from __future__ import annotations

import importlib.machinery
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from engine.rewards import fetching, registry
from engine.rewards.base import ScoreError
from engine.rewards.weights import WeightsError
from engine.rewards.whisper import USUAL, VARIABLE, Whisper, path

SIZES = ("tiny.en", USUAL)


@dataclass
class Hub:
    """What faster-whisper finds on the disk, and what it would find on the network."""

    cache: Path
    online: bool = True
    asked: int = 0

    def download_model(
        self,
        size_or_id: str,
        output_dir: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | None = None,
    ) -> str:
        if size_or_id not in SIZES:
            raise ValueError(f"Invalid model size {size_or_id!r}")
        folder = self.cache / size_or_id
        if folder.is_dir():
            return str(folder)
        if local_files_only:
            raise FileNotFoundError("Cannot find an appropriate cached snapshot folder")
        self.asked += 1
        if not self.online:
            raise ConnectionError("Name or service not known\nPlease check your connection")
        folder.mkdir()
        (folder / "model.bin").touch()
        return str(folder)


class WhisperModel:
    """Hears as many words as a clip has tenths of a second."""

    made: tuple[str, str, int, bool]

    def __init__(
        self,
        model_size_or_path: str,
        device: str = "auto",
        device_index: int = 0,
        compute_type: str = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        type(self).made = (model_size_or_path, device, cpu_threads, local_files_only)

    def transcribe(
        self,
        audio: np.ndarray,
        language: str | None = None,
        beam_size: int = 5,
        temperature: float | tuple[float, ...] = (0.0, 0.2, 0.4),
        condition_on_previous_text: bool = True,
    ) -> tuple[Iterator[SimpleNamespace], SimpleNamespace]:
        assert audio.dtype == np.float32
        assert audio.ndim == 1
        assert language == "en"
        assert temperature == 0.0  # Above it the words are drawn at random.
        words = (SimpleNamespace(text=" one") for _ in range(len(audio) // 1600))
        return words, SimpleNamespace(language=language)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """faster-whisper, as if it were installed, with no model yet."""
    hub = Hub(tmp_path)
    module = ModuleType("faster_whisper")
    module.__spec__ = importlib.machinery.ModuleSpec("faster_whisper", None)
    vars(module).update(WhisperModel=WhisperModel, download_model=hub.download_model)
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    monkeypatch.delenv(VARIABLE, raising=False)
    return hub


def quiet(done: int, total: int) -> None:
    del done, total


def fetch() -> Path:
    return fetching.fetch("whisper", None, quiet)


def test_its_own_columns_and_the_rates_of_what_it_hears(hub: Hub) -> None:
    fetch()
    model = registry.load("whisper")
    assert tuple(c.name for c in model.columns) == registry.MODEL_COLUMNS["whisper"]
    waves = torch.zeros(2, 4800, requires_grad=True)
    told = model(waves, ("One, one, one.", "One one one four."))
    torch.testing.assert_close(told, torch.tensor([[0.0, 0.0], [1 / 4, 5 / 16]]))
    with pytest.raises(ScoreError, match="has no words"):
        model(waves[:1], ("...",))


def test_it_is_loaded_from_its_folder_with_torchs_threads_and_never_downloads(hub: Hub) -> None:
    fetch()
    Whisper("cpu")
    folder = str(hub.cache / USUAL)
    assert WhisperModel.made == (folder, "cpu", torch.get_num_threads(), True)
    Whisper("cuda:0")
    assert WhisperModel.made[1] == "cuda"


def test_a_session_never_downloads_a_model(hub: Hub) -> None:
    sentence = registry.missing("whisper_wer")
    assert "\n" not in sentence
    for part in (USUAL, "dlpo-tui fetch whisper", VARIABLE):
        assert part in sentence
    with pytest.raises(WeightsError) as raised:
        registry.load("whisper")
    assert str(raised.value) == sentence
    assert hub.asked == 0


def test_what_is_fetched_is_found_and_not_fetched_again(hub: Hub) -> None:
    assert fetch() == fetch() == path() == hub.cache / USUAL
    assert registry.missing("whisper") == ""
    assert hub.asked == 1


def test_without_a_network_the_way_by_hand_is_told(hub: Hub) -> None:
    hub.online = False
    with pytest.raises(WeightsError, match=rf"Name or service not known Please.*{VARIABLE}"):
        fetch()


def test_another_size_or_a_folder_is_named_in_the_variable(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "tiny.en")
    assert "Whisper tiny.en is not on this machine" in registry.missing("whisper")
    monkeypatch.setenv(VARIABLE, "tniy.en")
    assert "names 'tniy.en', which is neither a folder nor a size" in registry.missing("whisper")
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv(VARIABLE, str(mine))
    assert f"{mine} holds no whole Whisper model" in registry.missing("whisper")
    (mine / "model.bin").touch()
    assert path() == mine


def test_a_file_is_not_how_a_model_comes(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"a folder, not a file: name it in {VARIABLE}"):
        fetching.fetch("whisper", tmp_path, quiet)


def test_where_the_package_is_not_installed_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    told = registry.missing("whisper")
    assert "needs the Python package faster_whisper" in told
    assert "pip install 'dlpo-tui[whisper]'" in told
    for call in (lambda: registry.load("whisper"), fetch):
        with pytest.raises(ValueError, match="needs the Python package faster_whisper"):
            call()


@pytest.mark.parametrize(
    ("stand_in", "name"),
    [
        (WhisperModel.__init__, "WhisperModel.__init__"),
        (WhisperModel.transcribe, "WhisperModel.transcribe"),
        (Hub.download_model, "download_model"),
    ],
)
def test_the_real_one_takes_what_the_stand_in_takes(stand_in: object, name: str) -> None:
    real: object = pytest.importorskip("faster_whisper")
    for part in name.split("."):
        real = getattr(real, part)
    assert callable(stand_in)
    assert callable(real)
    ours = set(inspect.signature(stand_in).parameters) - {"self"}
    assert ours <= set(inspect.signature(real).parameters)
