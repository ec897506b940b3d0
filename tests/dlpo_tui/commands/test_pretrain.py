from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.commands.pretrain import line
from engine.model.config import ModelConfig
from engine.pretrain import Progress
from tests.voices import tiny_config, write_corpus

Call = Callable[..., Result]
TOY = """
name = "toy"
front_end_steps = 1
front_end = "frozen"
spectral_weight = 0.1
steps = 1
batch = 2
window_frames = 8
device = { device = "cpu", threads = 1 }
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `dlpo-tui pretrain` on a corpus of three clips with a voice of a second's training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ModelConfig, "narrow", tiny_config)
    write_corpus(tmp_path / "corpus")
    Path("toy.toml").write_text(TOY)
    return lambda *more: CliRunner().invoke(
        cli.app, ["pretrain", "corpus", "toy.toml", *map(str, more)]
    )


def test_a_small_file_is_made_of_a_training_and_another_goes_on_from_it(call: Call) -> None:
    result = call()
    assert result.exit_code == 0, result.output
    assert "conditioning  2 of 2 clips" in result.stderr
    assert "decoder  step      2" in result.stderr
    result = call("--compact", "small.safetensors")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "small.safetensors: 0.2 MB\n"
    changes = ("--set", "start=small.safetensors", "--set", "front_end_steps=0", "--out", "on")
    result = call(*changes)
    assert result.exit_code == 0, result.output
    assert "front end  step" not in result.stderr
    assert Path("on/voice.safetensors").is_file()


def test_no_small_file_is_made_of_nothing(call: Call) -> None:
    result = call("--compact", "small.safetensors")
    assert result.exit_code == 2
    (told,) = result.stderr.splitlines()
    assert "pretrained/toy has no saved state to make small.safetensors of; train there" in told
    assert not Path("small.safetensors").exists()


def test_a_line_tells_the_phase_its_losses_and_the_held_out_figures_by_level() -> None:
    now = Progress(
        "decoder", 250, 1000, 12.34, 2.61, 1e-3, 0.9, {"noise": 0.25, "spectral": 1.5},
        0.26, {"-22 dB": 0.05, "25 dB": 0.58}, 1.375,
    )  # fmt: skip
    assert line(now) == (
        "decoder  step    250    12.3 min  noise 0.2500  spectral 1.5000  lr 1.0e-03  2.6 s/s"
        "  held-out 0.2600  spectral 1.375  (-22 dB 0.050, 25 dB 0.580)"
    )
    first = Progress("front end", 50, 1000, 0.5, 160.0, 2e-3, 0.8, {"mel": 0.7}, 0.71)
    assert line(first) == (
        "front end  step     50     0.5 min  mel 0.7000  lr 2.0e-03  160.0 s/s  held-out 0.7100"
    )
    assert line(replace(first, left_out=3)).endswith("0.7100  3 steps left out, not finite")
    assert line(Progress("conditioning", 160, 1928, 0.1, 800.0)) == (
        "conditioning  160 of 1928 clips  800.0 s/s"
    )
