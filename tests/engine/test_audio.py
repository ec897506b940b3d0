"""Levels against BS.1770's own numbers, resampling against its formula, files on a real disk."""

from __future__ import annotations

import importlib
import math
import os
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import audio
from engine.audio import AudioError

SPEECH = Path(__file__).parents[1] / "data" / "speech" / "arctic_a0102_1592746203.flac"


def sine(level_dbfs: float, seconds: float, hz: int = 48_000, tone_hz: float = 997.0) -> Tensor:
    """A sine whose peak lies at `level_dbfs`."""
    n = torch.arange(round(seconds * hz), dtype=torch.float64)
    return torch.sin(2.0 * math.pi * tone_hz / hz * n) * 10.0 ** (level_dbfs / 20.0)


# Resampling


def resample_by_formula(x: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    """Each output sample as its own windowed sinc sum, straight from the definition.

    y[m] = sum_i x[i] h(i / o - m / n), h the Hann-windowed sinc of 6 zero crossings at
    0.99 of the lower rate; o and n are the rates over their common divisor.
    """
    ratio = Fraction(from_hz, to_hz)
    o, n = ratio.numerator, ratio.denominator
    base = 0.99 * min(o, n)
    i = np.arange(len(x))
    out = []
    for m in range(math.ceil(n * len(x) / o)):
        t = np.clip((i / o - m / n) * base, -6.0, 6.0)
        out.append(np.sum(x * np.sinc(t) * np.cos(np.pi * t / 12.0) ** 2) * base / o)
    return np.array(out)


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "length"),
    [(22_050, 16_000, 2_001), (16_000, 22_050, 777), (48_000, 16_000, 1_000), (8_000, 16_000, 5)],
)
def test_resample_is_the_windowed_sinc(from_hz: int, to_hz: int, length: int) -> None:
    x = np.random.default_rng(0).uniform(-1.0, 1.0, length)
    expected = resample_by_formula(x, from_hz, to_hz)
    got = audio.resample(torch.from_numpy(x), from_hz, to_hz)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-9)
    single = audio.resample(torch.from_numpy(x).float(), from_hz, to_hz)
    assert single.dtype == torch.float32
    # torchaudio computes the window in the wave's own precision.
    np.testing.assert_allclose(single.numpy(), expected, atol=5e-5)


def test_resample_keeps_leading_dimensions_and_the_same_rate() -> None:
    x = torch.randn(2, 3, 441)
    assert audio.resample(x, 22_050, 16_000).shape == (2, 3, 320)
    assert audio.resample(x, 22_050, 22_050) is x


def test_resample_carries_a_gradient() -> None:
    x = torch.randn(441, requires_grad=True)
    audio.resample(x, 22_050, 16_000).square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.abs().gt(0).all())


def test_torchaudio_without_its_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "torchaudio._extension", raising=False)
    seen: list[bool] = []

    def import_module(name: str) -> ModuleType:
        seen.append("torchaudio._extension" in sys.modules)
        if len(seen) == 1:
            sys.modules["torchaudio.half_imported"] = ModuleType("torchaudio.half_imported")
            raise OSError("libc10_cuda.so: cannot open shared object file")
        return ModuleType(name)

    def forced_align() -> None: ...

    monkeypatch.setattr(importlib, "import_module", import_module)
    audio.import_torchaudio.__wrapped__()
    extension = sys.modules.pop("torchaudio._extension")
    assert seen == [False, True]
    assert "torchaudio.half_imported" not in sys.modules
    assert extension._IS_TORCHAUDIO_EXT_AVAILABLE is False
    with pytest.raises(RuntimeError, match="forced_align needs torchaudio's compiled extension"):
        extension.fail_if_no_align(forced_align)()


# Levels


def test_rms_of_a_full_scale_sine() -> None:
    assert float(audio.rms_dbfs(sine(0.0, 1.0))) == pytest.approx(-3.0103, abs=1e-3)
    assert float(audio.rms_dbfs(torch.zeros(10))) == -math.inf


def test_clipping_share() -> None:
    wave = torch.tensor([[0.0, 1.0, -1.0, 0.9989], [0.0, 0.5, -0.5, 0.2]])
    assert audio.clipping_share(wave).tolist() == [0.5, 0.0]
    assert float(audio.clipping_share(wave[1], ceiling=0.5)) == 0.5


def test_k_weighting_at_48_khz_is_the_standards_tables() -> None:
    """ITU-R BS.1770, annex 1, tables 1 and 2."""
    b, a = audio.k_weighting(48_000)
    shelf_b, shelf_a = (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (1.0, -1.69065929318241, 0.73248077421585),
    )
    pass_b, pass_a = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
    np.testing.assert_allclose(b, np.convolve(shelf_b, pass_b), atol=1e-12)
    np.testing.assert_allclose(a, np.convolve(shelf_a, pass_a), atol=1e-12)


def test_weighting_by_fft_is_the_recursion() -> None:
    hz = 22_050
    x = torch.randn(200, dtype=torch.float64)
    b, a = audio.k_weighting(hz)
    samples = x.tolist()
    y = [0.0] * len(samples)
    for n in range(len(x)):
        y[n] = sum(b[k] * samples[n - k] for k in range(5) if n >= k)
        y[n] -= sum(a[k] * y[n - k] for k in range(1, 5) if n >= k)
    torch.testing.assert_close(audio._k_weight(x, hz), torch.tensor(y, dtype=torch.float64))


@pytest.mark.parametrize("level", [0.0, -20.0, -60.0])
def test_loudness_of_a_sine(level: float) -> None:
    """BS.1770: 997 Hz at 0 dBFS in one front channel reads -3.01."""
    lufs = float(audio.loudness_lufs(sine(level, 2.0), 48_000))
    assert lufs == pytest.approx(level - 3.01, abs=0.01)


@pytest.mark.parametrize("hz", [16_000, 22_050, 44_100])
def test_loudness_hardly_depends_on_the_rate(hz: int) -> None:
    lufs = float(audio.loudness_lufs(sine(-20.0, 2.0, hz), hz))
    assert lufs == pytest.approx(-23.01, abs=0.05)


def test_soft_passages_and_silence_are_gated() -> None:
    """As EBU Tech 3341's cases 3 and 4, shorter, in one channel: the loud part alone counts."""
    wave = torch.cat(
        [sine(-72.0, 5.0), sine(-36.0, 5.0), sine(-23.0, 20.0), sine(-36.0, 5.0), torch.zeros(9600)]
    )
    assert float(audio.loudness_lufs(wave, 48_000)) == pytest.approx(-26.01, abs=0.1)


def test_loudness_edges() -> None:
    silence_and_tone = torch.stack([torch.zeros(24_000).double(), sine(-20.0, 0.5)])
    lufs = audio.loudness_lufs(silence_and_tone, 48_000)
    assert lufs[0] == -math.inf
    assert math.isfinite(lufs[1])
    assert float(audio.loudness_lufs(sine(-20.0, 0.1), 48_000)) == pytest.approx(-23.0, abs=0.5)
    with pytest.raises(AudioError, match="without samples"):
        audio.loudness_lufs(torch.zeros(0), 48_000)


def test_normalise_loudness() -> None:
    hz = 22_050
    peaky = torch.zeros(hz)
    peaky[::2_000] = 0.5
    rows = torch.stack([sine(-40.0, 1.0, hz).float(), torch.zeros(hz), peaky])
    matched = audio.normalise_loudness(rows, hz, target_lufs=-23.0)
    assert matched.dtype == torch.float32
    assert float(audio.loudness_lufs(matched[0], hz)) == pytest.approx(-23.0, abs=1e-3)
    assert matched[1].abs().max() == 0.0
    assert float(matched[2].abs().max()) == pytest.approx(0.98, abs=1e-6)
    assert float(audio.loudness_lufs(matched[2], hz)) < -23.0


# Files


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".WAV"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    wave = torch.cat([torch.linspace(-1.0, 1.0, 999), torch.tensor([3.0, -3.0])])
    audio.write(path, wave, 22_050)
    got, hz = audio.read(path)
    assert hz == 22_050
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, wave.clamp(-1.0, 1.0), atol=1.0 / 32768.0, rtol=0.0)
    assert soundfile.info(path).subtype == "PCM_16"
    assert os.listdir(tmp_path) == [path.name]
    audio.write(path, got, hz)
    assert torch.equal(audio.read(path)[0], got)


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "two.wav", np.array([[0.5, 0.0], [-0.5, 0.25]]), 8_000)
    wave, hz = audio.read(tmp_path / "two.wav")
    assert (wave.tolist(), hz) == ([0.25, -0.125], 8_000)


def test_recorded_speech_is_read() -> None:
    wave, hz = audio.read(str(SPEECH))
    assert hz == 22_050
    assert wave.shape == (28_587,)
    assert -40.0 < float(audio.rms_dbfs(wave)) < -20.0


@pytest.mark.parametrize(
    ("wave", "name", "message"),
    [
        (torch.tensor([0.0, math.nan]), "a.wav", "not finite"),
        (torch.tensor([0.0, math.inf]), "a.flac", "not finite"),
        (torch.zeros(0), "a.wav", "S > 0"),
        (torch.zeros(1, 5), "a.wav", r"not \(1, 5\)"),
        (torch.zeros(5), "a.mp3", "must end in .flac or .wav"),
    ],
)
def test_a_refused_clip_leaves_the_old_file(
    tmp_path: Path, wave: Tensor, name: str, message: str
) -> None:
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(AudioError, match=message):
        audio.write(tmp_path / name, wave, 22_050)
    assert (tmp_path / name).read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


def test_a_write_that_breaks_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    audio.write(tmp_path / "a.wav", torch.ones(3) * 0.5, 8_000)
    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(OSError, match="No space left"):
        audio.write(tmp_path / "a.wav", torch.zeros(100), 8_000)
    assert audio.read(tmp_path / "a.wav")[0].tolist() == [0.5, 0.5, 0.5]
    assert os.listdir(tmp_path) == ["a.wav"]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "nothing.flac").touch()
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, math.nan]), 8_000, subtype="FLOAT")
    for name, message in {
        "missing.wav": "There is no audio file",
        ".": "There is no audio file",
        "text.wav": "is not audio that can be read",
        "nothing.flac": "is not audio that can be read",
        "empty.wav": "holds no audio samples",
        "nan.wav": "not finite",
    }.items():
        with pytest.raises(AudioError, match=message):
            audio.read(tmp_path / name)


# Headers that claim


def test_a_claim_of_years_of_speech_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    data = bytearray(SPEECH.read_bytes())
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4  # STREAMINFO's count of audio samples, 36 bits
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(AudioError, match="says it holds 68,719,476,735 audio samples"):
        audio.read(tmp_path / "a.flac")


def test_rates_that_share_too_little_are_refused_before_memory_is_asked_for() -> None:
    with pytest.raises(AudioError, match=r"44,101 Hz cannot be brought to 22,050 Hz.*divisor is 1"):
        audio.resample(torch.zeros(100), 44_101, 22_050)
    assert audio.resample(torch.zeros(96_000), 96_000, 22_050).shape == (22_050,)
