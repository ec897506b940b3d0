"""The benchmarks run and say what a card takes from them; their figures are not looked at."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import soundfile
from torch import Tensor

from engine import checkpoint
from engine import profile as profiles
from engine.messages import Column
from engine.own_schedule import schedule_for
from engine.profile import ScheduleSpec
from engine.rewards import registry
from tests.voices import write_corpus, write_profile, write_voice

BENCHMARKS = Path(__file__).parent / "benchmarks"
Run = Callable[..., dict]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(
            f"benchmark_{name}", BENCHMARKS / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # where a dataclass looks up its names
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run(
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Run:
    write_voice(tmp_path / "voice.safetensors", ("anna", "ben"))
    (tmp_path / "list.txt").write_text("Go on.\nWait there.\nCome now.\nNo more.\n")

    def call(name: str, *options: object) -> dict:
        voice, sentences = tmp_path / "voice.safetensors", tmp_path / "list.txt"
        told = ("--voice", voice, "--prompts", sentences, "--threads", 1, *options)
        monkeypatch.setattr(sys, "argv", [name, *map(str, told)])
        script(name).main()
        return dict(json.loads(capsys.readouterr().out))

    return call


def test_the_scores_of_a_voice(run: Run, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    told = run(
        "voice", "--models", "loudness", "--steps", 2, 3, "--most", 2, "--recordings", corpus
    )
    assert list(told["speakers"]) == ["anna", "ben"]
    assert list(told["speakers"]["ben"]) == ["2", "3"]
    assert told["speakers"]["ben"]["3"]["schedule"]["timesteps"] == 3
    assert told["speakers"]["anna"]["2"]["scores"]["loudness"]["count"] == 2
    assert told["recordings"]["kathleen"]["clips"] == 1


def test_a_cards_table_leaves_out_what_no_model_scored(script) -> None:
    score = {"mean": 2.345, "low": 2.0, "high": 2.7, "count": 2}
    figures = {"scores": {"distillmos": score, "nisqa": None}, "real_time_factor": 0.5}
    lines = script("voice").table({"speakers": {"anna": {"10": figures}}, "recordings": {}})
    assert lines[0] == "| speaker | timesteps | DistillMOS | real-time factor |"
    assert lines[2] == "| anna | 10 | 2.35 (2.00 to 2.70) | 0.50 |"


def test_the_clips_of_a_voice_and_what_is_heard_in_them(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    told = run("clips", "--each", 2, "--steps", 2, "--out", out)
    assert [row["text"] for row in told["clips"] if row["speaker"] == "anna"] == [
        "Go on.", "Come now.",
    ]  # fmt: skip
    names = {row["file"] for row in told["clips"]}
    assert {p.name for p in out.iterdir()} == {*names, "transcripts.md"}
    assert told["bytes"] == sum((out / name).stat().st_size for name in names)
    for row in told["clips"]:
        sound = soundfile.info(out / row["file"])
        assert (sound.subtype, sound.duration) == ("OPUS", pytest.approx(row["seconds"], abs=0.1))
        assert f"| {row['text']} |" in (out / "transcripts.md").read_text()


def test_a_search_ends_at_the_best_that_can_be_trained(script) -> None:
    schedules = script("schedules")
    calls = []

    def judge(spec: ScheduleSpec):
        calls.append(spec)
        off = abs(spec.high_db - 27.5) + abs(spec.low_db + 25) if spec.kind == "snr" else 50
        bonus = 20 if spec.sampler == "ddim" and spec.eta == 0 else 0
        return schedules.Figures(100.0 - off + bonus, 0.0, None, 1.0)

    far = time.monotonic() + 3600
    tried = schedules.search(6, judge, far, 100, [])
    assert schedules.best(tried) == ScheduleSpec("snr", 6, low_db=-25.0, high_db=27.5)
    assert max(tried, key=lambda spec: tried[spec].score).eta == 0
    assert len(calls) == len(set(calls)) == len(tried)
    assert list(schedules.search(6, judge, far, 5, [])) == list(tried)[:5]
    assert list(schedules.search(6, judge, far - 7200, 100, [])) == [ScheduleSpec("respaced", 6)]
    winner = replace(schedules.best(tried), timesteps=10)
    assert list(schedules.search(6, judge, far, 2, [winner]))[1] == replace(winner, timesteps=6)


def test_a_voice_is_written_anew_with_what_was_found(run: Run, tmp_path: Path) -> None:
    found = {"6": {"winner": {"kind": "snr", "timesteps": 6}}, "10": {"winner": {"kind": "snr"}}}
    (tmp_path / "found.json").write_text(json.dumps({"found": found}))
    run("schedules", "--found", tmp_path / "found.json", "--into", tmp_path / "new.safetensors")
    old, new = (checkpoint.load(tmp_path / f"{n}.safetensors") for n in ("voice", "new"))
    assert schedule_for(new) == ScheduleSpec("snr", 10)
    assert schedule_for(new, 6) == ScheduleSpec("snr", 6)
    assert new.card.about["made"] == old.card.about["made"]
    for key, value in old.model.state_dict().items():
        assert value.equal(new.model.state_dict()[key]), key


class Ears:
    """Stands in for DistillMOS and the recogniser: the louder a clip, the better it sounds."""

    sample_rate_hz, differentiable = 16_000, False

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns = tuple(
            Column(column, "", column == "distillmos", 0.0, 1.0)
            for column in registry.MODEL_COLUMNS[name]
        )

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        return waves.std(-1, keepdim=True).expand(-1, len(self.columns))


def test_recordings_and_sentences_are_both_judged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load", Ears)
    corpus = write_corpus(tmp_path / "corpus", "ben")
    out = tmp_path / "found.json"
    told = run(
        "schedules", "--steps", 2, "--most", 2, "--clips", 1, "--sentences", 1,
        "--recordings", corpus, "--out", out,
    )  # fmt: skip
    result = json.loads(out.read_text())["found"]["2"]
    assert result["winner"] == told["2"]
    assert len(result["candidates"]) == len(result["finalists"]) == 2
    assert all(row["distance_db"] > 0 for row in result["candidates"])
    assert all(row["distance_db"] is None for row in result["finalists"])


def test_the_longest_share_of_an_update_is_told_by_the_number_of_ranks(
    script: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    profile = profiles.load(write_profile(tmp_path, write_voice(tmp_path / "voice.safetensors")))
    found = script("ranks").unevenness(profile, 1, (1, 3))
    assert found["1"] == 1.0  # one rank has everything
    assert 1.0 < found["3"] < 2.0  # three prompts of different length, one a rank


def test_the_charts_are_drawn_within_what_a_screen_may_take(
    script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["charts", "--updates", "60", "--runs", "2"])
    script("charts").main()
    told = json.loads(capsys.readouterr().out)
    assert told["milliseconds"]["charts"] == 6
    for kind in ("plain", "logarithmic", "smoothed", "cursor"):
        assert 0 < told["milliseconds"][kind]["best"] < 1000
