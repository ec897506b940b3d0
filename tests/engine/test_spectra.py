from __future__ import annotations

import math

import pytest
import torch

from engine.spectra import (
    FLOOR,
    MELS,
    RESOLUTIONS,
    envelope,
    envelope_distance,
    log_mel,
    magnitudes,
    mel_filters,
    spectral_distance,
)
from engine.types import HOP

CPU = torch.device("cpu")
HZ = 22050


def noise(seed: int, rows: int = 2, samples: int = 4096) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def test_a_tone_lights_the_mel_band_that_holds_it() -> None:
    filters = mel_filters(CPU, HZ)
    assert filters.shape == (513, MELS)
    assert bool((filters >= 0).all())
    n = torch.arange(20 * HOP)
    for hz in (300.0, 1000.0, 4000.0):
        frames = log_mel(torch.sin(2 * math.pi * hz / HZ * n)[None], filters)
        assert frames.shape == (1, MELS, 20)
        band = int(frames[0, :, 10].argmax())
        at = 2595 * math.log10(1 + hz / 700) / (2595 * math.log10(1 + 11025 / 700)) * (MELS + 1)
        assert abs(band - (at - 1)) <= 1


def test_a_log_mel_frame_is_the_fourier_transform_written_out() -> None:
    wave, filters = noise(0, 1, 6 * HOP), mel_filters(CPU, HZ)
    found = log_mel(wave, filters)[0, :, 3].double()
    padded = torch.cat([torch.zeros(362), wave[0], torch.zeros(362)]).double()
    n = torch.arange(1024, dtype=torch.float64)
    piece = padded[3 * HOP : 3 * HOP + 1024] * (0.5 - 0.5 * torch.cos(2 * math.pi * n / 1024))
    angle = 2 * math.pi * torch.arange(513, dtype=torch.float64)[:, None] * n / 1024
    size = ((piece * angle.cos()).sum(1) ** 2 + (piece * angle.sin()).sum(1) ** 2).sqrt()
    expected = (size @ filters.double()).clamp(min=1e-3).log()
    assert torch.allclose(found, expected, atol=1e-4)


def test_silence_is_the_floor() -> None:
    frames = log_mel(torch.zeros(1, 5 * HOP), mel_filters(CPU, HZ))
    assert torch.allclose(frames, torch.full_like(frames, math.log(FLOOR)))


def test_a_window_that_is_longer_than_the_audio_is_one_frame() -> None:
    assert magnitudes(noise(0, 2, 900), 1024, 256).shape == (2, 513, 1)
    assert magnitudes(noise(0, 2, 2048), 1024, 256).shape == (2, 513, 5)


def test_equal_audio_has_no_distance_and_other_audio_some() -> None:
    wave = noise(0)
    assert spectral_distance(wave, wave).tolist() == [0.0, 0.0]
    assert spectral_distance(wave, -wave).tolist() == [0.0, 0.0]  # a phase is not heard
    assert float(spectral_distance(noise(1), wave).min()) > 0.5


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_audio_of_another_loudness_is_as_far_as_the_formula_says(factor: float) -> None:
    """|log factor| + |factor - 1|, where neither the floor nor the least norm is reached."""
    wave = 10 * noise(0, 1)
    for n_fft in RESOLUTIONS:
        assert float(magnitudes(wave, n_fft, n_fft // 4).min()) > 4 * FLOOR
    found = float(spectral_distance(factor * wave, wave).mean())
    assert found == pytest.approx(abs(math.log(factor)) + abs(factor - 1), rel=1e-4)


def test_each_clip_of_a_batch_weighs_alike() -> None:
    a, b = noise(0, 3), noise(1, 3)
    alone = [float(spectral_distance(x[None], y[None])) for x, y in zip(a, b, strict=True)]
    assert spectral_distance(a, b).tolist() == pytest.approx(alone, rel=1e-5)


def test_what_lies_under_the_floor_is_not_told_apart() -> None:
    assert float(spectral_distance(1e-9 * noise(0), torch.zeros(2, 4096)).max()) < 1e-6


@pytest.mark.parametrize("wanted", [torch.zeros(1, 4096), noise(3, 1)], ids=["silence", "noise"])
@pytest.mark.parametrize("heard", [torch.zeros(1, 4096), noise(3, 1)], ids=["silence", "noise"])
def test_the_gradient_is_finite_at_silence_and_at_the_goal(
    heard: torch.Tensor, wanted: torch.Tensor
) -> None:
    wave = heard.clone().requires_grad_()
    filters = mel_filters(CPU, HZ)
    padded = torch.nn.functional.pad(wave, (0, 104))
    mel = (log_mel(padded, filters) - 1).abs().mean()
    (spectral_distance(wave, wanted).mean() + mel).backward()
    assert wave.grad is not None
    assert bool(wave.grad.isfinite().all())


def test_following_the_gradient_brings_the_audio_nearer() -> None:
    wanted, wave = noise(0, 1), noise(1, 1).requires_grad_()
    before = spectral_distance(wave, wanted).mean()
    (slope,) = torch.autograd.grad(before, wave)
    with torch.no_grad():
        after = spectral_distance(wave - 0.01 * slope / slope.norm(), wanted).mean()
    assert float(after) < float(before.detach())


# --- envelopes ------------------------------------------------------------------


def vowel(pitch: float, formants: tuple[float, ...]) -> torch.Tensor:
    """(1, S) a sum of harmonics of `pitch` Hz, louder near the formants."""
    n = torch.arange(24 * HOP, dtype=torch.float64)
    total = torch.zeros_like(n)
    for k in range(1, int(HZ / 2 / pitch)):
        hz = k * pitch
        loud = 0.02 + sum(math.exp(-(((hz - f) / (150 + 0.1 * f)) ** 2)) for f in formants)
        total += loud * pitch / 100 * torch.sin(2 * math.pi * hz / HZ * n + k * k)
    return (0.05 * total).float()[None]


def test_an_envelope_hears_the_vowel_and_not_the_pitch() -> None:
    filters = mel_filters(CPU, HZ)
    a, higher = vowel(110, (700, 1200, 2600)), vowel(150, (700, 1200, 2600))
    other = vowel(110, (300, 2300, 3000))
    as_pitch = float(envelope_distance(a, higher, filters))
    as_vowel = float(envelope_distance(a, other, filters))
    assert as_vowel > 4 * as_pitch
    bands = (log_mel(a, filters) - log_mel(higher, filters)).abs().mean()
    assert float(bands) > 2 * as_pitch  # the log-mel itself hears both


def test_an_envelope_is_what_the_first_cepstral_coefficients_say() -> None:
    mels = log_mel(noise(0), mel_filters(CPU, HZ))
    smooth = envelope(mels)
    assert smooth.shape == mels.shape
    assert torch.allclose(envelope(smooth), smooth, atol=1e-4)  # nothing more to take away
    assert torch.allclose(smooth.mean(1), mels.mean(1), atol=1e-4)  # nor is the level changed
    assert float((mels - smooth).std()) > 0.05


def test_envelopes_of_another_loudness_are_as_far_apart_as_its_logarithm() -> None:
    filters, wave = mel_filters(CPU, HZ), 5 * noise(0, 1)
    assert float(envelope_distance(wave, wave, filters)) == 0
    found = float(envelope_distance(2 * wave, wave, filters)[0])
    assert found == pytest.approx(math.log(2), rel=1e-3)
