from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine.profile import Profile, RolloutSpec, TrainSpec
from engine.rewards.loudness import Loudness
from engine.speed import TIMESTEPS, Speed, estimate, measure
from tests.voices import write_voice


def test_measuring_leaves_the_voice_as_it_was(tmp_path: Path, one_thread: None) -> None:
    voice = checkpoint.load(write_voice(tmp_path / "voice.safetensors"))
    first = next(voice.model.decoder.parameters()).requires_grad_(False)
    before = {name: value.clone() for name, value in voice.model.state_dict().items()}
    told: list[tuple[int, int]] = []
    found = measure(voice, [Loudness()], 0.01, lambda done, total, at: told.append((done, total)))
    assert all(torch.equal(before[k], v) for k, v in voice.model.state_dict().items())
    assert not first.requires_grad
    assert all(weight.grad is None for weight in voice.model.parameters())
    assert found.passes >= 1
    assert found.timesteps == TIMESTEPS
    assert found.models == ("loudness",)
    assert found.audio_seconds > 0.1
    for figure in (found.real_time_factor, found.gradient_factor, found.scored_clips_a_second):
        assert figure > 0
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (10, 10)


def test_without_a_score_there_is_no_rate_of_scoring(tmp_path: Path, one_thread: None) -> None:
    voice = checkpoint.load(write_voice(tmp_path / "voice.safetensors"))
    found = measure(voice, [], 0.01)
    assert found.scored_clips_a_second is None
    assert estimate(found, Profile(), 2.0, True).score == 0.0


SPEED = Speed(1.5, 10, 30, 0.5, 0.2, 4.0, ("distillmos",))


def test_an_update_is_counted_in_passes() -> None:
    # One group of 8, K = 1 of the noisiest W = 4: (4 + 1) / (1 + 1) = 2.5 of 10 timesteps see
    # one row and 7.5 see 8: 62.5 rows of 2 s at 0.05 a second of audio: 6.25 s. Two optimizer
    # steps of 1 + 8 rows at 0.2: 7.2 s. Eight clips at four a second: 2 s.
    profile = Profile(
        rollout=RolloutSpec(batch=8, group=8, window=4, kept=1), train=TrainSpec(inner_epochs=2)
    )
    found = estimate(SPEED, profile, 2.0, True)
    assert found.rollout == pytest.approx(6.25)
    assert found.optimise == pytest.approx(7.2)
    assert found.score == pytest.approx(2.0)
    assert found.total == pytest.approx(15.45)


def test_an_algorithm_without_the_penalty_pays_only_for_the_ratio() -> None:
    # K = 2, B = 4 in groups of 2: 2 states at the first kept timestep, 4 at the second.
    profile = Profile(
        rollout=RolloutSpec(batch=4, group=2, kept=2), train=TrainSpec(algorithm="ddpo")
    )
    assert estimate(SPEED, profile, 1.0, True).optimise == pytest.approx(0.2 * 6)


def test_the_rewards_own_gradient_goes_through_the_chain_and_through_the_score() -> None:
    # 2 clips of 1 s, 3 transitions of 0.2, two of them again at 0.05, a penalty each, and the
    # score of half a second (two clips at four a second) five times over.
    profile = Profile(
        rollout=RolloutSpec(batch=2, group=1, kept=1, shared="none", antithetic=False),
        train=TrainSpec(algorithm="draft", through=3),
    )
    found = estimate(SPEED, profile, 1.0, True).optimise
    assert found == pytest.approx(0.2 * (6 + 2) + 0.05 * 4 + 5 * 0.5)


def test_what_is_not_shared_is_computed_for_every_row_and_a_cpu_has_its_own_batch() -> None:
    alone = replace(Profile(), rollout=RolloutSpec(batch=16, cpu_batch=4, shared="none"))
    assert estimate(SPEED, alone, 1.0, False).rollout == pytest.approx(0.05 * 10 * 16)
    assert estimate(SPEED, alone, 1.0, True).rollout == pytest.approx(0.05 * 10 * 4)
