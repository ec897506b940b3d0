from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.model.durations import duration_loss, whole_frames
from engine.model.upsampling import MIN_SIGMA
from engine.model.wavegrad2 import WaveGrad2


def test_seconds_match_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    lengths = vectors["in.input_lengths"]
    seconds = model.resampling.duration_predictor(vectors["memory"], lengths)
    torch.testing.assert_close(
        seconds, vectors["duration_predictor.out_seconds"], rtol=0, atol=1e-5
    )
    assert seconds[vectors["mask_padding"]].eq(0).all()


def test_sigma_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    sigma = model.resampling.range_parameter_predictor(
        vectors["memory"], vectors["in.duration_target"], vectors["in.input_lengths"]
    )
    torch.testing.assert_close(sigma, vectors["range_predictor.sigma"], rtol=0, atol=1e-5)
    assert sigma[vectors["mask_padding"]].eq(MIN_SIGMA).all()


def test_inference_sigma_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    text = vectors["encoder.inference.text"]
    lengths = torch.tensor([text.shape[1]])
    memory = model.memory(text, lengths, torch.zeros(1, dtype=torch.long), masked=True)
    sigma = model.resampling.range_parameter_predictor(
        memory, vectors["resampling.inference.duration_frames"], lengths
    )
    torch.testing.assert_close(sigma, vectors["resampling.inference.sigma"], rtol=0, atol=1e-5)


def test_sigma_survives_underflow(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    predictor = model.resampling.range_parameter_predictor
    with torch.no_grad():
        predictor.fc[0].weight.mul_(1e6)
    out = model.resampling(
        vectors["memory"], vectors["in.input_lengths"], vectors["in.duration_target"], 42
    )
    assert out.isfinite().all()


def test_resampling_matches_maum(model: WaveGrad2, vectors: dict[str, Tensor]) -> None:
    hidden = model.resampling(
        vectors["memory"], vectors["in.input_lengths"], vectors["in.duration_target"], 42
    )
    torch.testing.assert_close(hidden, vectors["resampling.hidden_rep_BCT"], rtol=0, atol=1e-5)


def test_whole_frames_by_hand() -> None:
    seconds = torch.tensor([[0.1, 0.02, -0.5], [-1.0, 0.001, 0.0]])
    # 7.35, 1.47, negative; nothing at all, so the first symbol gets the one frame.
    assert whole_frames(seconds, 1.0, 73.5).tolist() == [[7, 1, 0], [1, 0, 0]]
    assert whole_frames(seconds, 2.0, 73.5).tolist() == [[15, 3, 0], [1, 0, 0]]


@pytest.mark.parametrize("pace", [0.0, -1.0, float("nan")])
def test_bad_pace(pace: float) -> None:
    with pytest.raises(ValueError, match="pace must be above 0"):
        whole_frames(torch.ones(1, 1), pace, 73.5)


def test_diverged_prediction() -> None:
    with pytest.raises(ValueError, match="not finite"):
        whole_frames(torch.tensor([[1.0, float("nan")]]), 1.0, 73.5)


def test_duration_loss_by_hand() -> None:
    seconds = torch.tensor([[1.0, 2.0], [4.0, 99.0]])
    durations = torch.tensor([[10.0, 10.0], [30.0, 0.0]])
    # Errors 0, 1, 1 at ten frames a second; the padded 99 does not count.
    loss = duration_loss(seconds, durations, torch.tensor([2, 1]), 10.0)
    assert loss.item() == pytest.approx(2 / 3)
