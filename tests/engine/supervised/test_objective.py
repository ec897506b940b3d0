from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.data import SAMPLE_RATE_HZ
from engine.model.config import SPEECH_RMS
from engine.model.decoder import as_noise
from engine.spectra import MELS, log_mel, mel_filters, spectral_distance
from engine.supervised.dataset import Dataset, waves
from engine.supervised.draws import level_of
from engine.supervised.objective import (
    MelHead,
    clean_estimate,
    decoder_losses,
    front_end_losses,
    hear_text,
    weigh,
)
from engine.types import HOP
from tests.voices import tiny_model

CPU = torch.device("cpu")
FILTERS = mel_filters(CPU, SAMPLE_RATE_HZ)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_clean_estimate_undoes_the_noising_and_stays_in_range() -> None:
    wave, eps, level = 0.3 * normal(0, 2, 50).tanh(), normal(1, 2, 50), torch.tensor([[0.9], [0.2]])
    noisy = level * wave + (1 - level**2).sqrt() * eps
    assert torch.allclose(clean_estimate(noisy, eps, level), wave, atol=1e-5)
    assert float(clean_estimate(noisy, eps - 9, level).max()) == 1.0


def test_a_decoder_that_knows_the_noise_has_no_loss() -> None:
    wave, eps = 0.1 * normal(0, 2, 12 * HOP), normal(1, 2, 12 * HOP)
    level = torch.tensor([[0.9], [0.6]])
    found = decoder_losses(
        lambda x, cond, at: eps, wave, torch.zeros(2, 3, 12), level, eps, FILTERS
    )
    assert list(found) == ["noise", "spectral", "x0_mel"]
    assert float(found["noise"]) == 0.0
    assert float(found["spectral"]) < 1e-2
    assert float(found["x0_mel"]) < 1e-2


def test_the_decoders_losses_are_of_its_noise_and_of_the_speech_it_implies() -> None:
    wave, eps = 0.1 * normal(0, 2, 12 * HOP), normal(1, 2, 12 * HOP)
    level, told = torch.tensor([[0.9], [0.6]]), torch.zeros(2, 3, 12)
    seen: list[Tensor] = []

    def predict(noisy: Tensor, cond: Tensor, at: Tensor) -> Tensor:
        seen.append(noisy)
        return eps + 0.05

    found = decoder_losses(predict, wave, told, level, eps, FILTERS)
    sigma = (1 - level**2).sqrt()
    assert torch.allclose(seen[0], level * wave + sigma * eps)
    x_0 = wave - sigma / level * 0.05
    assert float(found["noise"]) == pytest.approx(0.05, rel=1e-4)
    assert float(found["spectral"]) == pytest.approx(
        float(spectral_distance(x_0, wave).mean()), rel=1e-3
    )
    mel = (log_mel(x_0, FILTERS) - log_mel(wave, FILTERS)).abs().mean()
    assert float(found["x0_mel"]) == pytest.approx(float(mel), rel=1e-3)
    less = decoder_losses(predict, wave, told, level, eps, FILTERS, None, False, False)
    assert list(less) == ["noise"]


def test_balanced_noise_is_in_the_unit_that_the_decoder_is_left_with() -> None:
    wave, eps = 0.1 * normal(0, 2, 12 * HOP), normal(1, 2, 12 * HOP)
    level = torch.tensor([[0.9], [0.2]])
    out, error = normal(2, 2, 12 * HOP), normal(3, 2, 12 * HOP)
    noisy = level * wave + (1 - level**2).sqrt() * eps
    wanted = as_noise(out, noisy, level, SPEECH_RMS)
    found = decoder_losses(
        lambda x, cond, at: as_noise(out + error, noisy, at, SPEECH_RMS), wave, wave, level, wanted,
        FILTERS, None, False, False, balanced=True,
    )  # fmt: skip
    assert float(found["noise"]) == pytest.approx(float(error.abs().mean()), rel=1e-4)


def test_rows_below_a_signal_to_noise_have_no_spectral_loss() -> None:
    wave, eps = 0.1 * normal(0, 2, 12 * HOP), normal(1, 2, 12 * HOP)
    level = level_of(torch.tensor([[10.0], [-13.0]]))

    def losses(rows: slice, from_db: float) -> dict[str, Tensor]:
        return decoder_losses(
            lambda x, cond, at: eps[rows] + 0.05, wave[rows], wave[rows], level[rows],
            eps[rows], FILTERS, from_db=from_db,
        )  # fmt: skip

    both, loud, soft = losses(slice(2), -12.0), losses(slice(1), -12.0), losses(slice(1, 2), -12.0)
    assert float(soft["spectral"]) == float(soft["x0_mel"]) == 0.0
    assert float(losses(slice(1, 2), -14.0)["spectral"]) > 0
    for name in ("spectral", "x0_mel"):
        assert float(both[name]) == pytest.approx(float(loud[name]) / 2, rel=1e-5)
    assert float(both["noise"]) == pytest.approx(0.05, rel=1e-4)


def test_half_precision_is_inside_the_decoder_alone() -> None:
    wave, eps = 0.1 * normal(0, 1, 12 * HOP), normal(1, 1, 12 * HOP)
    weight = torch.full((1, 1), 0.5)
    kinds: list[torch.dtype] = []

    def predict(noisy: Tensor, cond: Tensor, at: Tensor) -> Tensor:
        out = noisy[..., None] @ weight
        kinds.append(out.dtype)
        return out[..., 0]

    level = torch.tensor([[0.8]])
    found = decoder_losses(predict, wave, wave, level, eps, FILTERS, torch.bfloat16)
    assert kinds == [torch.bfloat16]
    assert all(value.dtype == torch.float32 for value in found.values())


def test_the_front_ends_losses_are_of_each_clips_own_frames(data: Dataset) -> None:
    model = tiny_model()
    head = MelHead(model.config.cond_channels)
    rows = torch.tensor(data.by_length)
    found = front_end_losses(model, head, data, rows, FILTERS)
    hidden, duration = hear_text(model, data, rows)
    wave = waves(data, rows, torch.zeros_like(rows), hidden.shape[-1])
    errors = (head(hidden) - log_mel(wave, FILTERS)).abs()
    frames = [data.frame_counts[row] for row in data.by_length]
    own = torch.cat([error[:, :count].flatten() for error, count in zip(errors, frames)])  # noqa: B905
    assert len(own) == MELS * sum(frames)
    assert float(found["mel"].detach()) == pytest.approx(float(own.mean().detach()), rel=1e-5)
    assert float(found["duration"].detach()) == float(duration.detach())


def test_durations_are_judged_in_seconds_of_spoken_symbols(data: Dataset) -> None:
    model = tiny_model()
    rows = torch.tensor([0, 1])
    with torch.no_grad():
        hidden, found = hear_text(model, data, rows)
        assert hidden.shape == (2, model.config.cond_channels, max(data.frame_counts))
        memory = model.memory(data.text, data.lengths, data.speaker)
        seconds = model.resampling.duration_predictor(memory, data.lengths)
    errors = [
        float(seconds[row, i] - data.durations[row, i] * HOP / SAMPLE_RATE_HZ) ** 2
        for row in range(2)
        for i in range(data.symbol_counts[row])
    ]
    assert float(found) == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_losses_are_weighed_by_name_and_one_without_a_weight_counts_whole() -> None:
    parts = {"noise": torch.tensor(2.0), "spectral": torch.tensor(3.0), "mel": torch.tensor(5.0)}
    assert float(weigh(parts, {"spectral": 0.1, "mel": 0.0, "x0_mel": 7.0})) == pytest.approx(2.3)
