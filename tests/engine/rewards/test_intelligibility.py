"""The real recogniser on recorded speech, and error rates counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from engine.rewards.base import ScoreError
from engine.rewards.intelligibility import (
    SHORTEST,
    Intelligibility,
    error_rates,
    plain_words,
)

if TYPE_CHECKING:
    from .conftest import Clip


def test_recorded_speech_is_understood(
    intelligibility: Intelligibility, clips: tuple[Clip, ...]
) -> None:
    for clip in clips:
        rates = intelligibility(clip.at_16_khz[None], (clip.text,))
        assert rates.shape == (1, 2)
        assert float(rates[0, 0]) <= 0.2
        assert float(rates[0, 1]) <= 0.2


def test_noise_is_not(intelligibility: Intelligibility, noise: Tensor) -> None:
    wer, cer = intelligibility(noise[None], ("He will follow us soon.",))[0].tolist()
    assert wer == pytest.approx(1.0, abs=0.25)
    assert cer > 0.7


def test_a_clip_reads_the_same_whatever_came_before(
    intelligibility: Intelligibility, clips: tuple[Clip, ...], noise: Tensor
) -> None:
    first = [intelligibility.transcribe(clip.at_16_khz) for clip in clips]
    intelligibility.transcribe(noise)
    again = [intelligibility.transcribe(clip.at_16_khz) for clip in reversed(clips)]
    assert again[::-1] == first
    assert Intelligibility().transcribe(clips[0].wave, 22_050) == first[0]


def test_the_last_word_is_heard_to_its_end(
    intelligibility: Intelligibility, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    class Transcript:
        lines = ()

    def listen(samples: list[float], hz: int) -> Transcript:
        seen.append(len(samples))
        return Transcript()

    monkeypatch.setattr(
        intelligibility._recogniser, "transcribe_without_streaming", listen, raising=True
    )
    for length in (SHORTEST, SHORTEST + 1):
        assert intelligibility.transcribe(torch.zeros(length)) == ""
    assert seen == [2048, 2560]


def test_too_short_a_clip_never_reaches_the_recogniser(
    intelligibility: Intelligibility, capfd: pytest.CaptureFixture[str]
) -> None:
    """The C library writes to the terminal when its network gets less than it needs."""
    with pytest.raises(ScoreError, match=r"2047 audio samples long .* needs 2048 \(128 ms"):
        intelligibility(torch.randn(1, SHORTEST - 1), ("A.",))
    intelligibility(torch.randn(1, SHORTEST), ("A.",))
    assert capfd.readouterr() == ("", "")


def test_loading_and_listening_print_nothing(
    clips: tuple[Clip, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    Intelligibility().transcribe(clips[0].wave, 22_050)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Mr Philip - it's $8!", "mister philip it's eight dollars"),
        ("“Quoted,” he said; 'twice'.", "quoted he said twice"),
        ("The 20th rifle-shot", "the twentieth rifle shot"),
        (" ... ", ""),
    ],
)
def test_plain_words(text: str, plain: str) -> None:
    assert plain_words(text) == plain


@pytest.mark.parametrize(
    ("text", "heard", "wer", "cer"),
    [
        ("It costs $8.", "it costs eight dollars", 0.0, 0.0),
        ("one two three four", "one too three", 2 / 4, 6 / 18),
        ("a b", "", 1.0, 1.0),
        ("so", "so so so", 2.0, 3.0),
    ],
)
def test_error_rates_by_hand(text: str, heard: str, wer: float, cer: float) -> None:
    assert error_rates(text, heard) == pytest.approx((wer, cer))


def test_a_text_without_words_has_no_error_rate() -> None:
    with pytest.raises(ScoreError, match=r"'\.\.\.' has no words"):
        error_rates("...", "anything")
