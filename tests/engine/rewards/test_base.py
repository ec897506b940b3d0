"""Grouping, failures and the weighted sum, with models made up for the purpose."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from engine import audio
from engine.messages import Column
from engine.rewards.base import (
    ScoreError,
    ScoreModel,
    Scores,
    check_gradients,
    reward,
    reward_with_gradient,
    score_clips,
)
from engine.rewards.loudness import Loudness
from engine.rewards.patience import Patience

if TYPE_CHECKING:
    from .conftest import Clip

HZ = 16_000


def power(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
    return waves.square().mean(-1, keepdim=True)


@dataclass
class Made:
    """A model made of a function; remembers what it was called with."""

    score: Callable[[Tensor, tuple[str, ...]], Tensor] = power
    name: str = "made"
    columns: tuple[Column, ...] = (Column("made", "unit", True, 0.0, 1.0),)
    sample_rate_hz: int = HZ
    differentiable: bool = False
    calls: list[tuple[Tensor, tuple[str, ...]]] = field(default_factory=list)

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        assert self.differentiable or not torch.is_grad_enabled()
        self.calls.append((waves, texts))
        return self.score(waves, texts)


def columns(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "unit", True, None, None) for name in names)


def padded(rows: Sequence[Tensor], padding: float = 0.0) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    waveform = torch.full((len(rows), longest), padding)
    for i, row in enumerate(rows):
        waveform[i, : len(row)] = row
    return waveform, torch.tensor([len(row) for row in rows])


def ramp(length: int, start: float = 0.1) -> Tensor:
    return torch.linspace(start, 0.9, length)


# Grouping


def test_rows_of_one_length_go_together_and_padding_stays_out() -> None:
    rows = [ramp(5), ramp(3), ramp(5, 0.4), ramp(8)]
    waveform, lengths = padded(rows, padding=math.nan)
    made = Made()
    scores = score_clips([made], waveform, lengths, HZ, ("a", "b", "c", "d"))
    assert [texts for _, texts in made.calls] == [("a", "c"), ("b",), ("d",)]
    assert [waves.shape for waves, _ in made.calls] == [(2, 5), (1, 3), (1, 8)]
    torch.testing.assert_close(
        scores.values, torch.stack([row.square().mean()[None] for row in rows])
    )
    assert scores.failures == ()


def test_grouping_equals_scoring_one_by_one(clips: tuple[Clip, ...]) -> None:
    rows = [clips[0].wave, clips[1].wave, clips[0].wave * 0.3]
    waveform, lengths = padded(rows)
    texts = ("a", "b", "c")
    models: list[ScoreModel] = [Made(), Loudness()]
    together = score_clips(models, waveform, lengths, 22_050, texts).values
    alone = [
        score_clips(models, row[None], torch.tensor([len(row)]), 22_050, ("a",)).values
        for row in rows
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    assert bool(torch.isfinite(together).all())


def test_each_rate_is_resampled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    real = audio.resample

    def counting(wave: Tensor, from_hz: int, to_hz: int) -> Tensor:
        asked.append((from_hz, to_hz))
        return real(wave, from_hz, to_hz)

    monkeypatch.setattr(audio, "resample", counting)
    models = [
        Made(columns=columns("a", "b"), score=lambda waves, texts: waves[:, :2]),
        Made(columns=columns("c")),
        Made(columns=columns("d"), sample_rate_hz=22_050),
    ]
    scores = score_clips(models, torch.rand(2, 441), torch.tensor([441, 441]), 22_050, ("", ""))
    assert asked == [(22_050, 16_000), (22_050, 22_050)]
    assert models[0].calls[0][0].shape == (2, 320)
    assert models[2].calls[0][0].shape == (2, 441)
    assert [column.name for column in scores.columns] == ["a", "b", "c", "d"]
    assert scores.values.shape == (2, 4)


def test_scores_are_single_precision_and_carry_no_gradient() -> None:
    waveform = torch.rand(1, 4, dtype=torch.float64, requires_grad=True)
    values = score_clips([Made()], waveform, torch.tensor([4]), HZ, ("",)).values
    assert values.dtype == torch.float32
    assert not values.requires_grad


def test_no_clips_and_no_models() -> None:
    nothing = score_clips([Made()], torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), HZ, ())
    assert nothing.values.shape == (0, 1)
    assert score_clips([], torch.zeros(2, 5), torch.tensor([5, 5]), HZ, ("", "")).values.shape == (
        2,
        0,
    )


@pytest.mark.parametrize(
    ("lengths", "texts", "message"),
    [
        ([3], ("", ""), "does not go with"),
        ([3, 3], ("",), "does not go with 2 lengths and 1 texts"),
        ([3, 6], ("", ""), "Lengths from 3 to 6"),
        ([-1, 3], ("", ""), "Lengths from -1 to 3"),
    ],
)
def test_arguments_that_do_not_fit(
    lengths: list[int], texts: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        score_clips([Made()], torch.zeros(2, 5), torch.tensor(lengths), HZ, texts)


def test_two_models_may_not_fill_one_column() -> None:
    with pytest.raises(ValueError, match="Two models fill one column: made, made"):
        score_clips([Made(), Made()], torch.zeros(1, 5), torch.tensor([5]), HZ, ("",))


# Failures


def test_a_bad_row_fails_alone() -> None:
    def refuse_loud(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if bool(waves.abs().max() > 0.5):
            raise RuntimeError("too\nloud")
        return power(waves, texts)

    waveform = torch.full((4, 6), 0.2)
    waveform[2] = 0.7
    made = Made(refuse_loud)
    other = Made(columns=columns("other"))
    scores = score_clips([made, other], waveform, torch.tensor([6] * 4), HZ, ("",) * 4)
    assert [len(waves) for waves, _ in made.calls] == [4, 1, 1, 1, 1]
    assert len(other.calls) == 1
    assert torch.isnan(scores.values).tolist() == [[False] * 2] * 2 + [[True, False], [False] * 2]
    torch.testing.assert_close(scores.values[[0, 1, 3], 0], torch.full((3,), 0.04))
    assert scores.failures == ("made failed on clip 3 of 4: RuntimeError: too loud.",)


def test_clips_that_no_model_can_score() -> None:
    waveform = torch.full((4, 6), 0.2)
    waveform[1, 2] = math.nan
    waveform[3, 5] = math.inf
    made = Made()
    scores = score_clips([made], waveform, torch.tensor([6, 6, 0, 6]), HZ, ("",) * 4)
    assert [len(waves) for waves, _ in made.calls] == [1]
    assert torch.isnan(scores.values).flatten().tolist() == [False, True, True, True]
    assert scores.failures == (
        "Clip 2 of 4 has no score: it holds audio samples that are not finite.",
        "Clip 3 of 4 has no score: it is empty.",
        "Clip 4 of 4 has no score: it holds audio samples that are not finite.",
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_a_failure(bad: float) -> None:
    def sometimes(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        return torch.tensor([[1.0, 2.0], [3.0, bad]])

    made = Made(sometimes, columns=columns("a", "b"))
    scores = score_clips([made], torch.rand(2, 6), torch.tensor([6, 6]), HZ, ("", ""))
    assert scores.values[0].tolist() == [1.0, 2.0]
    assert float(scores.values[1, 0]) == 3.0
    assert math.isnan(float(scores.values[1, 1]))
    assert scores.failures == (f"made failed on clip 2 of 2: it returned b = {bad}.",)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (1, 1), ()])
def test_a_wrong_shape_is_a_failure_of_the_model(shape: tuple[int, ...]) -> None:
    made = Made(lambda waves, texts: torch.ones(shape))
    scores = score_clips([made], torch.rand(2, 6), torch.tensor([6, 6]), HZ, ("", ""))
    assert bool(torch.isnan(scores.values).all())
    assert len(made.calls) == 1
    assert scores.failures == (
        f"made failed on all 2 clips: it returned shape {shape}, not (2, 1).",
    )


def test_a_model_that_always_fails_has_one_sentence() -> None:
    def fail(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        raise ScoreError("the licence has run out.")

    waveform, lengths = padded([ramp(5), ramp(3), ramp(5)])
    scores = score_clips([Made(fail)], waveform, lengths, HZ, ("",) * 3)
    assert scores.failures == ("made failed on all 3 clips: the licence has run out.",)


def test_silence_has_no_loudness_but_a_share_of_clipping() -> None:
    waveform = torch.zeros(1, 22_050)
    scores = score_clips([Loudness()], waveform, torch.tensor([22_050]), 22_050, ("",))
    assert math.isnan(float(scores.values[0, 0]))
    assert float(scores.values[0, 1]) == 0.0
    assert scores.failures == ("loudness failed on clip 1 of 1: it returned loudness = -inf.",)


def test_an_interrupt_passes_through() -> None:
    def interrupted(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_clips([Made(interrupted)], torch.rand(2, 6), torch.tensor([6, 6]), HZ, ("", ""))


# One reward from several columns


def table() -> Scores:
    return Scores(
        (
            Column("mos", "MOS 1-5", True, 1.0, 5.0),
            Column("wer", "share", False, 0.0, 1.0),
            Column("loudness", "LUFS", None, None, None),
        ),
        torch.tensor([[4.0, 0.5, -20.0], [3.0, math.nan, -30.0], [2.0, 0.0, math.nan]]),
        ("one", "two"),
    )


def test_the_weighted_sum_and_its_valid_rows() -> None:
    batch = reward(table(), {"wer": -2.0, "mos": 0.5})
    assert batch.names == ("mos", "wer", "loudness")
    assert batch.valid.tolist() == [True, False, True]
    assert batch.total[[0, 2]].tolist() == [1.0, 1.0]
    assert math.isnan(float(batch.total[1]))
    torch.testing.assert_close(batch.scores, table().values, equal_nan=True)
    assert batch.failures == ("one", "two")


def test_a_weight_of_0_needs_nothing() -> None:
    batch = reward(table(), {"mos": 1.0, "wer": 0.0})
    assert batch.valid.tolist() == [True, True, True]
    assert batch.total.tolist() == [4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"moss": 1.0}, "no score column 'moss'; did you mean 'mos'"),
        ({"mos": math.nan}, "weight of mos must be a finite number"),
        ({"wer": 1.0}, "wer is better when it is lower: its weight must be negative, not 1.0"),
        ({"mos": -1.0}, "mos is better when it is higher: its weight must be positive"),
        ({}, "at least one score column"),
        ({"mos": 0.0}, "at least one score column"),
    ],
)
def test_weights_that_make_no_reward(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reward(table(), weights)


def test_loudness_may_be_weighted_either_way() -> None:
    assert reward(table(), {"loudness": -0.1}).total[0] == pytest.approx(2.0)
    assert reward(table(), {"loudness": 0.1}).total[0] == pytest.approx(-2.0)


def test_a_clip_that_hangs_fails_alone() -> None:
    awake = threading.Event()

    def sometimes(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if "slow" in texts:
            awake.wait()
        return power(waves, texts)

    patience, waveform = Patience(0.3), torch.full((3, 6), 0.2)
    lengths, texts = torch.tensor([6] * 3), ("a", "slow", "b")
    scores = score_clips([Made(sometimes)], waveform, lengths, HZ, texts, patience)
    awake.set()
    patience.close()
    assert torch.isnan(scores.values).flatten().tolist() == [False, True, False]
    assert scores.failures == (
        "made failed on clip 2 of 3: it took longer than reward.patience_seconds = 0.3 s.",
    )


def test_lack_of_memory_is_no_fault_of_a_clip() -> None:
    def greedy(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if len(waves) > most:
            raise MemoryError
        return power(waves, texts)

    waveform, lengths = torch.full((2, 6), 0.2), torch.tensor([6, 6])
    most = 1
    scores = score_clips([Made(greedy)], waveform, lengths, HZ, ("", ""))
    assert scores.failures == ()
    assert bool(scores.values.isfinite().all())
    most = 0
    with pytest.raises(MemoryError):
        score_clips([Made(greedy)], waveform, lengths, HZ, ("", ""))


def test_what_is_no_tensor_is_a_failure_of_the_model() -> None:
    made = Made(lambda waves, texts: None)  # type: ignore[arg-type, return-value]
    scores = score_clips([made], torch.rand(1, 6), torch.tensor([6]), HZ, ("",))
    assert scores.failures == (
        "made failed on clip 1 of 1: it returned shape NoneType, not (1, 1).",
    )


# A reward's own gradient


def test_the_reward_with_a_gradient_is_the_reward_and_its_slope_is_the_models() -> None:
    rows = [ramp(5), ramp(3), ramp(8, 0.4)]
    made, other = (
        Made(name=name, columns=columns(name, f"{name}_more"), differentiable=True, score=score)
        for name, score in (
            ("one", lambda w, texts: torch.stack((w.square().mean(-1), w.mean(-1)), -1)),
            ("two", lambda w, texts: torch.stack((w.sum(-1), w.amax(-1)), -1)),
        )
    )
    weights = {"one": 2.0, "one_more": 1.0, "two_more": 3.0, "two": 0.0}
    waveform, lengths = padded(rows)
    texts = ["a", "b", "c"]
    scores = score_clips([made, other], waveform, lengths, HZ, texts)
    clips = [row.clone().requires_grad_() for row in rows]
    found = reward_with_gradient([made, other], weights, clips, HZ, texts)
    torch.testing.assert_close(found.detach(), reward(scores, weights).total)
    slopes = torch.autograd.grad(found.sum(), clips)
    for row, slope in zip(rows, slopes, strict=True):
        expected = 2.0 * 2 * row / len(row) + 1 / len(row)
        expected[row.argmax()] += 3.0
        torch.testing.assert_close(slope, expected)


def test_a_model_of_no_weight_is_not_asked_for_a_gradient() -> None:
    used, idle = Made(differentiable=True), Made(name="idle", columns=columns("idle"))
    reward_with_gradient([used, idle], {"made": 1.0, "idle": 0.0}, [ramp(4)], HZ, ["a"])
    assert (len(used.calls), len(idle.calls)) == (1, 0)
    check_gradients([used, idle], {"made": 1.0, "idle": 0.0})


def test_a_clip_that_cannot_be_scored_is_no_number_and_spoils_no_other() -> None:
    def score(waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if texts == ("b",):
            raise ScoreError("it is silent throughout")
        return power(waves, texts)

    clips = [ramp(4).requires_grad_(), ramp(4).requires_grad_()]
    made = Made(score, differentiable=True)
    found = reward_with_gradient([made], {"made": 1.0}, clips, HZ, ["a", "b"])
    assert found.isnan().tolist() == [False, True]
    (slope,) = torch.autograd.grad(found[0], clips[0])
    assert bool(slope.isfinite().all())


def test_a_weighed_score_without_a_gradient_is_named() -> None:
    models = [Made(differentiable=True), Loudness(22_050)]
    check_gradients(models, {"made": 1.0})
    with pytest.raises(ValueError, match="loudness has none: reward made alone, or choose another"):
        check_gradients(models, {"made": 1.0, "loudness": 0.5})
    with pytest.raises(ValueError, match="loudness has none: reward distillmos or utmos alone"):
        check_gradients(models[1:], {"loudness": 1.0})
