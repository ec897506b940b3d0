"""What there is to see of a sound: its outline and its log-mel spectrogram; knows no widget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

MELS, WINDOW, HOP = 80, 1024, 256
"""Bands; audio samples of a frame and between frames."""
FLOOR = 1e-3
"""Magnitude below which nothing is heard."""
RANGE = 7.0
"""Nepers (60 dB) below the loudest band down to which a spectrogram has colour."""
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of a braille character by dot row and dot column."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One file, read."""

    rate: int
    """Hz"""
    wave: Array
    """(S,) mono, full scale 1."""
    mel: Array
    """(80, F) natural log of the mel magnitudes, the lowest band first."""

    @property
    def seconds(self) -> float:
        return len(self.wave) / self.rate

    @property
    def peak(self) -> float:
        return float(np.abs(self.wave).max(initial=0.0))

    @property
    def loudest(self) -> float:
        return float(self.mel.max(initial=math.log(FLOOR)))


def read(path: Path) -> Picture:
    """The picture of an audio file; ValueError, one sentence, where there is none to be had."""
    import soundfile

    if not path.is_file():
        raise ValueError(f"there is no file at {path}")
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (OSError, RuntimeError):  # soundfile's errors are RuntimeErrors
        raise ValueError(f"this file cannot be read as audio: {path}") from None
    wave = np.nan_to_num(samples.mean(axis=1))
    if not len(wave):
        raise ValueError(f"this file holds no sound: {path}")
    return Picture(rate, wave, log_mel(wave, rate))


def log_mel(wave: Array, rate: int) -> Array:
    """(S,) -> (80, F), F = 1 + S // HOP; Hann window, frames centred."""
    padded = np.pad(wave, WINDOW // 2)
    padded = np.pad(padded, (0, max(WINDOW - len(padded), 0)))
    frames = sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    mels = np.abs(np.fft.rfft(frames)) @ mel_filters(rate)
    logs: Array = np.log(np.maximum(mels, FLOOR)).T
    return logs


def mel_filters(rate: int) -> Array:
    """(WINDOW / 2 + 1, 80) triangles on the mel scale (HTK's, 2595 log10(1 + f / 700))."""
    edges = np.linspace(0, 2595 * math.log10(1 + rate / 2 / 700), MELS + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    f = np.linspace(0, rate / 2, WINDOW // 2 + 1)[:, None]
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    filters: Array = np.clip(np.minimum(rising, falling), 0, None)
    return filters


def outline(wave: Array, peak: float, width: int, rows: int) -> list[str]:
    """Rows of braille: in each dot column the wave from its lowest to its highest sample.

    `peak` reaches the upper and the lower edge; silence is a line in the middle.
    """
    dots = rows * 4
    starts = np.arange(2 * width) * len(wave) // (2 * width)
    high, low = np.maximum.reduceat(wave, starts), np.minimum.reduceat(wave, starts)
    scale = (dots - 1) / 2 / max(peak, 1e-6)
    top = np.rint((dots - 1) / 2 - high * scale)
    bottom = np.rint((dots - 1) / 2 - low * scale)
    at = np.arange(dots)[:, None]
    filled = (at >= top) & (at <= np.maximum(bottom, top))
    cells = filled.reshape(rows, 4, width, 2) * DOTS[None, :, None, :]
    return ["".join(chr(0x2800 + bits) for bits in row) for row in cells.sum(axis=(1, 3)).tolist()]


def levels(mel: Array, loudest: float, width: int, rows: int, count: int) -> list[list[int]]:
    """(rows, width) of 0 .. count - 1, the highest band first; `loudest` is the last level."""
    # Means of magnitudes, not of their logarithms: a few soft frames must not hide a loud one.
    pooled = np.log(resized(resized(np.exp(mel), rows, 0), width, 1))[::-1]
    share = np.clip((pooled - loudest) / RANGE + 1, 0, 1)
    told: list[list[int]] = np.rint(share * (count - 1)).astype(int).tolist()
    return told


def resized(values: Array, count: int, axis: int) -> Array:
    """`count` means of neighbours along an axis, or its values repeated where there are fewer."""
    size = values.shape[axis]
    starts = np.arange(count) * size // count
    if size <= count:
        repeated: Array = values.take(starts, axis)
        return repeated
    spans = np.diff([*starts, size])
    shape = [-1 if at == axis else 1 for at in range(values.ndim)]
    means: Array = np.add.reduceat(values, starts, axis) / spans.reshape(shape)
    return means
