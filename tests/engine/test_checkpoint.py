from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine import checkpoint
from engine.checkpoint import Card, CheckpointError, load, with_about
from engine.model.wavegrad2 import WaveGrad2
from tests.voices import tiny_config, tiny_model, write_voice

ABOUT = {"made": "for a test", "scores": {"wer": None, "distillmos": {"mean": 3.5}}}


@pytest.fixture(scope="module")
def model() -> WaveGrad2:
    return tiny_model(speakers=2)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write_voice(tmp_path / "voice.safetensors", ("anna", "ben"))


def parts(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return load_file(path), file.metadata()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- round trip -----------------------------------------------------------------


def test_a_voice_comes_back_as_it_was(tmp_path: Path, model: WaveGrad2) -> None:
    card = Card(model.config, ("anna", "ben"), ABOUT)
    checkpoint.save(tmp_path / "voice.safetensors", model, card)
    voice = load(tmp_path / "voice.safetensors")
    assert voice.card == card
    assert voice.source == str(tmp_path / "voice.safetensors")
    assert not voice.model.training
    own = model.state_dict()
    assert voice.model.state_dict().keys() == own.keys()
    for key, value in voice.model.state_dict().items():
        assert value.dtype == own[key].dtype
        assert torch.equal(value, own[key]), key


def test_a_loaded_voice_computes_what_the_saved_one_did(voice: Path, model: WaveGrad2) -> None:
    ids = torch.tensor([[5, 9, 20, 31]])
    told = (ids, torch.tensor([4]), torch.tensor([1]))
    conditioning, durations = model.condition(*told)
    again, same = load(voice).model.condition(*told)
    assert torch.equal(durations, same)
    assert torch.equal(conditioning.cond, again.cond)


def test_half_precision_halves_the_file_and_loads_as_fp32(tmp_path: Path, model: WaveGrad2) -> None:
    card = Card(model.config, ("anna", "ben"))
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    checkpoint.save(whole, model, card)
    checkpoint.save(half, model, card, torch.float16)
    assert half.stat().st_size < 0.75 * whole.stat().st_size
    own = model.state_dict()
    for key, value in load(half).model.state_dict().items():
        assert value.dtype == own[key].dtype
        assert torch.allclose(value.double(), own[key].double(), rtol=1e-3, atol=1e-6), key


def test_the_header_says_what_the_file_is(voice: Path) -> None:
    metadata = parts(voice)[1]
    assert metadata["format"] == "dlpo-tui voice"
    assert metadata["version"] == "1"
    assert metadata["sample_rate"] == "22050"
    assert len(json.loads(metadata["symbols"])) == tiny_config().symbols
    assert json.loads(metadata["config"])["speakers"] == 2


def test_saving_over_a_voice_that_is_in_use_leaves_it_whole(voice: Path) -> None:
    used = load(voice)
    before = {key: value.clone() for key, value in used.model.state_dict().items()}
    write_voice(voice, ("anna", "ben"), seed=1)
    assert all(torch.equal(v, before[k]) for k, v in used.model.state_dict().items())


def test_the_bundled_voice_loads_and_names_its_speakers() -> None:
    voice = load("bundled")
    assert voice.source == "bundled"
    assert len(voice.card.speakers) == voice.card.config.speakers >= 1
    assert all(bool(v.isfinite().all()) for v in voice.model.state_dict().values())


def test_what_a_card_says_can_be_added_to() -> None:
    card = Card(tiny_config(), ("anna",), {"made": "once", "update": 1})
    assert with_about(card, update=2, run="a").about == {"made": "once", "update": 2, "run": "a"}
    assert card.about == {"made": "once", "update": 1}


# --- speakers -------------------------------------------------------------------


def test_a_speaker_is_found_by_name_and_the_first_by_none(voice: Path) -> None:
    found = load(voice)
    assert [found.speaker(name) for name in ("", "anna", "ben")] == [0, 0, 1]


@pytest.mark.parametrize(
    ("name", "told"),
    [("bem", "has no speaker 'bem'; did you mean 'ben'"), ("xyz", "it has .*anna.*ben")],
)
def test_an_unknown_speaker_is_refused_with_the_nearest(voice: Path, name: str, told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        load(voice).speaker(name)


def test_a_voice_without_names_numbers_its_speakers(voice: Path) -> None:
    tensors, metadata = parts(voice)
    del metadata["speakers"]
    save_file(tensors, voice, metadata)
    assert load(voice).card.speakers == ("speaker 0", "speaker 1")


# --- what is no voice -----------------------------------------------------------


def test_a_missing_file_names_the_nearest(voice: Path) -> None:
    told = refused(voice.with_name("vioce.safetensors"))
    assert told == f"there is no checkpoint {voice.parent}/vioce.safetensors; did you mean {voice}?"
    assert "did you mean" not in refused(voice.parent / "nowhere" / "voice.safetensors")
    assert "is a folder; name a .safetensors file" in refused(voice.parent)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK", b"\xff" * 64])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "voice.safetensors"
    path.write_bytes(content)
    assert "safetensors" in refused(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_voice_is_refused(voice: Path, share: float) -> None:
    whole = voice.read_bytes()
    voice.write_bytes(whole[: int(share * len(whole))])
    assert "is no whole safetensors file" in refused(voice)


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["torch", "torch legacy", "pickle"])
def test_a_pickle_is_refused_without_running_what_it_says(tmp_path: Path, kind: str) -> None:
    path, trap = tmp_path / "voice.ckpt", tmp_path / "trap"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Hostile(trap)}, protocol=2))
    else:
        torch.save(
            {"state_dict": Hostile(trap)}, path, _use_new_zipfile_serialization=kind == "torch"
        )
    told = refused(path)
    assert "is a pickled checkpoint, which may run code when read" in told
    assert (f"dlpo-tui convert {path}" in told) == (kind == "torch")
    assert not trap.exists()


def test_safetensors_without_a_description_are_no_voice(voice: Path) -> None:
    tensors, _ = parts(voice)
    for metadata in (None, {"author": "someone"}):
        save_file(tensors, voice, metadata)
        assert "says no model config" in refused(voice)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": "2"}, "version 2; this program reads dlpo-tui voice version 1"),
        ({"format": "another voice"}, "says it is another voice version 1; this program reads"),
        ({"config": "{"}, "its description cannot be read"),
        ({"config": "{}"}, "its description cannot be read .*missing key 'symbols'"),
        ({"speakers": "5"}, "its description cannot be read"),
        ({"about": "nothing"}, "its description cannot be read"),
        ({"about": "5"}, "its description cannot be read"),
        ({"symbols": json.dumps(["a", "b"])}, "was trained with another symbol table"),
        ({"speakers": '["anna"]'}, "names 1 speakers and holds 2"),
        ({"speakers": '["a", "b", "c"]'}, "names 3 speakers and holds 2"),
    ],
)
def test_another_description_is_refused(voice: Path, changes: dict[str, str], told: str) -> None:
    tensors, metadata = parts(voice)
    save_file(tensors, voice, {**metadata, **changes})
    with pytest.raises(CheckpointError, match=told) as caught:
        load(voice)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_their_description_are_refused_by_name(voice: Path) -> None:
    tensors, metadata = parts(voice)
    key = "speaker_embedding.weight"
    save_file({k: v for k, v in tensors.items() if k != key}, voice, metadata)
    assert f"lacks the weight {key}" in refused(voice)
    save_file({**tensors, key: torch.zeros(3, 2)}, voice, metadata)
    assert f"{key} has shape (3, 2), its config says (2, 2)" in refused(voice)
    save_file({**tensors, "extra.weight": torch.zeros(1)}, voice, metadata)
    assert "has a weight extra.weight that its config does not know" in refused(voice)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.tensor(float("nan")), "holds numbers that are not finite"),
        (torch.tensor(float("inf")), "holds numbers that are not finite"),
        (torch.tensor(1), "holds numbers of type torch.int64"),
    ],
)
def test_weights_that_could_speak_nothing_are_refused_by_name(
    voice: Path, value: torch.Tensor, told: str
) -> None:
    tensors, metadata = parts(voice)
    key = "decoder.ublock_preconv.conv1d.bias"
    filled = tensors[key].to(value.dtype).index_fill(0, torch.tensor([1]), value)
    save_file({**tensors, key: filled}, voice, metadata)
    assert f"{key} {told}" in refused(voice)


def test_a_config_of_another_size_is_refused(voice: Path) -> None:
    tensors, metadata = parts(voice)
    wider = replace(tiny_config(2), u_pre=16).to_json()
    save_file(tensors, voice, {**metadata, "config": wider})
    assert "its config says" in refused(voice)


# --- what others may have written -----------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("config", "[" * 100_000, "nests deeper"),
        ("about", "[" * 100_000, "nests deeper"),
        ("symbols", "[" * 100_000, "nests deeper"),
        ("speakers", "[" * 100_000, "nests deeper"),
        ("speakers", '["anna", "b\\u001b[31m"]', r"'b\x1b[31m', which cannot be shown"),
        ("speakers", '["anna", "\\ud800"]', r"'\ud800', which cannot be shown"),
        ("about", "5", "cannot be read"),
    ],
)
def test_a_description_that_cannot_be_is_refused(
    voice: Path, key: str, text: str, told: str
) -> None:
    tensors, metadata = parts(voice)
    save_file(tensors, voice, {**metadata, key: text})
    assert told in refused(voice)


def test_a_number_past_every_float_is_refused(voice: Path) -> None:
    tensors, metadata = parts(voice)
    config = {**json.loads(metadata["config"]), "speech_rms": 10**400}
    save_file(tensors, voice, {**metadata, "config": json.dumps(config)})
    assert "speech_rms is a number past every float" in refused(voice)


def test_weights_of_eight_bits_are_refused(voice: Path) -> None:
    tensors, metadata = parts(voice)
    key = "decoder.ublock_preconv.conv1d.bias"
    save_file({**tensors, key: tensors[key].to(torch.float8_e4m3fn)}, voice, metadata)
    assert "numbers of type torch.float8_e4m3fn" in refused(voice)
