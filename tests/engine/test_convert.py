from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine import checkpoint
from engine.checkpoint import Card, CheckpointError, Voice
from engine.convert import ConvertError, convert, default_target, infer, size_name
from engine.diffusion.schedule import build
from engine.foreign import ForeignError
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.profile import ScheduleSpec
from engine.synthesis import speak, utter
from tests.lightning import HPARAMETERS, write_checkpoint
from tests.voices import tiny_config

pytestmark = pytest.mark.usefixtures("one_thread")

PARITY = Path(__file__).parents[1] / "data" / "parity"
FULL = {"BASE": ModelConfig.base(), "LARGE": ModelConfig.large()}


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """A narrow Base that maum-ai/wavegrad2's own code made."""
    return load_file(PARITY / "small_base_state_dict.safetensors")


@pytest.fixture
def source(tmp_path: Path, weights: dict[str, Tensor]) -> Path:
    return write_checkpoint(tmp_path / "model.ckpt", weights)


def told(**changes: Any) -> dict[str, Any]:
    """maum-ai's settings, those of some groups changed."""
    settings = copy.deepcopy(HPARAMETERS)
    for group, values in changes.items():
        settings[group] |= values
    return settings


def shapes(config: ModelConfig) -> dict[str, Tensor]:
    """A state dict that takes no memory."""
    with torch.device("meta"):
        return WaveGrad2(config).state_dict()


def published(size: str) -> dict[str, Tensor]:
    text = (PARITY / "wavegrad2-state-dict-keys.txt").read_text()
    (section,) = (part for part in text.split("# ") if part.startswith(size))
    rows = (line.split("\t") for line in section.splitlines()[1:])
    return {
        key: torch.empty([int(n) for n in re.findall(r"\d+", shape)], device="meta")
        for key, shape, _ in rows
    }


# --- what it becomes ------------------------------------------------------------


def test_a_converted_voice_speaks_as_its_weights_do_when_loaded_directly(
    source: Path, weights: dict[str, Tensor]
) -> None:
    done = convert(source)
    assert done.path == source.with_suffix(".safetensors")
    voice = checkpoint.load(done.path)
    direct = WaveGrad2(voice.card.config)
    direct.load_state_dict(weights, strict=True)
    spoken = []
    for model in (voice.model, direct.eval()):
        prompts = utter(model, ["Go on."], 0, 1.0)
        schedule = build(ScheduleSpec(timesteps=3))
        spoken.append(speak(Voice(model, voice.card, "x"), schedule, prompts, seed=1)[0])
    assert spoken[0].abs().max() > 0
    assert torch.equal(*spoken)


def test_every_weight_and_the_card_are_kept(source: Path, weights: dict[str, Tensor]) -> None:
    done = convert(source)
    voice = checkpoint.load(done.path)
    own = voice.model.state_dict()
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[key], value) for key, value in weights.items())
    assert voice.card == done.card
    assert voice.card.speakers == ("LJSpeech",)
    assert voice.card.about == {
        "made": "converted from a checkpoint of maum-ai/wavegrad2",
        "converted_from": "model.ckpt",
        "epochs": 1060,
        "optimizer_steps": 556_500,
    }
    assert done.parameters == sum(p.numel() for p in voice.model.parameters())
    assert done.summary() == f"{done.path}: a WaveGrad 2, {done.parameters:,} parameters, LJSpeech"


def test_an_averaged_state_dict_alone_becomes_the_same_voice(
    tmp_path: Path, source: Path, weights: dict[str, Tensor]
) -> None:
    bare = tmp_path / "voice_epoch=3_EMA"
    torch.save(weights, bare)
    done = convert(bare)
    assert done.path == tmp_path / "voice_epoch=3_EMA.safetensors"
    assert done.card.speakers == ("speaker 0",)
    assert "it tells no settings, maum-ai's own are assumed" in done.summary()
    assert done.card.config == replace(convert(source).card.config, window_frames=256)


def test_half_precision_becomes_fp32(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    done = convert(write_checkpoint(tmp_path / "model.ckpt", half))
    for key, value in load_file(done.path).items():
        assert value.dtype == weights[key].dtype
        assert torch.equal(value, half[key].to(value.dtype))


def test_progress_tells_what_is_at_work(source: Path, weights: dict[str, Tensor]) -> None:
    seen: list[tuple[int, int, str]] = []
    convert(source, on_progress=lambda *now: seen.append(now))
    assert list(dict.fromkeys(at for _, _, at in seen)) == [
        "checking the file",
        "reading the weights",
        "writing model.safetensors",
    ]
    read = [now[:2] for now in seen if now[2] == "reading the weights"]
    assert read == [(i, len(weights)) for i in range(1, len(weights) + 1)]


# --- sizes ----------------------------------------------------------------------


@pytest.mark.parametrize("size", FULL)
def test_the_sizes_of_maums_own_voices_are_known_by_their_shapes(size: str) -> None:
    config = infer(Path("model.ckpt"), published(size))
    assert config == FULL[size]
    assert size_name(config) == f"WaveGrad 2 {size.capitalize()}"
    assert size_name(replace(config, speakers=9)) == f"WaveGrad 2 {size.capitalize()}"
    assert size_name(replace(config, u_pre=700)) == "a WaveGrad 2"


@pytest.mark.parametrize(
    "config",
    [
        replace(ModelConfig.narrow(speakers=3), speech_rms=0.0),
        ModelConfig.base(speakers=109),
        replace(tiny_config(2), encoder_kernel=3, encoder_layers=2, window_frames=256),
        replace(ModelConfig.large(), encoder_channels=96, u_pre=40, d_out=(2, 4, 6, 8)),
    ],
)
def test_other_sizes_are_known_by_their_shapes(config: ModelConfig) -> None:
    assert infer(Path("model.ckpt"), shapes(config)) == config


def test_what_shapes_do_not_tell_is_taken_from_the_settings() -> None:
    dilations = [[1, 2, 1, 2]] * 5
    settings = told(
        wavegrad={
            "scale_factors": [3, 5, 5, 2, 2],
            "upsample": {"dilations": dilations},
            "downsample": {"dilations": [[1, 1, 1]] * 4},
        },
        audio={"sampling_rate": 24_000},
        ddpm={"pos_emb_scale": 50},
        window={"length": 128},
    )
    assert infer(Path("model.ckpt"), published("BASE"), settings) == replace(
        ModelConfig.base(),
        u_factors=(3, 5, 5, 2, 2),
        u_dilations=((1, 2, 1, 2),) * 5,
        d_dilations=((1, 1, 1),) * 4,
        sample_rate=24_000,
        position_scale=50.0,
        window_frames=128,
    )


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"window": {"scale": 256}}, "multiply to 300, and hop is 256"),
        ({"window": {"scale": "${other}"}}, "hop must be a whole number, not '[$]{other}'"),
        ({"wavegrad": {"scale_factors": [300]}}, "u_out has 5 levels, u_factors 1"),
        ({"ddpm": {"pos_emb_scale": float("nan")}}, "not JSON compliant"),
        ({"data": {"lang": "kor"}}, "151 symbols of the language 'kor'; this program speaks"),
    ],
)
def test_settings_of_another_network_are_refused(changes: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ConvertError, match=wrong) as caught:
        infer(Path("model.ckpt"), published("BASE"), told(**changes))
    assert str(caught.value).startswith("model.ckpt ")
    assert "\n" not in str(caught.value)


# --- speakers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    key = "speaker_embedding.weight"
    return {**weights, key: torch.cat((weights[key], weights[key] + 1))}


@pytest.mark.parametrize(
    ("named", "given", "expected"),
    [
        (["anna", "ben"], (), ("anna", "ben")),
        (["anna", "ben"], ("Ann", "Ben"), ("Ann", "Ben")),
        ([], ("Ann", "Ben"), ("Ann", "Ben")),
        ([], (), ("speaker 0", "speaker 1")),
    ],
)
def test_speakers_are_named_by_the_user_or_the_file_or_numbered(
    tmp_path: Path,
    two: dict[str, Tensor],
    named: list[str],
    given: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    settings = told(data={"speakers": named})
    done = convert(write_checkpoint(tmp_path / "model.ckpt", two, settings), speakers=given)
    assert done.card.speakers == expected
    assert checkpoint.load(done.path).speaker(expected[1]) == 1


@pytest.mark.parametrize(
    ("named", "given", "whose"),
    [
        (["anna"], (), "model.ckpt tells"),
        ("anna", (), "model.ckpt tells"),
        (["anna", "anna"], (), "model.ckpt tells"),
        (["anna", None], (), "model.ckpt tells"),
        (["anna", "b\x1b[2J"], (), "model.ckpt tells"),
        (["anna", "ben"], ("Ann",), "--speakers gives"),
        (["anna", "ben"], ("Ann", "Ben", "Cat"), "--speakers gives"),
    ],
)
def test_names_that_do_not_fit_the_embedding_are_refused(
    tmp_path: Path, two: dict[str, Tensor], named: Any, given: tuple[str, ...], whose: str
) -> None:
    source = write_checkpoint(tmp_path / "model.ckpt", two, told(data={"speakers": named}))
    with pytest.raises(ConvertError, match=f"{whose} .*the voice has 2 speakers") as caught:
        convert(source, speakers=given)
    assert str(caught.value).isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["model.ckpt"]


# --- what is no voice -----------------------------------------------------------

LSTM = "resampling.duration_predictor.lstm.weight_hh_l0"
BIAS = "decoder.ublock_postconv.conv1d.bias"
COUNT = "encoder.cnn.0.1.num_batches_tracked"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({LSTM: None}, f"is no WaveGrad 2: it lacks the weight {LSTM}"),
        ({BIAS: None}, f"lacks the weight {BIAS}"),
        ({"extra.weight": torch.zeros(1)}, "has a weight extra.weight that its config does not"),
        ({LSTM: torch.zeros(3)}, r"lstm.weight_hh_l0 has shape \(3,\), which no WaveGrad 2 has"),
        ({BIAS: torch.zeros(2)}, r"postconv.conv1d.bias has shape \(2,\), its config says \(1,\)"),
        ({"encoder.embedding.weight": torch.zeros(150, 32)}, "reads 150 symbols of the language"),
        ({"speaker_embedding.weight": torch.zeros(0, 8)}, "every size must be above 0"),
        ({BIAS: torch.tensor([torch.nan])}, f"{BIAS} holds numbers that are not finite"),
        ({BIAS: torch.tensor([3])}, f"{BIAS} holds numbers of type torch.int64"),
        ({COUNT: torch.tensor(0.5)}, f"{COUNT} holds numbers of type torch.float32"),
        ({BIAS: "a word"}, f"is no WaveGrad 2: its state_dict holds '{BIAS}'"),
        ({"a\x1b[2J\nb": torch.zeros(1)}, r"its state_dict holds 'a\\x1b\[2J\\nb'"),
        ({LSTM: torch.zeros(1).expand(10**9, 10**3)}, "claims weights of 4,000,000,[0-9,]+ bytes"),
    ],
)
def test_weights_that_are_no_wavegrad2_are_refused_by_name(
    tmp_path: Path, weights: dict[str, Tensor], changes: dict[str, Any], wrong: str
) -> None:
    odd = {k: v for k, v in {**weights, **changes}.items() if v is not None}
    source = write_checkpoint(tmp_path / "model.ckpt", odd)
    with pytest.raises((ConvertError, CheckpointError), match=wrong) as caught:
        convert(source)
    assert "model.ckpt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["model.ckpt"]


@pytest.mark.parametrize(
    ("held", "wrong"),
    [
        ({"epoch": 3}, "is no WaveGrad 2: it has no state_dict, and holds 'epoch'"),
        ({}, "has a state_dict without weights"),
        ({"state_dict": {}}, "has a state_dict without weights"),
        ({"state_dict": [1]}, "has a state_dict without weights"),
    ],
)
def test_a_checkpoint_without_weights_is_refused(
    tmp_path: Path, held: dict[str, Any], wrong: str
) -> None:
    torch.save(held, tmp_path / "model.ckpt")
    with pytest.raises(ConvertError, match=wrong):
        convert(tmp_path / "model.ckpt")


# --- where it goes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("a/wavegrad2_07_08_07_epoch=1059.ckpt", "a/wavegrad2_07_08_07_epoch=1059.safetensors"),
        ("model.PT", "model.safetensors"),
        ("v1.2_EMA", "v1.2_EMA.safetensors"),
    ],
)
def test_the_voice_lies_beside_its_checkpoint(source: str, target: str) -> None:
    assert default_target(Path(source)) == Path(target)


def test_what_is_there_already_is_only_replaced_by_force(source: Path) -> None:
    out = source.with_name("voice.safetensors")
    out.write_bytes(b"precious")
    with pytest.raises(ConvertError, match=r"voice.safetensors exists already; .* with --force"):
        convert(source, out)
    assert out.read_bytes() == b"precious"
    convert(source, out, force=True)
    assert isinstance(checkpoint.load(out).card, Card)


def test_a_failure_leaves_what_was_there(source: Path) -> None:
    out = source.with_name("voice.safetensors")
    out.write_bytes(b"precious")
    source.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(ForeignError, match="is cut short or damaged"):
        convert(source, out, force=True)
    assert out.read_bytes() == b"precious"
    assert len(list(source.parent.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    source = tmp_path / "away.ckpt"  # reading it would be another error
    with pytest.raises(ConvertError, match=r"v.wav must end in .safetensors: .*v.wav.safetensors"):
        convert(source, tmp_path / "v.wav")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ConvertError, match=r"folder.safetensors is a folder"):
        convert(source, tmp_path / "folder.safetensors", force=True)


def test_the_checkpoint_itself_is_never_replaced(source: Path) -> None:
    own = source.rename(source.with_name("model.safetensors"))
    before = own.read_bytes()
    with pytest.raises(ConvertError, match="is the checkpoint itself"):
        convert(own, own, force=True)
    assert own.read_bytes() == before
