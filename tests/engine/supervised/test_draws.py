from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from engine.device import generator
from engine.diffusion.schedule import linear
from engine.model.config import SPEECH_RMS
from engine.profile import PretrainProfile
from engine.supervised.dataset import Dataset
from engine.supervised.draws import (
    LOWEST_SIGMA,
    draw,
    draw_clips,
    draw_windows,
    level_of,
    mixed_levels,
    numbers,
    snr_levels,
    snr_of,
)

SPEC = PretrainProfile(batch=8, window_frames=8)


def test_windows_lie_within_their_clip_and_reach_all_of_it(data: Dataset) -> None:
    clips, starts = draw_windows(data, 4000, 8, generator(0))
    room = data.frames - 8
    assert bool((starts >= 0).all())
    assert bool((starts <= room[clips]).all())
    for row in range(2):
        assert int(starts[clips == row].min()) < 4
        assert int(starts[clips == row].max()) > int(room[row]) - 4
    share = float((clips == 0).float().mean())  # every second of speech weighs alike
    assert share == pytest.approx(float(room[0] / room.sum()), abs=0.04)


def test_a_clip_shorter_than_the_window_is_taken_from_its_start(data: Dataset) -> None:
    clips, starts = draw_windows(data, 50, max(data.frame_counts) + 1, generator(0))
    assert not starts.any()
    assert clips.unique().tolist() == [0, 1]


def test_a_batch_is_drawn_by_identity(data: Dataset) -> None:
    one, again, other = (draw(data, SPEC, numbers(data.frames.device, "a", i)) for i in (0, 0, 1))
    for name in ("clips", "starts", "level", "eps"):
        assert torch.equal(getattr(one, name), getattr(again, name))
    assert not torch.equal(one.eps, other.eps)
    assert one.eps.shape == (8, 2400)
    assert one.level.shape == (8, 1)


def test_the_profile_chooses_how_levels_are_drawn(data: Dataset) -> None:
    narrow = replace(SPEC, levels="snr", snr_low_db=3.0, snr_high_db=3.001)
    level = draw(data, narrow, generator(0)).level
    assert torch.allclose(level, level_of(torch.tensor(3.0)), atol=1e-4)
    assert float(draw(data, SPEC, generator(0)).level.std()) > 0.1


def test_whole_clips_of_a_batch_are_of_similar_length() -> None:
    order = (5, 3, 1, 0, 2, 4)
    drawn = {draw_clips(order, 2, generator(i)) for i in range(100)}
    assert drawn == {(5, 3), (3, 1), (1, 0), (0, 2), (2, 4)}
    assert draw_clips(order, 9, generator(0)) == order


def test_levels_are_uniform_in_decibels_and_within_their_range() -> None:
    level = snr_levels(8000, -25.0, 28.0, generator("snr"))
    assert level.shape == (8000, 1)
    a = level.double() ** 2
    db = 10 * (a * SPEECH_RMS**2 / (1 - a)).log10()
    assert float(db.min()) > -25.01
    assert float(db.max()) < 28.05  # fp32 has few digits left so near to 1
    shares = torch.histc(db, 4, -25, 28) / 8000
    assert torch.allclose(shares, torch.full_like(shares, 0.25), atol=0.02)


def test_at_no_decibels_speech_is_as_loud_as_the_noise() -> None:
    level = level_of(torch.tensor(0.0, dtype=torch.float64))
    assert float(level * SPEECH_RMS) == pytest.approx(float((1 - level**2).sqrt()))


@pytest.mark.parametrize("low_noise", [0.0, 0.5, 1.0])
def test_noise_levels_lie_between_speech_and_noise(low_noise: float) -> None:
    level = mixed_levels(4000, low_noise, generator("levels"))
    assert level.shape == (4000, 1)
    assert bool((level > 0).all())
    assert bool((level < 1).all())
    lowest = float((1 - linear(1000)).cumprod(0).sqrt()[-1])
    assert float(level.min()) >= lowest - 1e-5
    sigma = (1 - level.double() ** 2).sqrt()
    below = float((sigma < 0.05).double().mean())  # where speech is louder than the noise
    expected = math.log(0.05 / LOWEST_SIGMA) / math.log(1 / LOWEST_SIGMA)
    assert below == pytest.approx(low_noise * expected + (1 - low_noise) * 0.03, abs=0.03)


@pytest.mark.parametrize("db", [-30.0, 0.0, 28.0])
def test_a_levels_ratio_undoes_the_level_of_a_ratio(db: float) -> None:
    found = snr_of(level_of(torch.tensor([db], dtype=torch.float64)))
    assert found.log10().item() == pytest.approx(db / 10, abs=1e-6)
