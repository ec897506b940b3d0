from __future__ import annotations

import pytest
import torch

from engine import checkpoint
from engine.checkpoint import Voice
from engine.data import PreparedCorpus
from engine.profile import ProfileError
from engine.recorded import Recording, record, windows
from engine.synthesis import Utterance
from engine.types import HOP
from tests.voices import write_corpus, write_voice


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    return PreparedCorpus.open(write_corpus(tmp_path_factory.mktemp("corpus") / "kathleen"))


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    path = tmp_path_factory.mktemp("voice") / "voice.safetensors"
    return checkpoint.load(write_voice(path, ("anna", "ben")))


# --- recordings -----------------------------------------------------------------


def test_a_recording_lies_under_its_own_alignment(voice: Voice, corpus: PreparedCorpus) -> None:
    found = record(voice, corpus, 10.0, 0)
    assert list(found) == [clip.text for clip in corpus.training]
    for clip in corpus.training:
        recording = found[clip.text]
        assert torch.equal(recording.wave, corpus.wave(clip))
        assert recording.cond.shape == (18, clip.total_frames)
        assert len(recording.wave) == HOP * recording.cond.shape[-1]


def test_held_out_sentences_are_never_among_them(voice: Voice, corpus: PreparedCorpus) -> None:
    assert not {clip.text for clip in corpus.held_out} & set(record(voice, corpus, 10.0, 0))


def test_the_speaker_is_the_sessions_not_the_corpuss(voice: Voice, corpus: PreparedCorpus) -> None:
    one, other = (record(voice, corpus, 10.0, speaker) for speaker in (0, 1))
    for text, recording in one.items():
        assert torch.equal(recording.wave, other[text].wave)
        assert not torch.equal(recording.cond, other[text].cond)


def test_long_recordings_are_left_out_and_none_is_an_error(
    voice: Voice, corpus: PreparedCorpus
) -> None:
    shortest = min(corpus.training, key=lambda clip: clip.seconds)
    assert list(record(voice, corpus, shortest.seconds, 0)) == [shortest.text]
    with pytest.raises(ProfileError, match=r"no clip of at most prompts\.max_seconds = 0\.1 s"):
        record(voice, corpus, 0.1, 0)


# --- windows --------------------------------------------------------------------

LONG, SHORT = 40, 5


@pytest.fixture
def recordings() -> dict[str, Recording]:
    """Conditioning that counts the frames, and audio that counts them, too."""
    return {
        text: Recording(
            torch.arange(frames).repeat_interleave(HOP) / 100.0,
            torch.arange(frames, dtype=torch.float32).expand(2, -1),
        )
        for text, frames in (("long", LONG), ("short", SHORT))
    }


def prompts(*texts: str) -> list[Utterance]:
    return [Utterance(text, 0, torch.zeros(2, 7)) for text in texts]


def test_a_window_is_a_stretch_of_the_recording_and_of_its_conditioning(
    recordings: dict[str, Recording],
) -> None:
    seen = windows(recordings, prompts("long", "long", "short", "short"), 12, 2, (0, 3))
    assert seen.frames == (12, 12, SHORT, SHORT)
    assert seen.conditioning.frames.tolist() == [12, 12, SHORT, SHORT]
    assert seen.waveform.shape == (4, 12 * HOP)
    for row, frames in enumerate(seen.frames):
        cond = seen.conditioning.cond[row, 0, :frames]
        assert torch.equal(cond, cond[0] + torch.arange(frames))  # a stretch, in order
        wave = seen.waveform[row].view(-1, HOP)
        assert torch.allclose(wave[:frames], (cond / 100.0)[:, None].expand(-1, HOP))
        assert not wave[frames:].any()
    assert seen.conditioning.cond[2, 0, 0] == 0.0  # what is shorter than a window is whole


def test_a_group_shares_its_stretch_and_groups_do_not(recordings: dict[str, Recording]) -> None:
    starts = {
        update: windows(recordings, prompts(*["long"] * 8), 12, 4, (0, update))
        .conditioning.cond[:, 0, 0].tolist()
        for update in range(6)
    }  # fmt: skip
    for row in starts.values():
        assert len(set(row[:4])) == len(set(row[4:])) == 1
    assert any(row[0] != row[4] for row in starts.values())
    assert len({row[0] for row in starts.values()}) > 1


def test_the_same_identity_draws_the_same_stretch(recordings: dict[str, Recording]) -> None:
    one, same = (windows(recordings, prompts("long"), 12, 1, (5, 9)) for _ in range(2))
    assert torch.equal(one.conditioning.cond, same.conditioning.cond)
    starts = {
        float(windows(recordings, prompts("long"), 12, 1, (seed, 0)).conditioning.cond[0, 0, 0])
        for seed in range(200)
    }
    assert starts == set(range(LONG - 12 + 1))  # every start can be drawn, the last one too


def test_a_rank_draws_the_stretches_of_its_place_in_the_batch(
    recordings: dict[str, Recording],
) -> None:
    spoken = prompts(*["long"] * 8)
    whole = windows(recordings, spoken, 12, 2, (0, 3))
    share = windows(recordings, spoken[4:], 12, 2, (0, 3), 4)
    assert torch.equal(share.waveform, whole.waveform[4:])
    assert not torch.equal(share.waveform, whole.waveform[:4])
