from __future__ import annotations

import subprocess
import sys

import pytest

from engine.rewards import registry


def test_every_model_fills_the_columns_that_the_table_says() -> None:
    assert registry.SCORE_MODELS.keys() == registry.MODEL_COLUMNS.keys()
    for name in registry.SCORE_MODELS.keys() - registry.WEIGHTS_MISSING.keys():
        assert registry.missing(name) == ""
        model = registry.load(name)
        assert model.name == name
        assert tuple(column.name for column in model.columns) == registry.MODEL_COLUMNS[name]


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'distilmos'; did you mean 'distillmos'"):
        registry.load("distilmos")
    with pytest.raises(ValueError, match=r"no score model 'qqq'\. Known: distillmos"):
        registry.load("qqq")


def test_the_model_behind_a_column() -> None:
    assert registry.model_of("wer") == registry.model_of("cer") == "intelligibility"
    assert registry.model_of("intelligibility") == "intelligibility"
    with pytest.raises(ValueError, match="did you mean 'wer'"):
        registry.model_of("wers")


def test_the_judge_must_not_be_the_reward() -> None:
    registry.check_disjoint(["distillmos"], ["intelligibility", "loudness"])
    registry.check_disjoint([], ["loudness"])
    with pytest.raises(ValueError, match="judge must not be the reward, but distillmos is"):
        registry.check_disjoint(["distillmos"], ["loudness", "distillmos"])
    with pytest.raises(ValueError, match="intelligibility and loudness are named as both"):
        registry.check_disjoint(["wer", "clipping"], ["intelligibility", "loudness"])
    with pytest.raises(ValueError, match="no score 'mos'"):
        registry.check_disjoint(["mos"], [])


def test_naming_the_models_loads_nothing_heavy() -> None:
    code = (
        "import engine.rewards.registry, sys;"
        "sys.exit(', '.join({'torch', 'numpy', 'torchaudio', 'jiwer'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
