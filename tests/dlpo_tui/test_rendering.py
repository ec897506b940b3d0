"""The thread behind a blind test: pairs before scores, and files that tell no names."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from dlpo_tui.commands.compare import Asked
from dlpo_tui.rendering import Rendering, Unwanted
from engine import audio
from engine.comparison import Comparison
from engine.messages import Progressing
from engine.preference import Trial
from tests.voices import write_voice

pytestmark = pytest.mark.usefixtures("one_thread")

TRIALS = (Trial(1, "B"), Trial(0, "A"))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.chdir(tmp_path)
    write_voice(Path("a.safetensors"))
    write_voice(Path("b.safetensors"), seed=1)
    Path("texts.txt").write_text("Go on.\nWait.\n")
    voices = "a.safetensors", "b.safetensors"
    return Asked(*voices, "texts.txt", 16, "", 2, 1.0, 7, ("loudness",))


def rendering(asked: Asked, folder: Path) -> Rendering:
    return Rendering(
        lambda advance: asked.compare(advance, scored=False),
        asked.judge,
        lambda prompts: TRIALS[:prompts],
        folder,
    )


def test_the_pairs_are_the_comparisons_clips_by_label_and_equally_loud(
    asked: Asked, tmp_path: Path
) -> None:
    at = rendering(asked, tmp_path)
    at.start()
    at.start()
    assert at.join(60)
    assert at.error == ""
    assert at.pairs is not None
    assert at.spoken is not None
    assert [pair.text for pair in at.pairs] == ["Wait.", "Go on."]
    assert [clip.name for pair in at.pairs for clip in pair.clips.values()] == [
        "01-x.wav", "01-y.wav", "02-x.wav", "02-y.wav",
    ]  # fmt: skip
    for pair, trial in zip(at.pairs, TRIALS, strict=True):
        loud = []
        for label, path in pair.clips.items():
            side = at.spoken.a if trial.voice(label) == "A" else at.spoken.b
            heard, rate = soundfile.read(path)
            made = side.done.waves[trial.prompt]
            alike = torch.corrcoef(torch.stack([torch.tensor(heard), made.double()]))[0, 1]
            assert float(alike) > 0.999
            loud.append(float(audio.loudness_lufs(torch.tensor(heard), rate)))
        assert loud[0] == pytest.approx(loud[1], abs=0.05)


def test_the_scores_are_those_of_a_comparison_without_ears(asked: Asked, tmp_path: Path) -> None:
    at = rendering(asked, tmp_path)
    at.start()
    assert at.join(60)
    assert at.scored is not None
    alone = asked.compare(lambda done, total, what: None)
    assert at.scored.plain() == alone.plain()


def test_the_pairs_are_there_before_the_scores(asked: Asked, tmp_path: Path) -> None:
    seen: list[bool] = []

    def judge(spoken: Comparison, advance: Progressing) -> Comparison:
        seen.append(at.pairs is not None)
        raise RuntimeError("distillmos is gone")

    at = Rendering(
        lambda advance: asked.compare(advance, scored=False), judge, lambda n: TRIALS, tmp_path
    )
    at.start()
    assert at.join(60)
    assert seen == [True]
    assert (at.error, at.refused, at.scored) == ("distillmos is gone", False, None)


def test_voices_that_cannot_be_compared_are_one_sentence(asked: Asked, tmp_path: Path) -> None:
    write_voice(Path("b.safetensors"), ("ben",))
    at = rendering(asked, tmp_path)
    at.start()
    assert at.join(60)
    assert "have no speaker in common" in at.error
    assert at.refused
    assert at.pairs is None


def test_leaving_ends_the_speaking(tmp_path: Path) -> None:
    def speak(advance: Progressing) -> Comparison:
        advance(1, 9, "A speaks")
        at.close()
        with pytest.raises(Unwanted):
            advance(2, 9, "A speaks")
        raise Unwanted

    at = Rendering(speak, lambda *_: pytest.fail("not reached"), lambda n: (), tmp_path)
    assert at.join(0)
    at.start()
    assert at.join(60)
    assert at.progress == (1, 9, "A speaks")
    assert at.error == ""
