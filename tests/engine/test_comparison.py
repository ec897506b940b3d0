from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import checkpoint
from engine.checkpoint import CheckpointError, Voice
from engine.comparison import (
    Comparison,
    ComparisonError,
    common_rate,
    common_speaker,
    compare,
    corrected,
    row,
    schedule_of,
)
from engine.diffusion.schedule import build
from engine.messages import Column
from engine.profile import ProfileError, ScheduleSpec
from engine.rewards.base import ScoreError
from engine.rewards.loudness import Loudness
from engine.synthesis import speak, utter
from tests.voices import tiny_model

MOS = Column("mos", "MOS", True)
WER = Column("wer", "share", False)
LUFS = Column("loudness", "LUFS", None)
NAN = math.nan
TEXTS = ("No.", "Go on now.", "Wait.")


def voice(
    speakers: tuple[str, ...] = ("anna",), seed: int = 0, rate: int = 22050, **about: object
) -> Voice:
    model = tiny_model(len(speakers), seed)
    config = replace(model.config, sample_rate=rate)
    return Voice(model, checkpoint.Card(config, speakers, dict(about)), f"voice {seed}")


@pytest.fixture(scope="module")
def done(one_thread: None) -> Comparison:
    two = {"timesteps": 2}
    return compare(voice(schedule=two), voice(seed=1, schedule=two), TEXTS, [Loudness()], seed=7)


# --- one row --------------------------------------------------------------------


def scores(*values: float) -> Tensor:
    return torch.tensor(values)


def test_the_difference_is_of_pairs() -> None:
    # differences 1, 2, 3: mean 2, s = 1, t(2; 0.975) = 4.30: half width 4.30 / sqrt(3) = 2.48
    found = row(MOS, scores(10.0, 20.0, 30.0), scores(11.0, 22.0, 33.0))
    assert (found.a.mean, found.b.mean) == (20.0, 22.0)
    assert found.student.mean == found.difference.mean == pytest.approx(2.0)
    assert found.student.low == pytest.approx(2.0 - 2.48, abs=5e-3)
    assert found.student.high == pytest.approx(2.0 + 2.48, abs=5e-3)
    assert 1.0 <= found.difference.low < 2.0 < found.difference.high <= 3.0
    assert found.p_value == 0.25, "of eight flips two are as far"
    assert not found.significant
    assert found.verdict == ""


A = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
UP, DOWN = (1.3, 2.4, 3.5, 4.4, 5.6, 6.2), (0.7, 1.6, 2.5, 3.6, 4.4, 5.8)


@pytest.mark.parametrize(
    ("column", "b", "verdict", "wins"),
    [
        (MOS, UP, "B", (0, 0, 6)),
        (MOS, DOWN, "A", (6, 0, 0)),
        (WER, UP, "A", (6, 0, 0)),
        (WER, DOWN, "B", (0, 0, 6)),
        (LUFS, UP, "differs", None),
        (MOS, A, "", (0, 6, 0)),
        (MOS, (1.0, 2.5, 2.5, 4.5, 5.0, 6.5), "", (1, 2, 3)),
        (LUFS, A, "", None),
    ],
)
def test_who_is_better_goes_by_the_columns_direction(
    column: Column, b: tuple[float, ...], verdict: str, wins: tuple[int, int, int] | None
) -> None:
    found = row(column, scores(*A), scores(*b))
    assert found.verdict == verdict
    assert found.wins == wins
    assert found.significant == (verdict != "")


def test_a_difference_that_was_put_in_is_found() -> None:
    dice = torch.Generator().manual_seed(5)
    a = torch.randn(40, generator=dice)
    b = a + 0.6 + 0.8 * torch.randn(40, generator=dice)
    found = row(MOS, a, b)
    assert found.difference.low < 0.6 < found.difference.high
    assert found.difference.low == pytest.approx(found.student.low, abs=0.05)
    assert found.p_holm < 0.001
    assert found.verdict == "B"


def test_the_p_values_of_one_table_answer_for_one_another() -> None:
    one = row(MOS, scores(*A), scores(*UP))
    none = row(MOS, scores(NAN), scores(NAN))
    assert one.p_value == one.p_holm == pytest.approx(2 / 64)
    found = corrected([one, none, row(WER, scores(*A), scores(*A))])
    assert [r.p_value for r in found] == [pytest.approx(2 / 64), None, 1.0]
    assert [r.p_holm for r in found] == [pytest.approx(4 / 64), None, 1.0]
    assert not found[0].significant, "of two, it could be chance"


def test_a_prompt_that_one_voice_has_no_score_for_makes_no_pair() -> None:
    found = row(MOS, scores(1.0, NAN, 3.0, 4.0), scores(1.3, 2.4, NAN, 4.4))
    assert (found.a.count, found.b.count, found.difference.count) == (3, 3, 2)
    assert found.wins == (0, 0, 2)


def test_one_pair_is_no_evidence_and_none_no_difference() -> None:
    assert not row(MOS, scores(1.0), scores(2.0)).significant
    empty = row(MOS, scores(1.0, NAN), scores(NAN, 2.0))
    assert empty.difference is empty.student is empty.p_value is None
    assert (empty.verdict, empty.significant, empty.wins) == ("", False, (0, 0, 0))


# --- what can be compared -------------------------------------------------------


def test_voices_of_two_sample_rates_are_refused() -> None:
    assert common_rate(voice(), voice(seed=1)) == 22050
    with pytest.raises(ComparisonError, match="voice 0 speaks at 22050 Hz and voice 1 at 24000"):
        common_rate(voice(), voice(seed=1, rate=24000))


def test_the_speaker_is_the_first_that_both_have() -> None:
    a, b = voice(("anna", "ben", "cleo")), voice(("cleo", "ben"), seed=1)
    assert common_speaker(a, b, "") == "ben"
    assert common_speaker(a, b, "cleo") == "cleo"
    with pytest.raises(CheckpointError, match="voice 1 has no speaker 'anna'"):
        common_speaker(a, b, "anna")
    with pytest.raises(ComparisonError, match=r"\(anna\) and voice 1 \(ben\) have no speaker in"):
        common_speaker(voice(), voice(("ben",), seed=1), "")


def test_a_voice_follows_its_cards_schedule_unless_told_otherwise() -> None:
    own = {"kind": "linear", "timesteps": 6}
    assert schedule_of(voice(), None) == ScheduleSpec("respaced")
    assert schedule_of(voice(schedule=own), None) == ScheduleSpec("linear", 6)
    assert schedule_of(voice(schedule=own), 3) == ScheduleSpec("linear", 3)


@pytest.mark.parametrize(
    ("card", "timesteps", "told"),
    [
        ({"kind": "manual8"}, 3, "voice 0 follows a schedule of kind manual8"),
        ({"kind": "betas", "betas": [0.1, 0.9]}, 3, "leave --steps out"),
        ({"kind": "cosine"}, None, "voice 0: kind is one of"),
        ({"timesteps": 0}, None, "voice 0: schedule.timesteps lies between 1 and 1000"),
        ([1], None, "the card of voice 0 has a schedule that is no table"),
    ],
)
def test_a_schedule_that_cannot_be_is_one_sentence(
    card: object, timesteps: int | None, told: str
) -> None:
    with pytest.raises((ComparisonError, ProfileError), match=told):
        schedule_of(voice(schedule=card), timesteps)


# --- comparing ------------------------------------------------------------------


def test_both_speak_with_the_noise_of_one_seed(done: Comparison) -> None:
    schedule = build(ScheduleSpec(timesteps=2))
    for seed, side in ((0, done.a), (1, done.b)):
        alone = voice(seed=seed)
        clips = speak(alone, schedule, utter(alone.model, TEXTS, 0, 1.0), 7)
        assert all(torch.equal(x, y) for x, y in zip(side.done.waves, clips, strict=True))
    assert done.speaker == "anna"
    assert [r.column.name for r in done.rows] == ["loudness", "clipping"]
    assert done.notices == (
        "3 prompts cannot tell the two apart: with 2 scores it takes 7 for p to fall below 0.05",
    )


def test_a_voice_does_not_differ_from_itself(one_thread: None) -> None:
    found = compare(voice(), voice(), TEXTS[:2], [Loudness()], timesteps=2)
    assert [r.difference.mean for r in found.rows] == [0.0, 0.0]
    assert [r.verdict for r in found.rows] == ["", ""]
    assert found.rows[1].wins == (0, 2, 0)


def test_progress_runs_over_both_voices_and_the_scoring(one_thread: None) -> None:
    told: list[tuple[int, int, str]] = []
    compare(
        voice(), voice(seed=1), TEXTS, [Loudness()], timesteps=2,
        advance=lambda *now: told.append(now),
    )  # fmt: skip
    counts = [done for done, _, _ in told]
    assert counts == sorted(counts)
    assert {total for _, total, _ in told} == {3 * (2 + 2 + 2)}
    assert counts[-1] == told[0][1]
    assert {"A speaks", "loudness scores A", "B speaks", "loudness scores B"} <= {
        t[2] for t in told
    }


class Deaf:
    """Fails on every batch that holds one sentence, and so on its clips one by one."""

    name, columns, sample_rate_hz, differentiable = "deaf", (MOS,), 22050, False

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if "No." in texts:
            raise ScoreError("it hears nothing")
        return waves.new_full((len(waves), 1), 3.0)


def test_a_clip_without_a_score_is_told_and_never_counted(one_thread: None) -> None:
    told: list[int] = []
    found = compare(
        voice(), voice(seed=1), ("No.", "No.", "Wait."), [Deaf()], timesteps=1,
        advance=lambda done, total, at: told.append(total - done),
    )  # fmt: skip
    assert found.rows[0].difference.count == 1
    assert found.notices[0] == "A: deaf failed on clip 1 of 3: it hears nothing."
    assert [notice[:31] for notice in found.notices[1:-1]] == [
        "A: deaf failed on clip 2 of 3: ",
        "B: deaf failed on clip 1 of 3: ",
        "B: deaf failed on clip 2 of 3: ",
    ]
    assert found.scores("a", 0) == {"mos": None}
    assert min(told) >= 0


def test_unlike_chains_are_said(one_thread: None) -> None:
    other = voice(seed=1, schedule={"timesteps": 3})
    found = compare(voice(schedule={"timesteps": 2}), other, TEXTS[:1], [Loudness()])
    assert found.notices[0].startswith("A takes 2 timesteps and B 3")


def test_a_comparison_is_plain_data(done: Comparison) -> None:
    told = json.loads(json.dumps(done.plain(), allow_nan=False))
    assert set(told) == {
        "a", "b", "speaker", "pace", "seed", "sample_rate", "statistics", "scores", "prompts",
        "notices",
    }  # fmt: skip
    assert told["a"]["source"] == "voice 0"
    assert told["b"]["schedule"]["timesteps"] == 2
    assert [p["text"] for p in told["prompts"]] == list(TEXTS)
    loudness, clipping = told["scores"]
    assert {"difference", "student", "p_value", "p_holm", "significant", "verdict"} <= set(loudness)
    assert loudness["p_holm"] >= loudness["p_value"] > 0
    assert loudness["wins"] is None
    assert set(clipping["wins"]) == {"a", "tie", "b"}
    gains = [p["scores"]["b"]["loudness"] - p["scores"]["a"]["loudness"] for p in told["prompts"]]
    assert loudness["difference"]["mean"] == pytest.approx(sum(gains) / 3, abs=1e-4)


def test_a_silent_clip_is_null_in_plain_data(done: Comparison) -> None:
    values = done.a.done.scores.values.clone()
    values[1, 0] = NAN
    holed = replace(done.a.done, scores=replace(done.a.done.scores, values=values))
    told = replace(done, a=replace(done.a, done=holed)).plain()
    assert told["prompts"][1]["scores"]["a"]["loudness"] is None
    json.dumps(told, allow_nan=False)


def test_voices_from_files_compare(tmp_path: Path, one_thread: None) -> None:
    model = tiny_model()
    checkpoint.save(tmp_path / "a.safetensors", model, checkpoint.Card(model.config, ("anna",)))
    loaded = checkpoint.load(tmp_path / "a.safetensors")
    found = compare(loaded, voice(), TEXTS[:1], [Loudness()], timesteps=1, pace=2.0)
    assert found.a.source.endswith("a.safetensors")
    assert found.a.seconds == found.b.seconds
    assert found.pace == 2.0
