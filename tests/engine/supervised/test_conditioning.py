from __future__ import annotations

import pytest
import torch

from engine.supervised.conditioning import condition_all
from engine.supervised.dataset import Dataset
from tests.voices import tiny_model


def test_every_clip_is_conditioned_as_in_training_but_alone_and_in_eval_mode(
    data: Dataset,
) -> None:
    model = tiny_model(seed=3)
    told: list[tuple[int, int]] = []
    found = condition_all(model, data, advance=lambda done, total: told.append((done, total)))
    assert found.shape == (sum(data.frame_counts), model.config.cond_channels)
    assert told[-1] == (2, 2)
    for row, (count, symbols) in enumerate(zip(data.frame_counts, data.symbol_counts, strict=True)):
        one = torch.tensor([row])
        with torch.no_grad():
            hidden, _ = model.hidden(
                data.text[one, :symbols], data.lengths[one], data.speaker[one],
                data.durations[one, :symbols], data.frames[one],
            )  # fmt: skip
        first = int(data.first_frame[row])
        assert torch.allclose(found[first : first + count], hidden[0].T, atol=1e-6)


def test_it_is_kept_in_the_precision_asked_for(data: Dataset) -> None:
    model = tiny_model(seed=3)
    half = condition_all(model, data, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, condition_all(model, data).bfloat16())


def test_a_front_end_with_dropout_on_is_refused(data: Dataset) -> None:
    with pytest.raises(RuntimeError, match="eval mode"):
        condition_all(tiny_model().train(), data)
