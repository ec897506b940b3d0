from __future__ import annotations

import pytest
import torch

from engine import audio, levels

HZ = 22050


def tone(peak: float, hz: float = 997.0, seconds: float = 1.0) -> torch.Tensor:
    t = torch.arange(int(HZ * seconds)) / HZ
    return peak * torch.sin(2 * torch.pi * hz * t)


def test_clips_of_any_level_and_length_become_equally_loud() -> None:
    made = levels.matched([tone(0.5), tone(0.01, 300.0, 0.3), tone(0.2, 3000.0, 2.0)], HZ)
    loud = [float(audio.loudness_lufs(wave, HZ)) for wave in made]
    assert loud == pytest.approx([levels.TARGET_LUFS] * 3, abs=1e-3)
    assert [len(wave) for wave in made] == [22050, 6615, 44100]


def test_a_clip_with_a_high_peak_makes_all_softer_and_none_is_distorted() -> None:
    click = tone(0.001)
    click[5000] = 0.9
    made = levels.matched([click, tone(0.5)], HZ)
    loud = [float(audio.loudness_lufs(wave, HZ)) for wave in made]
    assert loud[0] == pytest.approx(loud[1], abs=1e-3)
    assert loud[0] < levels.TARGET_LUFS
    assert float(made[0].abs().max()) == pytest.approx(levels.PEAK, abs=1e-6)


def test_silence_stays_silence() -> None:
    silent, other = levels.matched([torch.zeros(HZ), tone(0.5)], HZ)
    assert torch.equal(silent, torch.zeros(HZ))
    assert float(audio.loudness_lufs(other, HZ)) == pytest.approx(levels.TARGET_LUFS, abs=1e-3)
