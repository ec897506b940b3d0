from __future__ import annotations

import pytest
import torch

from engine import checkpoint
from engine.checkpoint import Voice
from engine.diffusion.schedule import NoiseSchedule, build
from engine.profile import ScheduleSpec
from engine.synthesis import Utterance, speak, stack, utter
from engine.text import TextError
from engine.types import HOP
from tests.voices import write_voice

SENTENCES = ("The kettle is on the stove.", "No.", "We walked home.")


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    path = tmp_path_factory.mktemp("voice") / "voice.safetensors"
    return checkpoint.load(write_voice(path, ("anna", "ben")))


@pytest.fixture(scope="module")
def schedule() -> NoiseSchedule:
    return build(ScheduleSpec(timesteps=2))


@pytest.fixture(scope="module")
def spoken(voice: Voice) -> list[Utterance]:
    return utter(voice.model, SENTENCES, 0, 1.0)


def test_an_utterance_is_as_long_as_its_conditioning(spoken: list[Utterance]) -> None:
    assert [u.text for u in spoken] == list(SENTENCES)
    assert len({u.frames for u in spoken}) == 3
    for u in spoken:
        assert u.cond.shape == (18, u.frames)
        assert u.seconds(22050) == pytest.approx(u.frames * HOP / 22050)


def test_a_sentence_sounds_the_same_alone_and_in_a_batch(
    voice: Voice, schedule: NoiseSchedule, spoken: list[Utterance]
) -> None:
    together = speak(voice, schedule, spoken, 7)
    for row, text in enumerate(SENTENCES):
        (alone,) = utter(voice.model, [text], 0, 1.0)
        assert alone.frames == spoken[row].frames
        assert torch.allclose(alone.cond, spoken[row].cond, atol=1e-5)
    (first,) = speak(voice, schedule, spoken[:1], 7)  # noise goes by place: the first keeps its
    assert torch.allclose(first, together[0], atol=1e-4)


def test_the_size_of_microbatches_changes_no_clip(
    voice: Voice, schedule: NoiseSchedule, spoken: list[Utterance]
) -> None:
    for one, other in zip(
        speak(voice, schedule, spoken, 7, microbatch=1),
        speak(voice, schedule, spoken, 7, microbatch=3),
        strict=True,
    ):
        assert torch.allclose(
            one, other, atol=1e-4
        )  # the first timestep magnifies rounding 12-fold


def test_clips_have_their_own_length_and_stay_within_one(
    voice: Voice, schedule: NoiseSchedule, spoken: list[Utterance]
) -> None:
    clips = speak(voice, schedule, spoken, 7)
    assert [len(clip) for clip in clips] == [u.frames * HOP for u in spoken]
    for clip in clips:
        assert clip.device.type == "cpu"
        assert float(clip.abs().max()) <= 1.0
        assert float(clip[-HOP:].abs().max()) > 0.0


def test_the_seed_alone_chooses_the_noise(
    voice: Voice, schedule: NoiseSchedule, spoken: list[Utterance]
) -> None:
    torch.manual_seed(1)
    (one,) = speak(voice, schedule, spoken[1:2], 7)
    torch.manual_seed(2)
    (same,) = speak(voice, schedule, spoken[1:2], 7)
    (other,) = speak(voice, schedule, spoken[1:2], 8)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_progress_is_told_after_every_timestep(
    voice: Voice, schedule: NoiseSchedule, spoken: list[Utterance]
) -> None:
    told: list[tuple[int, int]] = []
    speak(voice, schedule, spoken[1:2], 7, between=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_a_slower_pace_and_another_speaker_are_heard(voice: Voice) -> None:
    (usual,) = utter(voice.model, SENTENCES[:1], 0, 1.0)
    (slow,) = utter(voice.model, SENTENCES[:1], 0, 2.0)
    (other,) = utter(voice.model, SENTENCES[:1], 1, 1.0)
    assert slow.frames == pytest.approx(2 * usual.frames, rel=0.2)
    assert other.speaker == 1
    assert not torch.equal(other.cond[-2:, :1], usual.cond[-2:, :1])


def test_a_sentence_without_a_word_is_refused(voice: Voice) -> None:
    with pytest.raises(TextError):
        utter(voice.model, ["Yes.", "..."], 0, 1.0)


def test_stacking_pads_with_silence_behind_each_row() -> None:
    rows = [Utterance("a", 0, torch.ones(2, 3)), Utterance("b", 0, torch.full((2, 1), 2.0))]
    conditioning, frames = stack(rows)
    assert frames == (3, 1)
    assert conditioning.frames.tolist() == [3, 1]
    assert conditioning.cond[:, 0].tolist() == [[1.0, 1.0, 1.0], [2.0, 0.0, 0.0]]
    assert conditioning.mask.sum(-1).tolist() == [3 * HOP, HOP]
