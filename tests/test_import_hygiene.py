"""What loads what: one process a question, since a module that is loaded stays loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "numpy", "textual", "sounddevice", "soundfile", "gruut")


def loaded(code: str) -> dict[str, list[str]]:
    """Runs `code`, whose `told` maps a step to the heavy packages loaded by then."""
    before = f"""
import json, sys
told = {{}}
def tell(step):
    told[step] = [name for name in {HEAVY} if name in sys.modules]
"""
    after = "\nprint(json.dumps(told), file=sys.__stdout__)"
    done = subprocess.run(
        [sys.executable, "-c", before + code + after],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_commands_help_appears_without_torch_or_a_screen() -> None:
    told = loaded(
        """
import engine.messages; tell("messages")
import engine.profile; tell("profile")
import dlpo_tui.bridge; tell("bridge")
import dlpo_tui.cli as cli; tell("cli")
from typer.testing import CliRunner
for arguments in (
    ["--help"], ["run", "--help"], ["pretrain", "--help"], ["compare", "--help"],
    ["doctor", "--help"], ["fetch", "--help"], ["profiles"], ["profiles", "explain"],
    ["report", "--help"], ["study", "--help"], ["export-pairs", "--help"],
    ["profiles", "check", "profiles/ljspeech.toml"],
):
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    tell(" ".join(arguments))
assert CliRunner().invoke(cli.app, ["export-pairs", "tests"]).exit_code == 2
tell("no pairs")
assert CliRunner().invoke(cli.app, ["compare", "tests", "tests"]).exit_code == 2
tell("no run")
assert CliRunner().invoke(cli.app, ["run", "away.toml"]).exit_code == 2
tell("a bad profile")
"""
    )
    assert set(told) >= {"messages", "profile", "bridge", "cli", "--help", "a bad profile"}
    assert {step: packages for step, packages in told.items() if packages} == {}


@pytest.fixture(scope="module")
def engine_loads() -> dict[str, list[str]]:
    """Every module of the engine imported, and what that brought."""
    return loaded(
        """
import importlib, pkgutil, engine
for module in pkgutil.walk_packages(engine.__path__, "engine."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
tell("engine")
told["modules"] = sorted(name for name in sys.modules if name.startswith("engine."))
told["screen"] = [n for n in ("textual", "rich", "typer", "click", "dlpo_tui") if n in sys.modules]
models = ("distillmos", "moonshine_voice", "torchmetrics", "speechmos", "onnxruntime")
told["models"] = [name for name in models if name in sys.modules]
"""
    )


def test_the_engine_never_loads_a_screen(engine_loads: dict[str, list[str]]) -> None:
    assert "engine.session" in engine_loads["modules"]
    assert "torch" in engine_loads["engine"]
    assert engine_loads["screen"] == []


def test_a_score_model_is_loaded_only_when_it_is_asked_for(
    engine_loads: dict[str, list[str]],
) -> None:
    assert engine_loads["models"] == []


def test_the_list_of_commands_loads_neither_profiles_nor_messages() -> None:
    told = loaded(
        """
from typer.testing import CliRunner
import dlpo_tui.cli as cli
assert CliRunner().invoke(cli.app, ["--help"]).exit_code == 0
told["engine"] = [name for name in sys.modules if name in ("engine.messages", "engine.profile")]
"""
    )
    assert told["engine"] == []  # their dataclasses took a quarter of the time to the help


def test_the_session_screen_appears_before_numpy() -> None:
    told = loaded(
        """
import dlpo_tui.app, dlpo_tui.commands.run; tell("modules")
"""
    )
    assert told == {"modules": ["textual"]}  # numpy took a fifth of the time to the first paint
