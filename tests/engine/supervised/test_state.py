from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from engine import checkpoint, optimizer_state
from engine.checkpoint import Card, CheckpointError
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.supervised import state
from engine.supervised.objective import MelHead
from tests.voices import tiny_config, tiny_model, write_voice


def same(one: torch.nn.Module, other: torch.nn.Module, tolerance: float = 0.0) -> bool:
    theirs = other.state_dict()
    return all(
        torch.allclose(v.double(), theirs[k].double(), rtol=tolerance, atol=tolerance)
        for k, v in one.state_dict().items()
    )


@pytest.fixture
def compact(tmp_path: Path) -> tuple[Path, WaveGrad2, WaveGrad2, MelHead]:
    average, model = tiny_model(2, 0), tiny_model(2, 1)
    head = MelHead(model.config.cond_channels)
    path = tmp_path / "small.safetensors"
    card = Card(model.config, ("anna", "ben"), {"made": "pretraining"})
    state.write_compact(path, average, model, head, card)
    return path, average, model, head


def test_a_compact_file_gives_back_average_weights_and_head(compact) -> None:
    path, average, model, head = compact
    begun = state.begin_from(path, 2)
    assert same(begun.average, average, 1e-3)
    assert same(begun.model, model, 1e-3)
    assert not same(begun.model, begun.average, 1e-3)
    own = head.state_dict()
    assert begun.head.keys() == own.keys()
    assert all(torch.allclose(v, own[k], atol=1e-3) for k, v in begun.head.items())
    assert checkpoint.read_card(path).about == {"made": "pretraining"}


def test_a_compact_file_holds_nothing_in_full_precision(compact) -> None:
    path = compact[0]
    with safe_open(path, "pt") as file:
        kinds = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds == {torch.float16, torch.int64}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_narrow_voices_compact_file_is_small(tmp_path: Path) -> None:
    model = WaveGrad2(ModelConfig.narrow(2))
    path = tmp_path / "narrow.safetensors"
    head = MelHead(model.config.cond_channels)
    state.write_compact(path, model, model, head, Card(model.config, ("anna", "ben")))
    assert path.stat().st_size <= 17e6


def test_new_speakers_begin_as_the_last_in_weights_and_average(compact) -> None:
    begun = state.begin_from(compact[0], 4)
    for module in (begun.model, begun.average):
        table = module.state_dict()[state.SPEAKERS]
        assert torch.equal(table[[2, 3]], table[[1, 1]])


def test_a_voice_begins_both_and_they_part(tmp_path: Path) -> None:
    begun = state.begin_from(write_voice(tmp_path / "voice.safetensors"), 1)
    assert same(begun.model, begun.average)
    assert begun.head == {}
    with torch.no_grad():
        for p in begun.model.parameters():
            p.add_(1.0)
    assert same(begun.average, checkpoint.load(tmp_path / "voice.safetensors").model)


def test_a_start_that_is_no_voice_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*away\.safetensors"):
        state.begin_from(tmp_path / "away.safetensors", 1)


def test_a_state_comes_back_bit_for_bit_with_its_moments(tmp_path: Path) -> None:
    model, path = tiny_model(seed=1), tmp_path / "state.safetensors"
    optimizer = torch.optim.AdamW(model.decoder.parameters(), fused=True)
    sum(p.square().sum() for p in model.decoder.parameters()).backward()
    optimizer.step()
    state.write(path, {"model": model}, optimizer, {"step": "1"})
    again = tiny_model(seed=2)
    metadata, tensors = state.read(path)
    state.restore(path, {"model": again}, tensors)
    other = torch.optim.AdamW(again.decoder.parameters(), fused=True)
    optimizer_state.restore(other, state.part(tensors, "optimizer."))
    assert metadata == {"step": "1"}
    assert same(again, model)
    own, theirs = optimizer.state_dict()["state"], other.state_dict()["state"]
    assert own.keys() == theirs.keys() != set()
    for i, moments in own.items():
        assert moments.keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(v, theirs[i][k]) for k, v in moments.items())


def test_a_state_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    state.write(path, {"model": tiny_model(1)}, None, {})
    _, tensors = state.read(path)
    with pytest.raises(ValueError, match="of other sizes or speakers; choose another folder"):
        state.restore(path, {"model": WaveGrad2(tiny_config(2))}, tensors)


def test_a_broken_state_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"state\.safetensors is no whole state of a training"):
        state.read(path)
