from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine.diffusion.schedule import build
from engine.evaluation import Evaluation, evaluate, fooled, interval
from engine.messages import Column, Interval
from engine.profile import ScheduleSpec
from engine.rewards.base import Scores
from engine.rewards.loudness import Loudness
from engine.synthesis import speak, utter
from engine.types import HOP
from tests.voices import write_voice

MOS = Column("mos", "MOS", True)
WER = Column("wer", "share", False)
LUFS = Column("loudness", "LUFS", None)
NAN = math.nan


# --- intervals ------------------------------------------------------------------


def test_an_interval_is_students() -> None:
    # mean 3, s = sqrt(2.5), t(4; 0.975) = 2.776: half width 2.776 sqrt(2.5 / 5) = 1.963
    found = interval(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert found.count == 5
    assert found.mean == 3.0
    assert found.low == pytest.approx(3.0 - 1.963, abs=5e-3)
    assert found.high == pytest.approx(3.0 + 1.963, abs=5e-3)


@pytest.mark.parametrize(
    ("count", "quantile"),
    [(2, 12.706), (3, 4.303), (10, 2.262), (30, 2.045), (31, 2.042), (61, 2.000), (1001, 1.962)],
)
def test_the_quantile_is_that_of_its_degrees_of_freedom(count: int, quantile: float) -> None:
    values = torch.arange(count, dtype=torch.float64)
    found = interval(values)
    half = (found.high - found.low) / 2
    assert half / (float(values.std()) / math.sqrt(count)) == pytest.approx(quantile, rel=3e-3)


def test_only_finite_values_count() -> None:
    mixed = torch.tensor([1.0, NAN, 3.0, math.inf, -math.inf])
    assert interval(mixed) == interval(torch.tensor([1.0, 3.0]))
    assert interval(mixed).count == 2


def test_one_value_has_no_width_and_none_no_interval() -> None:
    assert interval(torch.tensor([2.5, NAN])) == Interval(2.5, 2.5, 2.5, 1)
    assert interval(torch.tensor([NAN, NAN])) is None
    assert interval(torch.zeros(0)) is None


# --- the alarm ------------------------------------------------------------------


def evaluation(columns: tuple[Column, ...], *rows: list[float]) -> Evaluation:
    """Scores by prompt (row) and column; no audio."""
    return Evaluation((), Scores(columns, torch.tensor(rows), ()))


def judged(mos: list[float], other: list[float], column: Column = WER) -> str:
    """fooled() where MOS rose by `mos` and the judge moved by `other`, prompt by prompt."""
    level = torch.arange(len(mos), dtype=torch.float32) * 10  # prompts differ far more than that
    start = torch.stack([level, -level], dim=-1)
    now = start + torch.tensor([mos, other]).T
    return fooled(start, Evaluation((), Scores((MOS, column), now, ())), {"mos"})


UP, DOWN, MIXED = [0.3, 0.4, 0.5, 0.4], [-0.3, -0.4, -0.5, -0.4], [0.3, -0.4, 0.5, -0.4]


def test_a_reward_that_rises_while_a_judge_gets_worse_raises_the_alarm() -> None:
    told = judged(UP, UP)  # a word error rate that goes up is worse
    assert told == "the reward rose (mos by 0.4) while a judge got worse (wer by 0.4)"
    assert "a judge got worse (nisqa by 0.4)" in judged(UP, DOWN, Column("nisqa", "MOS", True))


@pytest.mark.parametrize(
    ("mos", "other", "column"),
    [
        (UP, DOWN, WER),  # both better
        (DOWN, UP, WER),  # both worse
        (UP, MIXED, WER),  # the judge's interval holds 0
        (MIXED, UP, WER),  # the reward's does
        ([0.0] * 4, UP, WER),
        (UP, [0.0] * 4, WER),
        (UP, UP, LUFS),  # louder is neither better nor worse
        (UP, DOWN, LUFS),
        (UP, [0.4, NAN, NAN, NAN], WER),  # one prompt is no evidence
        (UP, [NAN] * 4, WER),
        ([NAN] * 4, UP, WER),
    ],
)
def test_without_evidence_for_both_there_is_no_alarm(
    mos: list[float], other: list[float], column: Column
) -> None:
    assert judged(mos, other, column) == ""


def test_a_failed_prompt_is_left_out_of_the_pairs() -> None:
    assert "mos by 0.4" in judged([0.3, NAN, 0.5, 0.4], UP)


def test_two_rewards_do_not_judge_each_other() -> None:
    columns = (MOS, WER)
    start = evaluation(columns, [1.0, 0.1], [2.0, 0.2], [3.0, 0.3])
    now = evaluation(columns, [1.5, 0.6], [2.5, 0.7], [3.5, 0.8])
    assert fooled(start.scores.values, now, {"mos"}) != ""
    assert fooled(start.scores.values, now, {"mos", "wer"}) == ""


def test_the_start_does_not_fool_itself() -> None:
    start = evaluation((MOS, WER), [1.0, 0.1], [2.0, 0.2])
    assert fooled(start.scores.values, start, {"mos"}) == ""


# --- evaluating -----------------------------------------------------------------


def test_an_evaluation_scores_what_the_voice_says(tmp_path: Path) -> None:
    voice = checkpoint.load(write_voice(tmp_path / "voice.safetensors"))
    schedule = build(ScheduleSpec(timesteps=2))
    prompts = utter(voice.model, ["No.", "Go on now."], 0, 1.0)
    found = evaluate(voice, schedule, prompts, [Loudness()], 7, 4)
    clips = speak(voice, schedule, prompts, 7)
    assert [len(wave) for wave in found.waves] == [u.frames * HOP for u in prompts]
    assert all(torch.equal(a, b) for a, b in zip(found.waves, clips, strict=True))
    alone = torch.cat([Loudness()(clip[None], ("",)) for clip in clips])
    assert torch.allclose(found.scores.values, alone.float(), atol=1e-4)
    intervals = found.intervals()
    assert list(intervals) == ["loudness", "clipping"]
    assert intervals["loudness"].mean == pytest.approx(float(alone[:, 0].mean()), abs=1e-4)
    again = evaluate(voice, schedule, prompts, [Loudness()], 7, 1)
    assert torch.allclose(again.scores.values, found.scores.values, atol=1e-4)
