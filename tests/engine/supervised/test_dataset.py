from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.data import CorpusError, PreparedCorpus
from engine.supervised.dataset import Dataset, cut, gather, stretches, waves
from engine.types import HOP

CPU = torch.device("cpu")


def test_the_data_set_is_the_corpus(corpus: PreparedCorpus, data: Dataset) -> None:
    assert data.text.shape[0] == len(corpus.training) == 2
    for row, clip in enumerate(corpus.training):
        count = int(data.lengths[row])
        assert tuple(data.text[row, :count].tolist()) == clip.ids
        assert not data.text[row, count:].any()
        assert int(data.durations[row].sum()) == int(data.frames[row]) == clip.total_frames
        assert (data.frame_counts[row], data.symbol_counts[row]) == (clip.total_frames, count)
        start = int(data.start[row])
        heard = data.audio[start : start + clip.audio_length].float() / 32768
        assert torch.equal(heard, corpus.wave(clip))
    assert data.seconds == pytest.approx(sum(clip.seconds for clip in corpus.training))
    assert data.first_frame.tolist() == [0, data.frame_counts[0]]
    assert [data.frame_counts[row] for row in data.by_length] == sorted(data.frame_counts)


def test_audio_that_is_there_already_is_shared(corpus: PreparedCorpus, data: Dataset) -> None:
    assert gather(corpus, True, CPU, data.audio).audio is data.audio


def test_a_corpus_without_a_held_out_clip_is_refused(corpus: PreparedCorpus) -> None:
    training = replace(corpus, clips=corpus.training)
    with pytest.raises(CorpusError, match="no held-out clip"):
        gather(training, True, CPU)


def test_a_window_is_its_clips_audio_and_silence_behind_it(
    corpus: PreparedCorpus, data: Dataset
) -> None:
    frames, clip = data.frame_counts[1], corpus.wave(corpus.training[1])
    clips, starts = torch.tensor([1, 1]), torch.tensor([2, frames - 3])
    found = waves(data, clips, starts, 5)
    assert torch.equal(found[0], clip[2 * HOP : 7 * HOP])
    assert torch.equal(found[1, : 3 * HOP], clip[-3 * HOP :])
    assert not found[1, 3 * HOP :].any()


def test_conditioning_is_cut_where_the_audio_is(data: Dataset) -> None:
    total = sum(data.frame_counts)
    cond = torch.arange(1, total + 1.0)[:, None].repeat(1, 2)
    first, second = data.frame_counts
    clips, starts = torch.tensor([0, 1, 1]), torch.tensor([first - 2, 4, second - 1])
    found = stretches(cond, data, clips, starts, 3)
    assert found.shape == (3, 2, 3)
    assert found[:, 0].tolist() == [
        [first - 1, first, 0],  # never the next clip's
        [first + 5, first + 6, first + 7],
        [total, 0, 0],
    ]


def test_a_batchs_own_conditioning_is_cut_at_its_starts() -> None:
    hidden = torch.arange(12.0).reshape(2, 1, 6)
    assert cut(hidden, torch.tensor([1, 4]), 3)[:, 0].tolist() == [[1, 2, 3], [10, 11, 0]]
