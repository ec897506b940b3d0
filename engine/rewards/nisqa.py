"""NISQA v2: predicted quality of speech in five dimensions, a judge (weights CC BY-NC-SA 4.0).

Mittag et al., "NISQA: A Deep CNN-Self-Attention Model for Multidimensional Speech Quality
Prediction with Crowdsourced Datasets" (2021), as `torchmetrics` computes it. Its weights may
not be used commercially, so they are never part of this project: they lie where torchmetrics
looks for them, and nothing here lets it download them by itself.
"""

from __future__ import annotations

import urllib.request
from pathlib import Path

import torch
from torch import Tensor

from engine.messages import Column
from engine.rewards import weights
from engine.rewards.base import ScoreError
from engine.rewards.weights import WeightsError, WeightsFile

FILE = WeightsFile(
    "nisqa",
    "nisqa.tar",
    "https://raw.githubusercontent.com/gabrielmittag/NISQA/"
    "fe84f0f252abec382b24367d5b22498a7ce34dbb/weights/nisqa.tar",
    1_051_663,
    "7ec4cf937514dd3f8860b21e66fabd8ca87a168572675ef8d979c4c4ad2e805c",
)
"""A zip file of torch's, for all its name."""

FOLDER = "~/.torchmetrics/NISQA"
"""Where torchmetrics looks; it downloads without a word what is not there."""

SHORTEST = 4096
"""Audio samples, 186 ms: one Fourier transform."""

LONGEST_SECONDS = 52
"""1,300 windows, one every 40 ms, is what the network takes."""


class NISQA:
    """Five columns, on the CPU; in all of them more is better, noisiness too."""

    name = "nisqa"
    columns = (
        Column("nisqa", "MOS 1-5", True, 1.0, 5.0),
        Column("nisqa_noisiness", "MOS 1-5", True, 1.0, 5.0),
        Column("nisqa_discontinuity", "MOS 1-5", True, 1.0, 5.0),
        Column("nisqa_coloration", "MOS 1-5", True, 1.0, 5.0),
        Column("nisqa_loudness", "MOS 1-5", True, 1.0, 5.0),
    )
    sample_rate_hz = 22050
    """The voices' own rate: it takes any, and resampling would move its scores."""
    differentiable = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Loads the weights.

        Raises:
            WeightsError: they are not there, or not what was published.
        """
        del device  # torchmetrics computes its spectra and keeps its network on the CPU.
        if why := missing():
            raise WeightsError(why)
        from torchmetrics.functional.audio.nisqa import non_intrusive_speech_quality_assessment

        self._assess = non_intrusive_speech_quality_assessment
        # It loads at the first call, and draws random weights from everybody's generator first.
        with torch.random.fork_rng(devices=[]):
            self._assess(torch.zeros(SHORTEST), self.sample_rate_hz)

    def __call__(self, waves: Tensor, texts: tuple[str, ...] = ()) -> Tensor:
        """Returns MOS (B, 5) for waves (B, S), in the columns' order.

        Raises:
            ScoreError: shorter than 186 ms, longer than 52 s, or a row that is silent
                throughout: the network would rate the silence above a noisy voice.
        """
        del texts
        samples, hz = waves.shape[-1], self.sample_rate_hz
        if not SHORTEST <= samples <= LONGEST_SECONDS * hz:
            raise ScoreError(
                f"it is {samples / hz:.2f} s long, and NISQA takes {SHORTEST / hz:.2f} s "
                f"to {LONGEST_SECONDS} s"
            )
        if not bool(waves.abs().amax(-1).gt(0.0).all()):
            raise ScoreError("it is silent throughout")
        return self._assess(waves.detach().to("cpu", torch.float32), hz)


def path() -> Path:
    return Path(FOLDER).expanduser() / FILE.name


def missing() -> str:
    """Why there is no NISQA here, in one sentence; empty where its weights are, and whole."""
    if not path().is_file():
        return (
            f"NISQA has no weights here; fetch them ({FILE.megabytes}, CC BY-NC-SA 4.0: not for "
            f"commercial use) with: {weights.command(FILE)}, or put {FILE.name} from "
            f"{FILE.address} into the folder {path().parent}"
        )
    try:
        weights.check(path(), FILE)
    except WeightsError as error:
        return str(error)
    return ""


def fetch(
    source: Path | None,
    on_progress: weights.Progress,
    file: WeightsFile | None = None,
    handler: urllib.request.BaseHandler | None = None,
) -> Path:
    """The weights where torchmetrics looks; arguments and errors as `utmos_weights.fetch`."""
    file, target = file or FILE, path()
    if source is not None:
        weights.keep(file, target, source)
        return target
    try:
        weights.check(target, file)
    except WeightsError:
        weights.fetch(file, target, on_progress, handler)
    return target
