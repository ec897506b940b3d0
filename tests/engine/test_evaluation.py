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
CLIPPING = Column("clipping", "share", False)
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


def judged(mos: list[float], other: list[float], column: Column = WER, weight: float = 1.0) -> str:
    """fooled() where MOS rose by `mos` and the judge moved by `other`, prompt by prompt."""
    level = torch.arange(len(mos), dtype=torch.float32) * 10  # prompts differ far more than that
    start = torch.stack([level, -level], dim=-1)
    now = start + torch.tensor([mos, other]).T
    return fooled(start, Evaluation((), Scores((MOS, column), now, ())), {"mos": weight})


UP, DOWN, MIXED = [0.3, 0.4, 0.5, 0.4], [-0.3, -0.4, -0.5, -0.4], [0.3, -0.4, 0.5, -0.4]
LOUDER, QUIETER = [8.0, 7.0, 9.0, 8.0], [-8.0, -7.0, -9.0, -8.0]


def test_a_reward_that_rises_while_a_judge_gets_worse_raises_the_alarm() -> None:
    told = judged(UP, UP)  # a word error rate that goes up is worse
    assert told == "the reward rose (mos by 0.4) while a judge got worse (wer by 0.4)"
    assert "a judge got worse (nisqa by 0.4)" in judged(UP, DOWN, Column("nisqa", "MOS", True))
    assert "a judge got worse (clipping by 0.4)" in judged(UP, UP, CLIPPING)


@pytest.mark.parametrize(("moved", "told"), [(LOUDER, "+8"), (QUIETER, "-8")])
def test_a_reward_that_rises_while_the_level_runs_away_raises_the_alarm(
    moved: list[float], told: str
) -> None:
    assert judged(UP, moved, LUFS) == (
        f"the reward rose (mos by 0.4) while the level ran away (loudness by {told} LUFS)"
    )


@pytest.mark.parametrize(
    ("mos", "other", "column"),
    [
        (UP, DOWN, WER),  # both better
        (DOWN, UP, WER),  # both worse
        (UP, MIXED, WER),  # the judge's interval holds 0
        (MIXED, UP, WER),  # the reward's does
        ([0.0] * 4, UP, WER),
        (UP, [0.0] * 4, WER),
        (UP, UP, LUFS),  # a little louder or quieter is neither better nor worse
        (UP, [-5.0] * 4, LUFS),
        (UP, [5.0, 7.0, 5.0, 7.5], LUFS),  # more than what is allowed, but not surely
        (UP, [90.0, -90.0, 90.0, -90.0], LUFS),
        (DOWN, LOUDER, LUFS),
        (MIXED, LOUDER, LUFS),
        (UP, [4e-4, 5e-4, 5e-4, 4e-4], CLIPPING),  # surely more, and not heard
        (UP, LOUDER, Column("seconds", "s", None)),  # nobody said how far that may go
        (UP, [0.4, NAN, NAN, NAN], WER),  # one prompt is no evidence
        (UP, [NAN, NAN, 0.4, 0.4], WER),  # nor are two
        (UP, [NAN, NAN, 8.0, 8.0], LUFS),
        (UP[:2], UP[:2], WER),
        (UP, [NAN] * 4, WER),
        ([NAN] * 4, UP, WER),
        ([NAN] * 4, LOUDER, LUFS),
    ],
)
def test_without_evidence_for_both_there_is_no_alarm(
    mos: list[float], other: list[float], column: Column
) -> None:
    assert judged(mos, other, column) == ""


def test_a_failed_prompt_is_left_out_of_the_pairs() -> None:
    assert "mos by 0.4" in judged([0.3, NAN, 0.5, 0.4], UP)
    assert "loudness by +8" in judged(UP, [7.8, 8.2, NAN, 8.0], LUFS)


def table(columns: tuple[Column, ...], moved: dict[str, float], weights: dict[str, float]) -> str:
    """fooled() where every column moved by so much on six prompts, give or take a tenth."""
    torch.manual_seed(0)
    start = torch.randn(6, len(columns))
    uneven = torch.tensor([0.9, 1.1, 1.0, 1.0, 0.9, 1.1])
    now = start + uneven[:, None] * torch.tensor([moved[column.name] for column in columns])
    return fooled(start, Evaluation((), Scores(columns, now, ())), weights)


def test_the_weight_says_which_way_a_reward_rises() -> None:
    columns = (WER, LUFS, CLIPPING)
    paid = {"loudness": 1.0}
    assert "reward rose (loudness by 3" in table(
        columns, {"wer": 0.5, "loudness": 3.0, "clipping": 0.0}, paid
    )
    assert table(columns, {"wer": 0.5, "loudness": -3.0, "clipping": 0.0}, paid) == ""
    quiet = {"loudness": -0.1}
    assert "reward rose (loudness by -3" not in table(
        columns, {"wer": 0.5, "loudness": 3.0, "clipping": 0.0}, quiet
    )
    told = table(columns, {"wer": 0.5, "loudness": -3.0, "clipping": 0.0}, quiet)
    assert "reward rose (loudness by -3" in told
    better_words = {"wer": -0.4, "loudness": 0.0, "clipping": 0.1}
    assert "reward rose (wer by -0.4" in table(columns, better_words, {"wer": -1.0})


def test_a_policy_that_is_paid_for_its_level_is_caught_by_it() -> None:
    """Loudness is the reward here and still must not run away; its model clips too."""
    columns, paid = (LUFS, CLIPPING), {"loudness": 1.0}
    assert "the level ran away (loudness by +9" in table(
        columns, {"loudness": 9.0, "clipping": 0.0}, paid
    )
    told = table(columns, {"loudness": 9.0, "clipping": 0.2}, paid)
    assert "a judge got worse (clipping by 0.2" in told
    assert " and the level ran away (loudness by +9" in told
    assert table(columns, {"loudness": 4.0, "clipping": 0.0}, paid) == ""


def test_a_trend_rings_once_it_is_sure_and_goes_on_ringing() -> None:
    """Loudness goes up by 1 LU an evaluation; its interval is 9 % to either side."""
    columns, paid = (MOS, LUFS), {"mos": 1.0}
    rung = [
        bool(table(columns, {"mos": 0.05 * at, "loudness": float(at)}, paid)) for at in range(12)
    ]
    assert rung == [False] * 7 + [True] * 5
    honest = [table(columns, {"mos": 0.05 * at, "loudness": 0.4 * at}, paid) for at in range(12)]
    assert honest == [""] * 12


def test_noise_alone_hardly_ever_rings() -> None:
    """Eight prompts, no trend at all: two one-sided tests at 2.5 % each, four judges."""
    columns = (MOS, WER, Column("nisqa", "MOS", True), CLIPPING, LUFS)
    torch.manual_seed(0)
    rung = 0
    for _ in range(2000):
        start, now = torch.randn(8, 5), torch.randn(8, 5)
        rung += bool(fooled(start, Evaluation((), Scores(columns, now, ())), {"mos": 1.0}))
    assert rung < 2000 * 0.025 * 4 * 0.025 * 2


def test_two_rewards_do_not_judge_each_other() -> None:
    columns = (MOS, WER)
    start = evaluation(columns, [1.0, 0.1], [2.0, 0.2], [3.0, 0.3])
    now = evaluation(columns, [1.5, 0.6], [2.5, 0.7], [3.5, 0.8])
    assert fooled(start.scores.values, now, {"mos": 1.0}) != ""
    assert fooled(start.scores.values, now, {"mos": 1.0, "wer": 0.0}) != ""
    assert fooled(start.scores.values, now, {"mos": 1.0, "wer": -1.0}) == ""


def test_the_start_does_not_fool_itself() -> None:
    start = evaluation((MOS, WER), [1.0, 0.1], [2.0, 0.2])
    assert fooled(start.scores.values, start, {"mos": 1.0}) == ""


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
