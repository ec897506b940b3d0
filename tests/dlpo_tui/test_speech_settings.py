from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from dlpo_tui.speech_settings import (
    LARGEST_SEED,
    SETTINGS,
    Settings,
    VoiceFacts,
    brief,
    new_seed,
    with_value,
)

FACTS = VoiceFacts("a.safetensors", ("anna", "ben", "Carl"), 10, 22050)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def test_every_setting_has_a_row() -> None:
    assert [setting.name for setting in SETTINGS] == [field.name for field in fields(Settings)]


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("timesteps", "own", None),
        ("timesteps", "", None),
        ("timesteps", "25", 25),
        ("eta", "0,5", 0.5),
        ("eta", "own", None),
        ("pace", "1.25", 1.25),
        ("speaker", "ben", "ben"),
        ("speaker", "carl", "Carl"),
        ("seed", str(LARGEST_SEED), LARGEST_SEED),
        ("scores", "Off", False),
    ],
)
def test_what_is_typed_becomes_a_value(name: str, typed: str, value: Any) -> None:
    assert BY_NAME[name].read(typed, FACTS.speakers) == value


@pytest.mark.parametrize(
    ("name", "typed", "told"),
    [
        ("timesteps", "0", "timesteps must lie between 1 and 1000, not at 0"),
        ("timesteps", "many", "timesteps must be a whole number or own, not 'many'"),
        ("eta", "1.5", "eta must lie between 0 and 1, not at 1.5"),
        ("eta", "nan", "eta must be a number or own, not 'nan'"),
        ("pace", "9", "pace must lie between 0.25 and 4, not at 9"),
        ("pace", "", "pace must be a number, not ''"),
        ("speaker", "bem", "there is no speaker 'bem'; did you mean 'ben'?"),
        ("speaker", "zzz", "there is no speaker 'zzz'; there is 'anna'"),
        ("seed", "1.5", "seed must be a whole number, not '1.5'"),
        ("seed", "-1", "seed must lie between 0 and 4294967295, not at -1"),
        ("scores", "maybe", "scores are on or off, not 'maybe'"),
    ],
)
def test_what_cannot_be_is_one_sentence(name: str, typed: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        BY_NAME[name].read(typed, FACTS.speakers)


@pytest.mark.parametrize(
    ("name", "value", "by", "turned"),
    [
        ("timesteps", None, 1, 11),
        ("timesteps", None, -1, 9),
        ("timesteps", 1, -1, 1),
        ("timesteps", 1000, 1, 1000),
        ("eta", None, 1, 0.0),
        ("eta", 0.0, 1, 0.1),
        ("eta", 0.0, -1, None),
        ("eta", 1.0, 1, 1.0),
        ("eta", None, -1, None),
        ("pace", 1.0, 1, 1.05),
        ("pace", 0.25, -1, 0.25),
        ("speaker", "", 1, "ben"),
        ("speaker", "anna", -1, "Carl"),
        ("seed", 0, -1, 0),
        ("seed", 7, 1, 8),
        ("scores", True, 1, False),
    ],
)
def test_an_arrow_turns_and_stops_at_the_ends(name: str, value: Any, by: int, turned: Any) -> None:
    assert BY_NAME[name].turned(value, by, FACTS) == turned


def test_turning_works_before_a_voice_is_known() -> None:
    for setting in SETTINGS:
        value = getattr(Settings(), setting.name)
        setting.read(setting.told(setting.turned(value, 1, None), None) or "own", ("first",))


def test_what_the_voice_does_by_itself_is_named() -> None:
    assert BY_NAME["timesteps"].told(None, FACTS) == "own (10)"
    assert BY_NAME["eta"].told(None, FACTS) == "own (ancestral)"
    assert BY_NAME["eta"].told(None, VoiceFacts("b", ("x",), 4, 22050, 0.5)) == "own (0.5)"
    assert BY_NAME["speaker"].told("", FACTS) == "anna"


def test_settings_in_brief_leave_out_what_is_usual() -> None:
    assert brief(Settings(), VoiceFacts("b", ("x",), 4, 22050)) == "4 t · seed 0"
    told = brief(Settings(6, 0.5, 1.2, "ben", 3), FACTS)
    assert told == "6 t · eta 0.5 · pace 1.2 · ben · seed 3"


def test_a_new_seed_is_another_one() -> None:
    for seed in range(50):
        assert new_seed(with_value(Settings(), "seed", seed)).seed != seed
