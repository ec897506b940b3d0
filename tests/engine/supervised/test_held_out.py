from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.data import SAMPLE_RATE_HZ
from engine.diffusion.schedule import build
from engine.profile import ScheduleSpec
from engine.spectra import mel_filters
from engine.supervised.conditioning import condition_all
from engine.supervised.dataset import Dataset
from engine.supervised.held_out import (
    BANDS_DB,
    judge_chain,
    judge_decoder,
    judge_each,
    judge_front_end,
)
from engine.supervised.objective import MelHead, front_end_losses
from tests.voices import tiny_model

FILTERS = mel_filters(torch.device("cpu"), SAMPLE_RATE_HZ)


class Silent(nn.Module):
    """Predicts no noise at all: its error is that of the noise, whatever the level."""

    def predict_noise(self, x_t: Tensor, cond: Tensor, level: Tensor) -> Tensor:
        return torch.zeros_like(x_t)


def test_a_decoder_is_judged_at_each_level(data: Dataset) -> None:
    model = tiny_model()
    cond = condition_all(model, data)
    found = judge_decoder(model.decoder, cond, data, FILTERS, 8)
    assert list(found.bands) == [f"{db} dB" for db in BANDS_DB]
    assert found.loss == pytest.approx(sum(found.bands.values()) / len(BANDS_DB))
    assert found == judge_decoder(model.decoder, cond, data, FILTERS, 8)
    silent = judge_decoder(Silent(), cond, data, FILTERS, 8)  # type: ignore[arg-type]
    expected = (2 / torch.pi) ** 0.5  # mean |eps|
    assert all(value == pytest.approx(expected, abs=0.02) for value in silent.bands.values())
    assert silent.spectral is not None
    assert silent.spectral > 0


def test_a_chain_is_judged_by_the_same_noise_every_time(data: Dataset) -> None:
    model, chain = tiny_model(), build(ScheduleSpec("snr", timesteps=3))
    cond = condition_all(model, data)
    found = judge_chain(model.decoder, cond, data, FILTERS, 8, chain)
    assert found == judge_chain(model.decoder, cond, data, FILTERS, 8, chain)
    assert found != judge_chain(tiny_model(seed=1).decoder, cond, data, FILTERS, 8, chain)
    assert found > 0


def test_a_front_end_is_judged_on_every_frame(data: Dataset) -> None:
    model = tiny_model()
    head = MelHead(model.config.cond_channels)
    found = judge_front_end(model, head, data, FILTERS)
    with torch.no_grad():
        whole = front_end_losses(model, head, data, torch.tensor(data.by_length), FILTERS)
    assert found.loss == pytest.approx(float(whole["mel"]), rel=1e-5)
    assert (found.bands, found.spectral) == ({}, None)


def test_each_clip_is_judged_by_itself_and_alike_every_time(data: Dataset) -> None:
    model = tiny_model()
    cond = condition_all(model, data)
    found = judge_each(model.decoder, cond, data, 8)
    assert len(found) == len(data.frame_counts)
    assert len(set(found)) == len(found)
    assert found == judge_each(model.decoder, cond, data, 8)
    assert found != judge_each(tiny_model(seed=1).decoder, cond, data, 8)
    longest = max(data.frame_counts)
    silent = judge_each(Silent(), cond, data, 2 * longest)  # type: ignore[arg-type]
    assert silent == pytest.approx([(2 / torch.pi) ** 0.5] * len(found), abs=0.02)
