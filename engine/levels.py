"""Clips made equally loud, so that the louder of two is not taken for the better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from engine import audio

TARGET_LUFS = -23.0
PEAK = 0.98


def matched(waves: Sequence[Tensor], hz: int) -> list[Tensor]:
    """Waves (S,) of any lengths, all scaled to one loudness (BS.1770-5, LUFS).

    It is TARGET_LUFS, or as much softer as the clip with the highest peak needs to stay within
    PEAK: no clip is distorted, and none stays behind. A silent clip comes back unchanged.
    """
    lufs = [float(audio.loudness_lufs(wave, hz)) for wave in waves]
    rooms = [
        level + 20 * math.log10(PEAK / float(wave.abs().max()))
        for level, wave in zip(lufs, waves, strict=True)
        if math.isfinite(level)
    ]
    target = min([TARGET_LUFS, *rooms])
    return [
        wave * 10 ** ((target - level) / 20) if math.isfinite(level) else wave
        for level, wave in zip(lufs, waves, strict=True)
    ]
