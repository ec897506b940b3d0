"""Clips: files, resampling, level.

One channel everywhere: a wave is (S,) or (..., S) float in [-1, 1]. Knows files and
decibels, nothing of models, prompts or scores.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import soundfile
import torch
from torch import Tensor

from engine.files import replacing

FORMATS = {".flac": "FLAC", ".wav": "WAV"}
"""Suffix of a file -> the container that `write` makes of it."""

BLOCK_SECONDS = 0.4
"""Gating block of BS.1770; blocks overlap by three quarters."""

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
LUFS_OFFSET = -0.691
"""BS.1770-5 equation 2: cancels the K-weighting's gain at 997 Hz."""

MOST_SAMPLES = 1 << 28
"""Of all channels: 1 GiB as floats. A header of a few bytes may claim any number."""

LARGEST_KERNEL = 1 << 24
"""Numbers in the filter that brings one rate to another: 44,101 Hz would need 58 times that."""

_torchaudio_lock = threading.Lock()


class AudioError(ValueError):
    """A clip that cannot be read or written; its message is one sentence for the user."""


def read(path: str | Path) -> tuple[Tensor, int]:
    """Returns the file's wave, (S,) float32 with its channels averaged, and its rate in hz.

    Raises:
        AudioError: no such file, not audio, no samples, too many, or some that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"There is no audio file {path}.")
    try:
        with soundfile.SoundFile(path) as file:
            hz, said = file.samplerate, file.frames * file.channels
            if said > MOST_SAMPLES:
                raise AudioError(
                    f"{path} says it holds {said:,} audio samples; the most that is read at once "
                    f"is {MOST_SAMPLES:,}"
                )
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise AudioError(f"{path} is not audio that can be read: {error}") from error
    if samples.shape[0] == 0:
        raise AudioError(f"{path} holds no audio samples.")
    wave = torch.from_numpy(samples).mean(-1)
    if not bool(torch.isfinite(wave).all()):
        raise AudioError(f"{path} holds audio samples that are not finite numbers.")
    return wave, int(hz)


def write(path: str | Path, wave: Tensor, hz: int) -> None:
    """Writes wave (S,) as 16-bit FLAC or WAV, by the path's suffix; whole or not at all.

    What lies outside [-1, 1] is clipped. The samples are quantised as round(32768 x), so a
    16-bit file that is read and written again stays the same.

    Raises:
        AudioError: another suffix, another shape, no samples, or samples that are not finite.
        OSError: the disk is full or read-only; whatever was at `path` is untouched.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path} must end in {' or '.join(FORMATS)}.")
    if wave.dim() != 1 or wave.numel() == 0:
        raise AudioError(f"{path} needs a wave of shape (S,) with S > 0, not {tuple(wave.shape)}.")
    if not bool(torch.isfinite(wave).all()):
        raise AudioError(f"{path} is not written: the wave holds values that are not finite.")
    scaled = (wave.detach().to("cpu", torch.float64) * 32768.0).round().clamp(-32768.0, 32767.0)
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        scaled.to(torch.int16).numpy(),
        hz,
        format=FORMATS[path.suffix.lower()],
        subtype="PCM_16",
    )
    with replacing(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def resample(wave: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Band-limited resampling; (..., S) -> (..., ceil(S to_hz / from_hz)), differentiable.

    torchaudio's defaults (Hann-windowed sinc, 6 zero crossings, rolloff 0.99), because the
    MOS predictors' authors score with these and another kernel moves their scores.

    Raises:
        AudioError: rates between which the filter would fill the memory.
    """
    if from_hz == to_hz:
        return wave
    shared = math.gcd(from_hz, to_hz)
    if (from_hz // shared) * (to_hz // shared) > LARGEST_KERNEL:
        raise AudioError(
            f"a rate of {from_hz:,} Hz cannot be brought to {to_hz:,} Hz: their common divisor is "
            f"{shared:,}"
        )
    resampled: Tensor = import_torchaudio().functional.resample(wave, from_hz, to_hz)
    return resampled


@functools.cache
def import_torchaudio() -> ModuleType:
    """torchaudio, also where its compiled extension does not load; slow at the first call.

    Next to another build of torch (a CPU-only one, say) the extension raises OSError while
    torchaudio is imported. Resampling, transforms and wav2vec 2.0 are plain torch and work
    without it; `load`, `save` and `forced_align` do not. Every import of torchaudio, also
    by a package that we use, has to come after a call of this.

    Raises:
        ImportError: torchaudio is not installed.
    """
    with _torchaudio_lock:
        try:
            return importlib.import_module("torchaudio")
        except OSError:
            for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
                del sys.modules[name]
            sys.modules["torchaudio._extension"] = _absent_extension()
            return importlib.import_module("torchaudio")


def _absent_extension() -> ModuleType:
    """A `torchaudio._extension` that says it is not available."""

    def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def fail(*_args: object, **_kwargs: object) -> None:
            raise RuntimeError(f"{function.__name__} needs torchaudio's compiled extension")

        return fail

    extension = ModuleType("torchaudio._extension")
    vars(extension).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _load_lib=lambda _name: False,
        fail_if_no_align=fail_if_no_align,
    )
    return extension


def rms_dbfs(wave: Tensor) -> Tensor:
    """10 log10(mean(x^2)) of wave (..., S); (...) float64 dBFS, -inf for silence.

    A full-scale sine is -3.01 dBFS.
    """
    return 10.0 * wave.double().square().mean(-1).log10()


def clipping_share(wave: Tensor, ceiling: float = 0.999) -> Tensor:
    """Share of audio samples with |x| >= ceiling in wave (..., S); (...) float64 in [0, 1]."""
    return (wave.abs() >= ceiling).double().mean(-1)


def loudness_lufs(wave: Tensor, hz: int) -> Tensor:
    """Integrated loudness of wave (..., S), one channel; (...) float64 LUFS.

    ITU-R BS.1770-5, annex 1: K-weighting, mean squares of 0.4 s blocks overlapping by 75 %,
    an absolute gate at -70 LUFS and a relative one 10 LU below what passes it. A clip that
    is shorter than a block counts as one block. -inf where every block is under the gate.
    A 997 Hz sine at 0 dBFS peak reads -3.01 LUFS.

    Raises:
        AudioError: no samples.
    """
    if wave.shape[-1] == 0:
        raise AudioError("A wave without samples has no loudness.")
    weighted = _k_weight(wave.double(), hz)
    block = min(round(BLOCK_SECONDS * hz), wave.shape[-1])
    power = weighted.square().unfold(-1, block, max(1, block // 4)).mean(-1)
    loud = power > _power(ABSOLUTE_GATE_LUFS)
    relative = _gated_mean(power, loud) * 10.0 ** (RELATIVE_GATE_LU / 10.0)
    return LUFS_OFFSET + 10.0 * _gated_mean(power, loud & (power > relative[..., None])).log10()


def normalise_loudness(
    wave: Tensor, hz: int, target_lufs: float = -23.0, peak: float = 0.98
) -> Tensor:
    """Scales each row of wave (..., S) to `target_lufs`; the same shape and dtype.

    A row whose peak would pass `peak` is scaled up to that peak only and stays softer than
    the target: a clip is never distorted to be matched. A silent row comes back unchanged.
    """
    lufs = loudness_lufs(wave, hz)
    gain = 10.0 ** ((target_lufs - lufs) / 20.0)
    limit = peak / wave.abs().amax(-1).double()
    gain = torch.where(torch.isfinite(lufs), torch.minimum(gain, limit), torch.ones_like(gain))
    return wave * gain[..., None].to(wave.dtype)


def _power(lufs: float) -> float:
    """Mean square of a K-weighted block of this loudness; BS.1770-5 equation 4 solved for z."""
    return float(10.0 ** ((lufs - LUFS_OFFSET) / 10.0))


def _gated_mean(power: Tensor, passed: Tensor) -> Tensor:
    """Mean over the blocks (..., J) that passed; (...), 0 where none did."""
    return (power * passed).sum(-1) / passed.sum(-1).clamp(min=1)


def k_weighting(hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(b, a): the K-weighting at any rate as one filter of order 4, each 5 coefficients.

    BS.1770-5 prints coefficients for 48 kHz only; these are the bilinear transforms of the
    analogue shelf and high-pass that give those (De Man, "Evaluation of implementations of
    the EBU R128 loudness measurement", AES 145, 2018).
    """
    shelf, high_pass = _shelf(hz), _high_pass(hz)
    return _convolve(shelf[0], high_pass[0]), _convolve(shelf[1], high_pass[1])


def _shelf(hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(b, a) of stage 1: +4 dB above about 1.5 kHz, the head's own gain."""
    k, q = math.tan(math.pi * 1681.974450955533 / hz), 0.7071752369554196
    high = 10.0 ** (3.999843853973347 / 20.0)
    band = high**0.4996667741545416
    a0 = 1.0 + k / q + k * k
    b = (high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k)
    return tuple(v / a0 for v in b), (1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0)


def _high_pass(hz: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(b, a) of stage 2: what lies under about 40 Hz is hardly heard."""
    k, q = math.tan(math.pi * 38.13547087602444 / hz), 0.5003270373238773
    a0 = 1.0 + k / q + k * k
    return (1.0, -2.0, 1.0), (1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0)


def _convolve(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, ...]:
    """Product of two polynomials given by their coefficients."""
    product = [0.0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] += x * y
    return tuple(product)


def _k_weight(wave: Tensor, hz: int) -> Tensor:
    """Applies the K-weighting to wave (..., S) float64, starting at rest; (..., S).

    By FFT, because a recursion over samples in Python is slow: the slowest pole decays by
    e^-240 a second, so half a second of zeros leaves nothing to wrap around.
    """
    size = wave.shape[-1] + hz // 2
    b, a = k_weighting(hz)
    response = torch.fft.rfft(wave.new_tensor(b), n=size) / torch.fft.rfft(
        wave.new_tensor(a), n=size
    )
    weighted: Tensor = torch.fft.irfft(torch.fft.rfft(wave, n=size) * response, n=size)
    return weighted[..., : wave.shape[-1]]
