"""A narrow network with random weights against upstream's outputs, and the file of weights.

`utmos_small.safetensors` was made by tarepan/SpeechMOS 1.2.0 with every layer narrowed: its
tensors (`sd.*`), waves (`in.*`) and what each stage made of them (`out.*`).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine import audio
from engine.rewards import registry, utmos
from engine.rewards.base import ScoreError, score_clips
from engine.rewards.utmos import PUBLISHED, SHORTEST, UTMOS, Network, load, torchaudio_name
from engine.rewards.utmos_weights import VARIABLE
from engine.rewards.weights import WeightsError

if TYPE_CHECKING:
    from .conftest import Clip

HEADS = 4
"""Of the narrow network."""

RATES = {"a16k": 16_000, "b16k": 16_000, "c22k": 22_050}

LAYOUT = """
    blstm.bias_hh_l0 2048; blstm.bias_hh_l0_reverse 2048
    blstm.bias_ih_l0 2048; blstm.bias_ih_l0_reverse 2048
    blstm.weight_hh_l0 2048 512; blstm.weight_hh_l0_reverse 2048 512
    blstm.weight_ih_l0 2048 1024; blstm.weight_ih_l0_reverse 2048 1024
    domain_emb 1 128; judge_emb 1 128
    projection.0.bias 2048; projection.0.weight 2048 1024
    projection.2.bias 1; projection.2.weight 1 2048
    wav2vec2.encoder.layer_norm.bias 768; wav2vec2.encoder.layer_norm.weight 768
    wav2vec2.encoder.pos_conv.0.bias 768
    wav2vec2.encoder.pos_conv.0.weight_g 1 1 128; wav2vec2.encoder.pos_conv.0.weight_v 768 48 128
    wav2vec2.feature_extractor.conv_layers.0.0.weight 512 1 10
    wav2vec2.feature_extractor.conv_layers.0.2.bias 512
    wav2vec2.feature_extractor.conv_layers.0.2.weight 512
    wav2vec2.feature_extractor.conv_layers.1.0.weight 512 512 3
    wav2vec2.feature_extractor.conv_layers.2.0.weight 512 512 3
    wav2vec2.feature_extractor.conv_layers.3.0.weight 512 512 3
    wav2vec2.feature_extractor.conv_layers.4.0.weight 512 512 3
    wav2vec2.feature_extractor.conv_layers.5.0.weight 512 512 2
    wav2vec2.feature_extractor.conv_layers.6.0.weight 512 512 2
    wav2vec2.layer_norm.bias 512; wav2vec2.layer_norm.weight 512
    wav2vec2.mask_emb 768
    wav2vec2.post_extract_proj.bias 768; wav2vec2.post_extract_proj.weight 768 512
"""
"""Every published tensor's name and shape outside the twelve transformer layers."""

LAYER = """
    fc1.bias 3072; fc1.weight 3072 768; fc2.bias 768; fc2.weight 768 3072
    final_layer_norm.bias 768; final_layer_norm.weight 768
    self_attn.k_proj.bias 768; self_attn.k_proj.weight 768 768
    self_attn.out_proj.bias 768; self_attn.out_proj.weight 768 768
    self_attn.q_proj.bias 768; self_attn.q_proj.weight 768 768
    self_attn.v_proj.bias 768; self_attn.v_proj.weight 768 768
    self_attn_layer_norm.bias 768; self_attn_layer_norm.weight 768
"""
"""The same within each layer."""


def entries(layout: str, prefix: str = "") -> dict[str, tuple[int, ...]]:
    words = [entry.split() for entry in layout.replace("\n", ";").split(";") if entry.strip()]
    return {prefix + name: tuple(map(int, shape)) for name, *shape in words}


@pytest.fixture(scope="module")
def network(narrow: Path) -> Network:
    return load(narrow, HEADS)


@pytest.fixture(scope="module")
def model(network: Network) -> UTMOS:
    return UTMOS(network=network)


# Equal to upstream


def stages(network: Network) -> dict[str, nn.Module]:
    extractor, encoder = network.wav2vec2.feature_extractor, network.wav2vec2.encoder
    transformer = encoder.transformer
    return {
        "conv0": extractor.conv_layers[0],
        "feature_extractor": extractor.conv_layers[-1],
        "feature_ln": encoder.feature_projection.layer_norm,
        "feature_proj": encoder.feature_projection.projection,
        "pos_conv": transformer.pos_conv_embed,
        "pos_conv_ln": transformer.layer_norm,
        **{f"layer{i}": layer for i, layer in enumerate(transformer.layers)},
        "encoder": network.wav2vec2,
        "blstm": network.blstm,
        "frame_scores": network.projection,
    }


@pytest.mark.parametrize("wav", RATES)
def test_every_stage_agrees_with_upstream(
    network: Network, parity: dict[str, Tensor], wav: str
) -> None:
    seen: dict[str, Tensor] = {}

    def keep(stage: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[stage] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [layer.register_forward_hook(keep(s)) for s, layer in stages(network).items()]
    try:
        with torch.no_grad():
            seen["wave16k"] = audio.resample(parity[f"in.{wav}"], RATES[wav], 16_000)
            seen["score"] = network(seen["wave16k"])
    finally:
        for handle in handles:
            handle.remove()
    expected = {
        name.split(".")[2]: tensor
        for name, tensor in parity.items()
        if name.startswith(f"out.{wav}.")
    }
    assert seen.keys() == expected.keys()
    furthest = {stage: float((seen[stage] - expected[stage]).abs().max()) for stage in expected}
    assert max(furthest.values()) <= 1e-5, furthest


@pytest.mark.parametrize(
    ("make", "score"),
    [
        (lambda p: p["in.min400"], "min400"),
        (lambda p: torch.zeros(1, 16_000), "silence16000"),
        (
            lambda p: nn.functional.pad(
                p["in.a16k"], (0, p["in.b16k"].shape[-1] - p["in.a16k"].shape[-1])
            ),
            "a16k_zeropad_to_b",
        ),
        (lambda p: p["in.batch2"], "batch2"),
    ],
)
def test_scores_agree_with_upstream(
    model: UTMOS,
    network: Network,
    parity: dict[str, Tensor],
    make: Callable[[dict[str, Tensor]], Tensor],
    score: str,
) -> None:
    waves, expected = make(parity), parity[f"out.{score}.score"]
    with torch.no_grad():
        torch.testing.assert_close(network(waves), expected, atol=1e-5, rtol=0.0)
        torch.testing.assert_close(model(waves), expected[:, None], atol=1e-5, rtol=0.0)


def test_padding_would_count_as_sound_and_never_comes_here(
    model: UTMOS, parity: dict[str, Tensor]
) -> None:
    a, b = parity["in.a16k"][0], parity["in.b16k"][0]
    padded = nn.functional.pad(a, (0, len(b) - len(a)))
    lengths = torch.tensor([len(a), len(b)])
    expected = torch.stack([parity["out.a16k.score"], parity["out.b16k.score"]])
    assert abs(float(parity["out.a16k_zeropad_to_b.score"] - expected[0])) > 0.1
    scores = score_clips([model], torch.stack([padded, b]), lengths, 16_000, ("", ""))
    assert scores.failures == ()
    torch.testing.assert_close(scores.values, expected, atol=1e-5, rtol=0.0)


def test_clips_at_another_rate_are_resampled_as_upstream_does(
    model: UTMOS, parity: dict[str, Tensor]
) -> None:
    wave = parity["in.c22k"]
    scores = score_clips([model], wave, torch.tensor([wave.shape[-1]]), 22_050, ("",))
    torch.testing.assert_close(scores.values[0], parity["out.c22k.score"], atol=1e-5, rtol=0.0)


def test_a_batch_equals_its_rows(
    model: UTMOS, parity: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = parity["in.batch2"].repeat(2, 1)[:3]
    with torch.no_grad():
        rows = torch.cat([model(row[None]) for row in waves])
        together = model(waves)
        monkeypatch.setattr(model, "_clips_at_once", 2)
        in_pairs = model(waves)
    assert rows.shape == (3, 1)
    assert torch.equal(together, rows)
    torch.testing.assert_close(in_pairs, rows, atol=1e-5, rtol=0.0)


def test_one_audio_sample_under_a_frame(model: UTMOS) -> None:
    with pytest.raises(ScoreError, match=r"399 audio samples long at 16000 Hz.*400 \(25 ms\)"):
        model(torch.randn(2, SHORTEST - 1))


# A reward to climb


def test_the_gradient_is_the_slope(
    model: UTMOS, network: Network, parity: dict[str, Tensor]
) -> None:
    wave = parity["in.a16k"].clone().requires_grad_()
    score = model(wave)
    score.sum().backward()
    gradient = wave.grad
    assert gradient is not None
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.norm()) > 0.0
    # In double precision, where a difference of two scores is not rounded away.
    double = copy.deepcopy(network).double()
    uphill = 1e-6 * gradient.double() / gradient.norm()
    with torch.no_grad():
        rise = double(wave.double() + uphill) - double(wave.double() - uphill)
    assert float(rise) == pytest.approx(2e-6 * float(gradient.norm()), rel=1e-3)


def test_nothing_in_it_learns_or_drops_out(network: Network) -> None:
    assert not any(p.requires_grad for p in network.parameters())
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in network.parameters())
    assert [name for name, module in network.named_modules() if module.training] == ["blstm"]
    assert network.blstm.dropout == 0.0


# The layout of the published file


def test_the_full_network_has_the_published_tensors() -> None:
    published = entries(LAYOUT)
    for i in range(12):
        published |= entries(LAYER, f"wav2vec2.encoder.layers.{i}.")
    assert len(published) == 225
    assert sum(torch.Size(shape).numel() for shape in published.values()) == 102_772_865
    with torch.device("meta"):
        network = Network(PUBLISHED)
    del published["wav2vec2.mask_emb"]
    assert {torchaudio_name(name): shape for name, shape in published.items()} == {
        name: tuple(tensor.shape) for name, tensor in network.state_dict().items()
    }
    on_meta = {name: torch.empty(shape, device="meta") for name, shape in published.items()}
    assert utmos.Sizes.of(on_meta, 12) == PUBLISHED


def test_both_formats_give_the_same_network(
    network: Network, state: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / "copy.safetensors")
    other = load(tmp_path / "copy.safetensors", HEADS).state_dict()
    assert other.keys() == network.state_dict().keys()
    assert all(torch.equal(other[name], tensor) for name, tensor in network.state_dict().items())


# A file of weights


def test_only_the_published_sizes_are_called_utmos(
    narrow: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(narrow))
    with pytest.raises(WeightsError, match=r"narrow\.pt does not hold UTMOS22-strong"):
        UTMOS()
    # A width that twelve heads do divide gets past the first check.
    monkeypatch.setattr(utmos, "load", lambda path: load(path, HEADS))
    with pytest.raises(WeightsError, match="its layers have other sizes"):
        registry.load("utmos")
    narrow_sizes = utmos.Sizes.of(state, HEADS)
    monkeypatch.setattr(utmos, "PUBLISHED", narrow_sizes)
    made = registry.load("utmos")
    assert (made.name, made.columns[0].name, made.differentiable) == ("utmos", "utmos", True)


class Mischief:
    """Would make a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


UNREADABLE = "cannot be read as plain tensors"
NOT_FLOAT32 = "other things than named float32 tensors"
ANOTHER = "does not hold UTMOS22-strong: its tensors have other names or shapes"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda state: {**state, "domain_emb": Mischief(Path("harm"))}, UNREADABLE),
        (lambda state: {"model": state}, NOT_FLOAT32),
        (lambda state: list(state.values()), NOT_FLOAT32),
        (lambda state: {name: tensor.half() for name, tensor in state.items()}, NOT_FLOAT32),
        (lambda state: {}, ANOTHER),
        (lambda state: dict(list(state.items())[1:]), ANOTHER),
        (lambda state: {**state, "extra": torch.zeros(1)}, ANOTHER),
        (lambda state: {**state, "projection.2.bias": torch.zeros(2)}, ANOTHER),
        (lambda state: {**state, "blstm.weight_hh_l0": torch.zeros(3)}, ANOTHER),
        (lambda state: {**state, "wav2vec2.post_extract_proj.weight": torch.tensor(0.0)}, ANOTHER),
        (lambda state: {**state, "wav2vec2.encoder.layers.x": torch.zeros(1)}, ANOTHER),
    ],
)
def test_another_file_of_torchs_is_refused_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: dict[str, Tensor],
    make: Callable[[dict[str, Tensor]], object],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)  # Where code in a pickle would leave its folder.
    path = tmp_path / "foreign.pt"
    torch.save(make(state), path)
    refused(path, message)
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.pt"]


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"PK\x03\x04 and no more"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_file_of_tensors(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = (tmp_path / "foreign").with_suffix(suffix)
    path.write_bytes(data)
    refused(path, UNREADABLE)


@pytest.mark.parametrize("kept", [0.03, 0.5, 0.999])
def test_a_file_cut_short(
    tmp_path: Path, narrow: Path, state: dict[str, Tensor], kept: float
) -> None:
    copied = tmp_path / "cut.safetensors"
    save_file(state, copied)
    for data, path in ((narrow.read_bytes(), tmp_path / "cut.pt"), (copied.read_bytes(), copied)):
        path.write_bytes(data[: int(kept * len(data))])
        refused(path, UNREADABLE)


def refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        load(path, HEADS)
    assert isinstance(raised.value, WeightsError)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.weights
def test_speech_scores_high_and_noise_pulls_it_down(clips: tuple[Clip, ...]) -> None:
    wave = clips[2].at_16_khz
    hiss = torch.randn(wave.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        both = UTMOS()(torch.stack([wave, wave + hiss * wave.square().mean().sqrt()]))
    clean, noisy = both.flatten().tolist()
    assert 3.0 < clean < 5.0
    assert 1.0 < noisy < clean - 0.5


@pytest.mark.gpu
def test_a_gpu_gives_the_same_scores_and_a_gradient(
    network: Network, parity: dict[str, Tensor]
) -> None:
    wave = parity["in.batch2"].clone().requires_grad_()
    scores = UTMOS("cuda", copy.deepcopy(network))(wave)
    assert scores.is_cuda
    torch.testing.assert_close(
        scores.detach().cpu()[:, 0], parity["out.batch2.score"], atol=1e-2, rtol=0.0
    )
    scores.sum().backward()
    assert wave.grad is not None
    assert float(wave.grad.norm()) > 0.0
