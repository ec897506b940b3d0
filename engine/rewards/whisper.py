"""Word and character error rates by Whisper, a larger recogniser than the bundled one.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), through
the optional package `faster-whisper`; both are MIT. Nothing is downloaded but by `fetch`.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from engine.messages import Column
from engine.rewards.intelligibility import error_rates
from engine.rewards.weights import Progress, WeightsError

VARIABLE = "DLPO_TUI_WHISPER"
"""Environment variable: a size of faster-whisper's, or the folder of a converted model."""

USUAL = "base.en"
"""The size that is taken where the variable names none: 74 M parameters, English alone."""


class Whisper:
    """One transcript a clip, two columns."""

    name = "whisper"
    columns = (
        Column("whisper_wer", "share of words", False, 0.0, 1.0),
        Column("whisper_cer", "share of characters", False, 0.0, 1.0),
    )
    sample_rate_hz = 16_000
    differentiable = False

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Loads the model.

        Raises:
            WeightsError: it is not on this machine.
        """
        from faster_whisper import WhisperModel

        device = torch.device(device)
        self._recogniser = WhisperModel(
            str(path()),
            device="cuda" if device.type == "cuda" else "cpu",
            device_index=device.index or 0,
            cpu_threads=torch.get_num_threads(),
            local_files_only=True,
        )

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        """Returns (B, 2) float32: word and character error rate, 0 is best, above 1 happens.

        Raises:
            ScoreError: a text without words.
        """
        return torch.tensor(
            [error_rates(text, self.transcribe(w)) for w, text in zip(waves, texts, strict=True)]
        )

    def transcribe(self, wave: Tensor) -> str:
        """Returns what Whisper hears in wave (S,) at 16 kHz; the same for the same clip.

        Noise and silence may be heard as a sentence.
        """
        # Its own default tries again at higher temperatures, and there it draws at random.
        segments, _ = self._recogniser.transcribe(
            wave.detach().to("cpu", torch.float32).numpy(),
            language="en",
            temperature=0.0,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments).strip()


def path() -> Path:
    """The folder of the model that `DLPO_TUI_WHISPER` names, or of the usual one.

    Raises:
        WeightsError: it is not on this machine, or there is no such model.
    """
    chosen = _chosen()
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        from faster_whisper import download_model

        try:
            folder = Path(download_model(chosen, local_files_only=True))
        except OSError as error:  # What its hub raises for a model that was never fetched.
            raise WeightsError(_absent(chosen)) from error
        except ValueError as error:
            raise WeightsError(
                f"{VARIABLE} names {chosen!r}, which is neither a folder nor a size of "
                f"faster-whisper's, such as {USUAL}"
            ) from error
    if not (folder / "model.bin").is_file():
        raise WeightsError(f"{folder} holds no whole Whisper model; {_absent(chosen)}")
    return folder


def missing() -> str:
    """Why there is no Whisper here, in one sentence; empty where its model is."""
    try:
        path()
    except WeightsError as error:
        return str(error)
    return ""


def fetch(source: Path | None, on_progress: Progress) -> Path:
    """Downloads the model that `DLPO_TUI_WHISPER` names, or the usual one; returns its folder.

    faster-whisper does not say how far it is, so `on_progress` is never called.

    Raises:
        WeightsError: it cannot be had, or a source is named, which is not how it comes.
    """
    del on_progress
    if source is not None:
        raise WeightsError(
            f"a Whisper model is a folder, not a file: name it in {VARIABLE} instead of --from"
        )
    if not missing():
        return path()
    from faster_whisper import download_model

    chosen = _chosen()
    try:
        return Path(download_model(chosen))
    except Exception as error:  # The hub's client, its transport and its disk have errors each.
        raise WeightsError(
            f"Whisper {chosen} cannot be fetched ({' '.join(str(error).split())}); get its "
            f"folder by another way and name it in {VARIABLE}"
        ) from error


def _chosen() -> str:
    return os.environ.get(VARIABLE) or USUAL


def _absent(chosen: str) -> str:
    return (
        f"Whisper {chosen} is not on this machine; fetch it with: dlpo-tui fetch whisper, or "
        f"name the folder of a converted model in {VARIABLE}"
    )
