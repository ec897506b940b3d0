"""What is seen of a sound agrees with what it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dlpo_tui.widgets import sound_picture
from dlpo_tui.widgets.sound_picture import FLOOR, HOP, MELS, levels, log_mel, outline, resized
from engine import spectra

RATE = 22050


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


def dots(rows: list[str]) -> np.ndarray:
    """Braille rows as the dots they show, (4 rows, 2 columns) a cell."""
    bits = [[ord(c) - 0x2800 for c in row] for row in rows]
    grid = np.zeros((len(rows) * 4, len(rows[0]) * 2), bool)
    for y, row in enumerate(bits):
        for x, cell in enumerate(row):
            for dy in range(4):
                for dx in range(2):
                    grid[y * 4 + dy, x * 2 + dx] = bool(cell & sound_picture.DOTS[dy, dx])
    return grid


def test_the_outline_holds_the_extremes_of_every_column() -> None:
    wave = np.random.default_rng(1).uniform(-1, 1, 5000)
    grid = dots(outline(wave, 1.0, 20, 4))
    for column, part in enumerate(np.split(wave, 40)):
        lit = np.flatnonzero(grid[:, column])
        assert lit[0] == round(7.5 - part.max() * 7.5)
        assert lit[-1] == round(7.5 - part.min() * 7.5)
        assert len(lit) == lit[-1] - lit[0] + 1


def test_silence_is_a_line_in_the_middle_and_a_short_clip_is_no_error() -> None:
    assert set(dots(outline(np.zeros(1000), 0.0, 10, 2)).sum(0)) == {1}
    assert len(outline(np.ones(3), 1.0, 30, 3)) == 3


def test_a_tone_stands_in_its_band() -> None:
    edges = np.linspace(0, 2595 * math.log10(1 + RATE / 2 / 700), MELS + 2)
    hz = 700 * (10 ** (edges / 2595) - 1)
    for band in (10, 40, 70):
        mel = log_mel(tone(hz[band + 1]), RATE)
        assert mel.shape == (MELS, 1 + RATE // HOP)
        assert int(mel[:, 40].argmax()) == band


def test_the_spectrogram_is_the_engines_but_for_its_hop() -> None:
    filters = spectra.mel_filters(torch.device("cpu"), RATE).numpy()
    np.testing.assert_allclose(sound_picture.mel_filters(RATE), filters, atol=2e-5)


def test_silence_is_at_the_floor_and_has_the_first_level() -> None:
    mel = log_mel(np.zeros(RATE), RATE)
    assert np.all(mel == math.log(FLOOR))
    assert {level for row in levels(mel, 3.0, 10, 6, 24) for level in row} == {0}


def test_the_loudest_has_the_last_level_and_low_bands_stand_below() -> None:
    mel = np.full((MELS, 50), math.log(FLOOR))
    mel[:20, :25] = 2.0
    rows = levels(mel, 2.0, 10, 4, 24)
    assert rows[3] == [23] * 5 + [0] * 5
    assert rows[:3] == [[0] * 10] * 3


@pytest.mark.parametrize(("size", "count"), [(10, 3), (3, 10), (7, 7), (80, 1)])
def test_resizing_keeps_the_mean_of_what_it_joins(size: int, count: int) -> None:
    values = np.arange(float(size))[None]
    got = resized(values, count, 1)
    assert got.shape == (1, count)
    assert np.all(np.diff(got) >= 0)
    assert got.min() >= 0
    assert got.max() <= size - 1


def test_two_channels_are_one(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(300), -tone(300)], 1), RATE, subtype="FLOAT")
    picture = sound_picture.read(path)
    assert picture.seconds == 1.0
    assert picture.peak == pytest.approx(0.0, abs=1e-6)


def test_a_file_that_cannot_be_seen_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.flac").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    for name, told in (
        ("gone.flac", "there is no file at "),
        ("text.flac", "this file cannot be read as audio: "),
        ("empty.wav", "this file holds no sound: "),
    ):
        with pytest.raises(ValueError, match=f"^{told}.*{name}$"):
            sound_picture.read(tmp_path / name)
