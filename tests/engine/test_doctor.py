from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from engine import checkpoint, doctor
from engine.doctor import Finding
from engine.rewards import registry
from tests.voices import write_voice

CPU = torch.device("cpu")


def test_every_finding_has_a_name_of_its_own_and_what_is_ill_a_way_to_mend_it(
    tmp_path: Path,
) -> None:
    found = list(doctor.look(CPU, tmp_path / "runs"))
    names = [f.name for f in found]
    assert len(set(names)) == len(names)
    assert {"python", "cpu", "gpu", "precision", "packages", "voice", "disk"} <= set(names)
    assert {f"score.{name}" for name in registry.SCORE_MODELS} <= set(names)
    for f in found:
        assert f.told
        assert (f.state == "ok") == (f.mend == "")
        assert "\n" not in f.told + f.mend


def test_only_what_is_needed_and_missing_is_broken() -> None:
    assert Finding("disk", "missing", "full", "make room", needed=True).broken
    assert not Finding("score.utmos", "missing", "not here", "fetch it").broken
    assert not Finding("disk", "note", "little", "make room", needed=True).broken


# --- hardware -------------------------------------------------------------------


def test_the_processor_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast One 3000\nmodel name\t: Fast One 3000\n")
    assert doctor.cpu_model(info) == "Fast One 3000"
    assert doctor.cpu_model(tmp_path / "away")


def test_threads_that_torch_leaves_idle_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    found = doctor.cpu()
    assert found.state == "note"
    assert "2 of 8 cores" in found.mend
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert doctor.cpu().state == "ok"


def test_the_driver_is_read_where_there_is_one(tmp_path: Path) -> None:
    info = tmp_path / "version"
    info.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n")
    assert doctor.driver_version(info) == "550.54.15"
    assert doctor.driver_version(tmp_path / "away") == ""


CARD = {"name": "H1", "memory_gb": 79.6, "compute_capability": "9.0"}


@pytest.mark.parametrize(
    ("cards", "driver", "state", "told"),
    [
        ([CARD], "550.54", "ok", "H1, 80 GB, compute 9.0; driver 550.54"),
        ([], "550.54", "note", "driver 550.54, not usable"),
        ([], "", "note", "none"),
    ],
)
def test_a_gpu_is_told_and_a_driver_without_one_explained(
    cards: list[dict[str, object]],
    driver: str,
    state: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "cuda_devices", lambda: cards)
    monkeypatch.setattr(doctor, "driver_version", lambda: driver)
    found = doctor.gpu(CPU)
    assert found.state == state
    assert found.told.startswith(told)
    assert found.values["devices"] == cards


def test_cuda_devices_are_those_that_torch_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="H1", total_memory=79_600_000_000, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: card)
    assert doctor.cuda_devices() == [CARD]


def test_a_cpu_computes_in_fp32() -> None:
    assert doctor.precision(CPU).values == {"device": "cpu", "auto": "fp32", "bf16": False}


# --- packages and scores --------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """What `packages` says where only these are installed."""

    def found(*names: str) -> list[Finding]:
        monkeypatch.setattr(doctor, "version", lambda name: "1.0" if name in names else None)
        asked = [("torch", ""), ("rich", ""), ("sounddevice", ""), ("faster-whisper", "whisper")]
        return list(doctor.packages(asked))

    return found


def test_a_package_that_a_session_needs_breaks_and_an_optional_one_does_not(
    installed: Callable[..., list[Finding]],
) -> None:
    needed, sound, whisper = installed("torch", "rich", "sounddevice", "faster-whisper")
    assert [f.state for f in (needed, sound, whisper)] == ["ok", "ok", "ok"]
    assert needed.told.endswith("2 of 2 needed")
    needed, sound, whisper = installed("torch")
    assert needed.broken
    assert needed.mend == "pip install rich"
    assert (sound.state, sound.broken, sound.mend) == ("missing", False, "pip install sounddevice")
    assert whisper.mend == "pip install 'dlpo-tui[whisper]'"
    assert whisper.name == "package.faster-whisper"


def test_development_tools_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2.4", 'pytest<9,>=8; extra == "dev"', "speechmos>=0.0.1; extra == 'dnsmos'"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    assert doctor.requirements() == [("torch", ""), ("speechmos", "dnsmos")]


def test_a_project_that_is_not_installed_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    (found,) = doctor.packages(doctor.requirements())
    assert found.state == "note"
    assert "is not installed" in found.told


def test_a_score_says_where_its_weights_are_or_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert doctor.score_model("loudness").told == "loudness, clipping: needs no weights"
    assert doctor.score_model("distillmos").told == "distillmos: in the package distillmos"
    monkeypatch.setattr(registry, "missing", lambda name: "fetch it")
    found = doctor.score_model("utmos")
    assert (found.state, found.told, found.mend) == ("missing", "utmos: not here", "fetch it")
    monkeypatch.setattr(registry, "missing", lambda name: "")
    module = SimpleNamespace(path=lambda: tmp_path / "utmos.safetensors")
    monkeypatch.setattr(doctor.importlib, "import_module", lambda name: module)
    assert doctor.score_model("utmos").values["weights"] == str(tmp_path / "utmos.safetensors")


@pytest.mark.parametrize("name", doctor.WEIGHTS_MODULE)
def test_the_modules_of_separate_weights_have_a_path(name: str) -> None:
    assert name in registry.WEIGHTS_MISSING
    assert callable(doctor.importlib.import_module(doctor.WEIGHTS_MODULE[name]).path)


# --- the voice and the disk -----------------------------------------------------


def test_the_bundled_voice_is_the_one_its_card_describes() -> None:
    found = doctor.bundled_voice()
    assert found.state == "ok", found.mend
    assert found.values["digest_ok"]
    assert found.values["bytes"] == checkpoint.BUNDLED.stat().st_size


def test_another_voice_than_the_cards_is_broken_and_a_bare_card_a_note(tmp_path: Path) -> None:
    path = write_voice(tmp_path / "voice.safetensors", ("anna", "ben"))
    bare = doctor.bundled_voice(path)
    assert (bare.state, bare.broken) == ("note", False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in bare.mend
    card = path.with_suffix(".md")
    card.write_text(f"| SHA-256 | {digest} |\n")
    assert doctor.bundled_voice(path).state == "ok"
    assert "speakers anna, ben" in doctor.bundled_voice(path).told
    card.write_text(f"| SHA-256 | {'0' * 64} |\n")
    assert doctor.bundled_voice(path).broken


def test_a_voice_that_is_cut_short_or_away_is_broken(tmp_path: Path) -> None:
    path = write_voice(tmp_path / "voice.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    for found in (doctor.bundled_voice(path), doctor.bundled_voice(tmp_path / "away")):
        assert found.broken
        assert "git checkout" in found.mend


@pytest.mark.parametrize(("free", "state"), [(0.1, "missing"), (1.0, "note"), (50.0, "ok")])
def test_the_disk_has_room_a_little_or_none(
    free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free * 1e9))
    found = doctor.disk(tmp_path / "not" / "yet")
    assert found.state == state
    assert found.values["free_gb"] == free
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**where: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    found = doctor.disk(tmp_path)
    assert found.broken
    assert "Permission denied" in found.mend
    assert found.values["writable"] is False
