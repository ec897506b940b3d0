from __future__ import annotations

import json
from typing import Any

import pytest

from engine.model.config import ModelConfig

BUNDLED = (
    '{"symbols": 151, "encoder_channels": 256, "encoder_kernel": 5, "encoder_layers": 3, '
    '"speaker_channels": 16, "duration_lstm": 64, "range_lstm": 64, "hop": 300, '
    '"sample_rate": 22050, "cond_channels": 272, "u_pre": 384, "u_out": [256, 128, 64, 32, 24], '
    '"u_factors": [5, 5, 3, 2, 2], "u_dilations": [[1, 2, 4, 8], [1, 2, 4, 8], [1, 2, 4, 8], '
    '[1, 2, 1, 2], [1, 2, 1, 2]], "d_pre": 16, "d_out": [24, 32, 64, 128], '
    '"d_dilations": [[1, 2, 4], [1, 2, 4], [1, 2, 4], [1, 2, 4]], "speech_rms": 0.08}'
)


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(BUNDLED), **values})


def test_bundled_metadata_is_the_narrow_config() -> None:
    assert ModelConfig.from_json(BUNDLED) == ModelConfig.narrow()


def test_a_config_that_says_no_speech_rms_predicts_the_noise_itself() -> None:
    given = json.loads(BUNDLED)
    del given["speech_rms"]
    assert ModelConfig.from_json(json.dumps(given)).speech_rms == 0
    assert ModelConfig.base().speech_rms == ModelConfig.large().speech_rms == 0  # maum-ai's


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig.base(),
        ModelConfig.base_light(speakers=2),
        ModelConfig.large(speakers=3),
        ModelConfig.narrow(speakers=9),
    ],
    ids=["base", "base-light", "large", "narrow"],
)
def test_json_round_trip(config: ModelConfig) -> None:
    again = ModelConfig.from_json(config.to_json())
    assert again == config
    assert hash(again) == hash(config)


def test_derived_sizes() -> None:
    config = ModelConfig.base()
    assert config.cond_channels == 576
    assert config.d_factors == (2, 2, 3, 5)
    assert config.frames_per_second == 73.5


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not JSON"),
        ("[1]", "must be an object"),
        (changed(u_uot=[1]), r"unknown key 'u_uot'; did you mean 'u_out'\?"),
        (changed(zzzzzz=1), "unknown key 'zzzzzz'$"),
        (changed(hop="300"), "hop must be a whole number, not '300'"),
        (changed(hop=True), "hop must be a whole number, not True"),
        (changed(symbols=1.5), "symbols must be a whole number"),
        (changed(position_scale="x"), "position_scale must be a number"),
        (changed(u_out=5), "u_out must be a list of whole numbers"),
        (changed(u_out=[1, "2"]), "u_out must be a whole number"),
        (changed(u_dilations=3), "u_dilations must be a list of lists"),
        (changed(d_dilations=[1]), "d_dilations must be a list of whole numbers"),
        (changed(cond_channels=271), "cond_channels is 271, and .* is 272"),
        (changed(cond_channels="136"), "cond_channels is '136'"),
        (changed(u_out=[8, 8, 8, 8]), "u_out has 4 levels, u_factors 5"),
        (changed(u_dilations=[[1, 2, 4, 8]]), "u_dilations has 1 levels"),
        (changed(d_out=[8, 8, 8]), "d_out has 3 levels"),
        (changed(d_dilations=[[1, 2, 4]]), "d_dilations has 1 levels"),
        (changed(u_dilations=[[1, 2]] * 5), "needs four dilations"),
        (changed(d_dilations=[[1, 2]] * 4), "needs three dilations"),
        (changed(u_factors=[5, 5, 3, 2, 3]), "u_factors multiply to 450, and hop is 300"),
        (changed(hop=256, u_factors=[4, 4, 4, 2, 2]), "a frame is 300 audio samples"),
        (changed(encoder_kernel=4), "encoder_kernel must be odd"),
        (changed(encoder_channels=127, cond_channels=271), "encoder_channels must be even"),
        (changed(d_pre=15), "d_pre and d_out must be even"),
        (changed(blocks_per_level=3), "blocks_per_level is 3"),
        (changed(range_lstm=0), "every size must be above 0"),
        (changed(speakers=-1), "every size must be above 0"),
        (
            changed(u_pre=2**40),
            r"every size must be above 0 and at most 100,000, not \[1099511627776\]",
        ),
        (changed(position_scale=float("nan")), r"every size must be above 0 .*, not \[nan\]"),
        (changed(speech_rms=1.0), "speech_rms is 1.0, and must be from 0 to below 1"),
        (changed(speech_rms=-0.1), "speech_rms is -0.1, and must be"),
        (changed(encoder_layers=65), "encoder_layers is 65, and the most is 64"),
        (changed(u_factors=[1] * 65), "u_factors has 65 levels, and the most is 64"),
    ],
)
def test_bad_config_is_refused_by_name(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ModelConfig.from_json(text)


def test_missing_key_is_refused_by_name() -> None:
    given = json.loads(BUNDLED)
    del given["u_pre"]
    with pytest.raises(ValueError, match="missing key 'u_pre'"):
        ModelConfig.from_json(json.dumps(given))
