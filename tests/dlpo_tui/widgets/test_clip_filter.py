"""What is typed as a filter, and which clips pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import scenes

from dlpo_tui.widgets.clip_filter import parsed
from engine.messages import Clip

CLIP = Clip(
    update=12, index=3, kind="rollout", prompt="Fête the GREASY suit.", speaker="p225", seed=7,
    seconds=1.5, path="", scores={"wer": 0.25, "cer": None, "loudness": -23.5}, reward=1.75,
    advantage=-0.5,
)  # fmt: skip
EVALUATED = replace(CLIP, kind="evaluation", reward=None, advantage=None)


def passes(text: str, clip: Clip = CLIP) -> bool:
    return parsed(text, scenes.STARTED)(clip)


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ("", True),
        ("  ", True),
        ("greasy", True),
        ("fête suit", True),
        ("suit missing", False),
        ("P225", True),
        ("roll", True),
        ("eval", False),
        ("wer>0.2", True),
        ("wer > 0.3", False),
        ("WER<=0.25", True),
        ("wer != 0,25", False),
        ("reward<2 greasy advantage<0", True),
        ("loudness<-23", True),
        ("update=12 clip=3 seed==7", True),
        ("seconds>=1.6", False),
        ("cer<1", False),
        ("[bold]", False),
    ],
)
def test_which_clips_pass(text: str, passing: bool) -> None:
    assert passes(text) is passing


def test_a_number_that_is_missing_passes_no_comparison() -> None:
    assert not passes("reward<2", EVALUATED)
    assert not passes("reward>=2", EVALUATED)
    assert passes("eval", EVALUATED)


def test_what_is_half_typed_is_left_out() -> None:
    assert parsed("suit wer>", scenes.STARTED, half=True)(CLIP)
    assert not parsed("hat wer>", scenes.STARTED, half=True)(CLIP)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wre>0.3", "there is no number 'wre': did you mean wer?"),
        ("zzz>0.3", "there is no number 'zzz': there are update, clip, seed"),
        (">3", "there is no number '': there are update"),
        ("wer>", "wer> wants a number, such as wer>0.3, not ''"),
        ("wer>abc", "wer> wants a number, such as wer>0.3, not 'abc'"),
        ("wer<nan", "wer< wants a number"),
        ("a wer>1>2", "wer> wants a number, such as wer>0.3, not '1>2'"),
    ],
)
def test_a_bad_comparison_is_told_in_one_sentence(text: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the sentence is compared)
        parsed(text, scenes.STARTED)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
