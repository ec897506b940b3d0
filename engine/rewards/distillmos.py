"""DistillMOS: predicted mean opinion score of speech, 16 kHz, 4.1 M parameters (MIT).

Stahl and Gamper, "Distillation and Pruning for Scalable Self-Supervised Representation-Based
Speech Quality Assessment" (2025). The network and its weights come with the `distillmos`
package; what stands between the waveform and the network is written here once more, because
the package's own has no gradient wherever the waveform is digitally silent, and it fills
every clip under 7.68 s up with silence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine import audio
from engine.messages import Column
from engine.rewards.base import ScoreError

SEGMENT = 122_880
"""Audio samples that the network takes, 7.68 s: shorter clips end in zeros, longer are cut."""

SEGMENT_HOP = 16_000
"""The most audio samples between the starts of two segments of a longer clip."""

WINDOW = 320
HOP = 160

POWER_FLOOR = 1e-24
"""Of a spectral bin, as the package has it: magnitude 1e-12."""


class DistillMOS:
    """One forward for scores and gradients; equal to the package's within rounding."""

    name = "distillmos"
    columns = (Column("distillmos", "MOS 1-5", True, 1.0, 5.0),)
    sample_rate_hz = 16_000
    differentiable = True

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._network = _load().to(self.device)
        # On a CPU a segment's activations (31 MB a layer) leave the cache: one is as fast as many.
        self._segments_at_once = 1 if self.device.type == "cpu" else 32

    def __call__(self, waves: Tensor, texts: tuple[str, ...] = ()) -> Tensor:
        """Returns MOS (B, 1) on the model's device for waves (B, S); differentiable.

        A clip of more than 7.68 s is the mean over overlapping segments.

        Raises:
            ScoreError: shorter than one window of 20 ms, or a row that is silent throughout:
                the network would rate the silence 1.97, above a noisy voice.
        """
        del texts
        if waves.shape[-1] < WINDOW:
            raise ScoreError(
                f"it is {waves.shape[-1]} audio samples long at {self.sample_rate_hz} Hz, "
                f"and DistillMOS needs {WINDOW} ({1000 * WINDOW // self.sample_rate_hz} ms)"
            )
        waves = waves.to(self.device, torch.float32)
        if not bool(waves.abs().amax(-1).gt(0.0).all()):
            raise ScoreError("it is silent throughout")
        segments = _segments(waves)
        count = segments.shape[0]
        scores = torch.cat(
            [
                self._network(_compressed_spectrum(part))
                for part in segments.flatten(0, 1).split(self._segments_at_once)
            ]
        )
        return 1.0 + 4.0 * scores.view(count, -1).mean(0)[:, None]


class _Network(nn.Module):
    """The package's trained layers: spectra (B, 2, 161, N) -> (B,) in [0, 1]."""

    def __init__(self, convolutions: nn.Module, transformer: nn.Module) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.transformer = transformer

    def forward(self, spectra: Tensor) -> Tensor:
        features = self.convolutions(spectra).flatten(1, 2).transpose(1, 2)
        scores: Tensor = self.transformer(features)
        return scores


def _load() -> _Network:
    """The network with its weights, frozen, in eval mode.

    The package loads them itself only together with a line on stdout, which a terminal
    application cannot have.
    """
    audio.import_torchaudio()  # The package imports torchaudio, which may need its stand-in.
    from distillmos import ConvTransformerSQAModel
    from distillmos.sqa import DEFAULT_WEIGHTS_CHKPT

    whole = ConvTransformerSQAModel(load_weights=False)
    checkpoint = torch.load(DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True)
    whole.load_state_dict(checkpoint["model"])
    network = _Network(whole.cnn.cnn, whole.transformer_pool_attn)
    network.eval().requires_grad_(False)
    return network


def _segments(waves: Tensor) -> Tensor:
    """(B, S) -> (N, B, 122880), each segment scaled to a peak of 1.

    N segments, evenly spread from the clip's start to its end, at most a second apart.
    """
    over = waves.shape[-1] - SEGMENT
    if over <= 0:
        parts = F.pad(waves, (0, -over))[None]
    else:
        last = math.ceil(over / SEGMENT_HOP)
        starts = [int(i * (1.0 / last) * over) if i < last else over for i in range(last + 1)]
        parts = torch.stack([waves[:, start : start + SEGMENT] for start in starts])
    return parts / (parts.abs().amax(-1, keepdim=True) + 1e-8)


def _compressed_spectrum(segments: Tensor) -> Tensor:
    """Z |Z|^-0.7 of the short-time Fourier transform Z; (B, S) -> (B, 2, 161, S / 160).

    The floor lies on |Z|^2, not on |Z|: the root has no gradient at 0, where every padded
    clip has its padding.
    """
    margin = (WINDOW - HOP) // 2
    spectrum = torch.stft(
        F.pad(segments, (margin, margin), mode="reflect"),
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW, device=segments.device),
        center=False,
        return_complex=True,
    )
    parts = torch.view_as_real(spectrum)
    power = parts.square().sum(-1, keepdim=True)
    compressed = parts * power.clamp(min=POWER_FLOOR) ** -0.35
    return compressed.permute(0, 3, 1, 2)
