"""DNSMOS P.835: predicted quality of speech, of its background and overall, a judge (MIT).

Reddy et al., "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to
Evaluate Noise Suppressors" (2022). The networks come with the `speechmos` package; ONNX
Runtime computes them on the CPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.messages import Column
from engine.rewards.base import ScoreError

SHORTEST = 800
"""Audio samples, 50 ms. A clip is repeated up to 9.01 s: with less it would become a tone."""


class DNSMOS:
    """Four columns of one clip after another."""

    name = "dnsmos"
    columns = (
        Column("dnsmos", "MOS 1-5", True, 1.0, 5.0),
        Column("dnsmos_sig", "MOS 1-5", True, 1.0, 5.0),
        Column("dnsmos_bak", "MOS 1-5", True, 1.0, 5.0),
        Column("dnsmos_p808", "MOS 1-5", True, 1.0, 5.0),
    )
    sample_rate_hz = 16_000
    differentiable = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        del device
        import onnxruntime
        from speechmos import dnsmos

        networks = Path(dnsmos.__file__).parent / "dnsmos_models"
        names = [str(networks / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
        self._assess = dnsmos.DNSMOS(*names)
        # The package would take every core, whatever the profile says.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._assess.onnx_sess, self._assess.p808_onnx_sess = (
            onnxruntime.InferenceSession(name, options) for name in names
        )
        # librosa imports what it needs, for seconds, at the first use: not at the first clip.
        self._assess.audio_melspec(np.ones(SHORTEST, np.float32))

    def __call__(self, waves: Tensor, texts: tuple[str, ...] = ()) -> Tensor:
        """Returns MOS (B, 4) for waves (B, S): overall, speech, background, P.808's overall.

        What lies outside [-1, 1] is clipped, as in a file. A clip is doubled until it fills a
        window of 9.01 s; a score is the mean over the windows that start a second apart.

        Raises:
            ScoreError: shorter than 50 ms, or a row that is silent throughout: the networks
                would rate the silence above a noisy voice.
        """
        del texts
        if waves.shape[-1] < SHORTEST:
            raise ScoreError(
                f"it is {waves.shape[-1]} audio samples long at {self.sample_rate_hz} Hz, "
                f"and DNSMOS needs {SHORTEST} ({1000 * SHORTEST // self.sample_rate_hz} ms)"
            )
        if not bool(waves.abs().amax(-1).gt(0.0).all()):
            raise ScoreError("it is silent throughout")
        rows = waves.detach().to("cpu", torch.float32).clamp(-1.0, 1.0).numpy()
        return torch.tensor([self._row(row) for row in rows])

    def _row(self, wave: np.ndarray) -> list[float]:
        told = self._assess(wave, self.sample_rate_hz, False)
        return [float(told[f"{key}_mos"]) for key in ("ovrl", "sig", "bak", "p808")]
