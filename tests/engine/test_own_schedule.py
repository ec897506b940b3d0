from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import checkpoint
from engine import profile as profiles
from engine.assembly import assemble
from engine.checkpoint import Card, Voice
from engine.diffusion.schedule import build, snr_spaced
from engine.learner import Learner, identity
from engine.own_schedule import chain_length, resolve, schedule_for
from engine.profile import ProfileError, ScheduleSpec
from tests.voices import tiny_model, write_profile

MODEL = tiny_model()
SIX = {"kind": "snr", "timesteps": 6, "low_db": -30.0}
TEN = {"kind": "snr", "timesteps": 10, "sampler": "ddim", "eta": 0.5}


def voice(**about: Any) -> Voice:
    return Voice(MODEL, Card(MODEL.config, ("anna",), about), "anna.safetensors")


def test_a_voice_that_says_nothing_has_the_default_schedule() -> None:
    assert schedule_for(voice()) == ScheduleSpec("respaced", 10)
    assert schedule_for(voice(), 4) == ScheduleSpec("respaced", 4)


def test_the_entry_for_that_many_timesteps_is_taken() -> None:
    found = voice(schedules={"6": SIX, "10": TEN})
    assert schedule_for(found, 6) == ScheduleSpec("snr", 6, low_db=-30.0)
    assert schedule_for(found, 10) == ScheduleSpec("snr", 10, sampler="ddim", eta=0.5)
    assert schedule_for(found) == schedule_for(found, 10)
    assert schedule_for(found, 7) == ScheduleSpec("respaced", 7)


def test_the_schedule_a_voice_was_trained_on_comes_before_a_searchs() -> None:
    trained = {"kind": "respaced", "timesteps": 6, "power": 3.0}
    found = voice(schedule=trained, schedules={"6": SIX, "10": TEN})
    assert schedule_for(found) == ScheduleSpec("respaced", 6, power=3.0)
    assert schedule_for(found, 6) == ScheduleSpec("respaced", 6, power=3.0)
    assert schedule_for(found, 10) == ScheduleSpec("snr", 10, sampler="ddim", eta=0.5)
    assert schedule_for(found, 25) == ScheduleSpec("respaced", 25, power=3.0)


@pytest.mark.parametrize(
    ("own", "length"),
    [({"kind": "manual8"}, 8), ({"kind": "betas", "betas": [0.1, 0.2, 0.9]}, 3)],
    ids=["manual8", "betas"],
)
def test_a_chain_of_fixed_length_stays_as_long_as_it_is(own: dict[str, Any], length: int) -> None:
    found = voice(schedule=own, schedules={"6": SIX})
    for timesteps in (None, length, 5):
        spec = schedule_for(found, timesteps)
        assert spec.kind == own["kind"]
        assert chain_length(spec) == build(spec).timesteps == length
    assert schedule_for(found, 6).kind == "snr"


def test_a_card_that_names_no_kind_is_respaced() -> None:
    for told in ({"timesteps": 3}, {"kind": "voice", "timesteps": 3}):
        assert schedule_for(voice(schedule=told)) == ScheduleSpec("respaced", 3)


def test_only_a_profile_that_leaves_it_to_the_voice_is_resolved() -> None:
    found = voice(schedules={"6": SIX})
    assert resolve(ScheduleSpec(timesteps=6), found) == ScheduleSpec("snr", 6, low_db=-30.0)
    for own in (ScheduleSpec("respaced", 6), ScheduleSpec("manual8")):
        assert resolve(own, found) == own


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"schedule": [1]}, "the card of anna.safetensors has a schedule that is no table"),
        ({"schedules": [1]}, "the card of anna.safetensors has schedules that are no table"),
        ({"schedules": {"6": 1}}, "the card of anna.safetensors has a schedule that is no table"),
        ({"schedules": {"6": {"kind": "sn"}}}, "anna.safetensors: kind is one of .*'snr'"),
        ({"schedule": {"timesteps": 0}}, "anna.safetensors: schedule.timesteps lies between"),
    ],
    ids=str,
)
def test_a_card_that_says_no_schedule_is_one_sentence(about: dict[str, Any], told: str) -> None:
    with pytest.raises(ProfileError, match=told) as e:
        schedule_for(voice(**about), 6)
    assert "\n" not in str(e.value)


def test_a_session_trains_and_remembers_the_voices_own_chain(tmp_path: Path) -> None:
    own = {"kind": "snr", "timesteps": 3, "low_db": -30.0}
    card = Card(MODEL.config, ("anna",), {"schedules": {"3": own}})
    checkpoint.save(tmp_path / "voice.safetensors", MODEL, card)
    profile = profiles.load(write_profile(tmp_path, tmp_path / "voice.safetensors"))
    assert profile.schedule == ScheduleSpec("voice", 3)
    parts = assemble(profile, torch.device("cpu"))
    learner = Learner.create(profile, parts, torch.device("cpu"))
    assert torch.equal(learner.schedule.betas, snr_spaced(3, -30.0, 20.0))
    assert json.loads(identity(profile, parts)["noise levels"])["low_db"] == -30.0
