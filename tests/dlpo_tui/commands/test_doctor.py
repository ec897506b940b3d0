from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from dlpo_tui import cli, surroundings
from dlpo_tui.commands import doctor
from engine import checkpoint
from engine import doctor as examination
from engine.doctor import Finding
from engine.profile import Profile, RewardSpec
from engine.rewards import registry
from tests.voices import write_voice

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Runs the command line in an empty folder, with a tiny voice in place of the bundled one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    path = write_voice(tmp_path / "elsewhere" / "voice.safetensors")
    monkeypatch.setattr(checkpoint, "BUNDLED", path)
    yield lambda *arguments: CliRunner().invoke(cli.app, ["doctor", *map(str, arguments)])
    torch.set_num_threads(before)


def found_to_be(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    monkeypatch.setattr(examination, "look", lambda device, runs: iter(findings))
    monkeypatch.setattr(surroundings, "look", lambda: [])


FINE = Finding("disk", "ok", "80 GB free", needed=True, values={"free_gb": 80.0})
NOTE = Finding("sound", "note", "saved file", "install " + "a long name " * 9)
OPTIONAL = Finding("score.utmos", "missing", "not here", "dlpo-tui fetch utmos")
BROKEN = Finding("voice", "missing", "cut short", "fetch it anew", needed=True)


def test_the_table_is_aligned_and_each_mend_is_one_line(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_to_be(monkeypatch, FINE, NOTE, OPTIONAL)
    result = call("--seconds", 0)
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines == [
        "ok       disk         80 GB free",
        "note     sound        saved file",
        "missing  score.utmos  not here",
        "",
        f"sound: {NOTE.mend.rstrip()}",
        "score.utmos: dlpo-tui fetch utmos",
    ]


def test_only_something_needed_that_is_broken_fails(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_to_be(monkeypatch, FINE, BROKEN)
    result = call("--json")  # and there is no speed to measure
    assert result.exit_code == 1, result.output
    told = json.loads(result.stdout)
    assert told == {
        "ok": False,
        "checks": {
            "disk": {
                "state": "ok", "told": "80 GB free", "mend": "", "needed": True,
                "values": {"free_gb": 80.0},
            },
            "voice": {
                "state": "missing", "told": "cut short", "mend": "fetch it anew", "needed": True,
                "values": {},
            },
        },
    }  # fmt: skip


def test_the_speed_test_speaks_and_scores(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    found_to_be(monkeypatch, FINE)
    quick = Profile(name="quick", reward=RewardSpec({"loudness": 1.0}))
    monkeypatch.setattr(doctor, "quickstart", lambda: quick)
    monkeypatch.setattr(registry, "missing", lambda name: "" if name == "loudness" else "away")
    result = call("--json", "--seconds", 0.01, "--device", "cpu")
    assert result.exit_code == 0, result.output
    checks = json.loads(result.stdout)["checks"]
    assert list(checks) == ["disk", "speed.voice", "speed.scores", "speed.update"]
    assert checks["speed.voice"]["values"]["real_time_factor"] > 0
    assert checks["speed.scores"]["told"].endswith("clips a second by loudness")
    update = checks["speed.update"]["values"]
    assert update["profile"] == "quick"
    assert min(update["rollout"], update["score"], update["optimise"]) > 0


def test_a_real_look_is_plain_data_with_stable_names(call: Call) -> None:
    result = call("--seconds", 0, "--json")
    told = json.loads(result.stdout)
    assert {"python", "cpu", "gpu", "packages", "voice", "disk", "terminal", "glyphs", "sound"} <= (
        set(told["checks"])
    )
    assert told["ok"] == (result.exit_code == 0)
    assert result.stderr == ""


def test_a_device_that_is_not_here_is_one_sentence(call: Call) -> None:
    result = call("--device", "tpu")
    assert result.exit_code == 2
    assert result.stderr.startswith("dlpo-tui: device.device = 'tpu' is no device")
    assert result.stdout == ""


def test_the_quickstart_profile_is_found_beside_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.quickstart().name == "quickstart"
