"""Spectra of waveforms, and distances between them that can be trained on. Pure functions.

Knows no model and no corpus; the sampling rate is given.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.types import HOP

MELS = 80
MEL_WINDOW = 1024
"""Audio samples of one log-mel frame's window."""
RESOLUTIONS = (256, 512, 1024)
"""Audio samples of the windows that a spectral distance is taken over; the hop is a quarter."""
QUEFRENCIES = 24
"""Cepstral coefficients of an envelope: as many as tell formants apart, too few for the harmonics
of a pitch."""
FLOOR = 1e-3
"""Magnitude below which nothing is heard: what lies under it has no distance and no gradient."""


def mel_filters(device: torch.device, hz: int, n_fft: int = MEL_WINDOW) -> Tensor:
    """(n_fft / 2 + 1, 80) triangles on the mel scale (HTK's, 2595 log10(1 + f / 700))."""
    edges = torch.linspace(0, 2595 * math.log10(1 + hz / 2 / 700), MELS + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    f = torch.linspace(0, hz / 2, n_fft // 2 + 1)[:, None]
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).to(device)


def log_mel(wave: Tensor, filters: Tensor) -> Tensor:
    """(B, S) -> (B, 80, S / 300) natural log of the mel magnitudes, floored at FLOOR."""
    n_fft = 2 * (len(filters) - 1)
    edge = (n_fft - HOP) // 2
    padded = F.pad(wave, (edge, n_fft - HOP - edge))
    mels = magnitudes(padded, n_fft, HOP).transpose(1, 2) @ filters
    return mels.clamp(min=FLOOR).log().transpose(1, 2)


def magnitudes(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    """(B, S) -> (B, n_fft / 2 + 1, 1 + (S - n_fft) / hop), Hann window.

    Audio shorter than the window gets zeros behind it, and one frame.
    """
    wave = F.pad(wave, (0, max(0, n_fft - wave.shape[-1])))
    window = torch.hann_window(n_fft, device=wave.device)
    spectrum = torch.stft(wave, n_fft, hop, window=window, center=False, return_complex=True)
    return spectrum.abs()


def spectral_distance(wave: Tensor, wanted: Tensor) -> Tensor:
    """(B,) distances of two batches (B, S) of equal length, 0 where they sound alike.

    The mean over RESOLUTIONS of
    mean |log max(A, FLOOR) - log max(B, FLOOR)| + ||A - B||_F / max(||B||_F, 1)
    with A and B the magnitudes: the first term hears what is soft, the second what is loud.

    Source: the multi-resolution STFT loss, arXiv 1910.11480, section 2.2, with a floor in both
    terms, for without one silence alone would decide.
    """
    total = torch.zeros(len(wave), device=wave.device)
    for n_fft in RESOLUTIONS:
        a, b = magnitudes(wave, n_fft, n_fft // 4), magnitudes(wanted, n_fft, n_fft // 4)
        soft = (a.clamp(min=FLOOR).log() - b.clamp(min=FLOOR).log()).abs().mean(dim=(-1, -2))
        norms = torch.linalg.vector_norm(b, dim=(-1, -2)).clamp(min=1.0)
        loud = torch.linalg.vector_norm(a - b, dim=(-1, -2)) / norms
        total = total + soft + loud
    return total / len(RESOLUTIONS)


def envelope(mels: Tensor) -> Tensor:
    """Log-mel frames (B, 80, M) without their pitch, of the same shape.

    The first QUEFRENCIES of a cosine transform over the bands, transformed back.
    """
    band = torch.arange(MELS, device=mels.device) + 0.5
    order = torch.arange(QUEFRENCIES, device=mels.device)
    basis = (math.pi / MELS * band[:, None] * order).cos() * math.sqrt(2 / MELS)
    basis[:, 0] /= math.sqrt(2)
    return basis @ (basis.T @ mels)


def envelope_distance(wave: Tensor, wanted: Tensor, filters: Tensor) -> Tensor:
    """(B,) mean |difference| of the envelopes of two batches (B, S), in nats.

    Filters as given by `mel_filters`. Audio of another pitch may be no distance away.
    """
    apart = envelope(log_mel(wave, filters)) - envelope(log_mel(wanted, filters))
    return apart.abs().mean(dim=(-1, -2))
