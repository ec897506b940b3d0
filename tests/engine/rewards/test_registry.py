from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engine.rewards import registry


def test_every_model_fills_the_columns_that_the_table_says() -> None:
    assert registry.SCORE_MODELS.keys() == registry.MODEL_COLUMNS.keys()
    for name in registry.SCORE_MODELS.keys() - registry.WEIGHTS_MISSING.keys():
        if registry.package_missing(name):
            assert name in registry.EXTRAS
            continue
        assert registry.missing(name) == ""
        model = registry.load(name)
        assert model.name == name
        assert tuple(column.name for column in model.columns) == registry.MODEL_COLUMNS[name]


def test_models_that_bring_no_weights_fill_the_columns_that_the_table_says() -> None:
    """Without loading them: what a class says is what the table says."""
    from engine.rewards.dnsmos import DNSMOS
    from engine.rewards.nisqa import NISQA
    from engine.rewards.utmos import UTMOS
    from engine.rewards.whisper import Whisper

    for model in (DNSMOS, NISQA, UTMOS, Whisper):
        names = tuple(column.name for column in model.columns)
        assert names == registry.MODEL_COLUMNS[model.name]


def test_nothing_but_utmos_is_ever_called_utmos() -> None:
    named = {model for model, columns in registry.MODEL_COLUMNS.items()
             for name in (model, *columns) if "utmos" in name}  # fmt: skip
    assert named == {"utmos"}
    stand_in = registry.load("distillmos")
    assert [column.name for column in stand_in.columns] == ["distillmos"]


def test_no_column_has_two_models() -> None:
    columns = [name for filled in registry.MODEL_COLUMNS.values() for name in filled]
    assert len(set(columns)) == len(columns)


@pytest.mark.parametrize("model", sorted(registry.PACKAGES))
def test_a_package_that_is_not_installed_is_one_sentence_that_says_what_brings_it(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in registry.PACKAGES[model]:
        monkeypatch.setitem(sys.modules, package, None)
    told = registry.missing(registry.MODEL_COLUMNS[model][0])
    assert f"{model} needs the Python package {registry.PACKAGES[model][0]}," in told
    assert f"pip install 'dlpo-tui{registry.EXTRAS.get(model, '')}'" in told
    with pytest.raises(ValueError, match="needs the Python package"):
        registry.load(model)


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {extra.strip("[]") for extra in registry.EXTRAS.values()} <= extras.keys()
    assert "dlpo-tui[judges]" in extras["dev"]


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
    with pytest.raises(ValueError, match="but nisqa is named as both"):
        registry.check_disjoint(["nisqa"], ["nisqa_coloration"])
    with pytest.raises(ValueError, match="but whisper is named as both"):
        registry.check_disjoint(["whisper_cer", "distillmos"], ["whisper", "wer"])
    with pytest.raises(ValueError, match="no score 'mos'"):
        registry.check_disjoint(["mos"], [])


def test_naming_the_models_loads_nothing_heavy() -> None:
    code = (
        "import engine.rewards.registry, engine.rewards.fetching, sys;"
        "sys.exit(', '.join({'torch', 'numpy', 'torchaudio', 'jiwer'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
