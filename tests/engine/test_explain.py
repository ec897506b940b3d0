from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest

from engine import explain
from engine.messages import KNOB_RANGES
from engine.profile import PretrainProfile, Profile, ProfileError, load, load_pretrain

PROFILES = Path(__file__).parents[2] / "profiles"
KINDS = (Profile, PretrainProfile)
KEYS = [
    pytest.param(key, id=f"{kind.__name__}-{key.name}")
    for kind in KINDS
    for section in explain.sections(kind)
    for key in section.keys
]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described(key: explain.Key) -> None:
    assert len(key.meaning) > 3
    assert key.meaning[-1] in ".)0123456789"
    assert "\n" not in key.meaning


@pytest.mark.parametrize("kind", KINDS)
def test_every_section_is_described_and_no_field_left_out(kind: type) -> None:
    found = explain.sections(kind)
    assert all(section.meaning for section in found)
    hints = get_type_hints(kind)
    nested = [f.name for f in fields(kind) if is_dataclass(hints[f.name])]
    assert [section.name for section in found] == ["", *nested]
    count = sum(len(fields(hints[name])) for name in nested) + len(fields(kind)) - len(nested)
    assert sum(len(section.keys) for section in found) == count


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_told_are_the_defaults(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    lines = [f"{k.name} = {k.default}" for s in explain.sections(kind) for k in s.keys]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert (load if kind is Profile else load_pretrain)(path) == kind()


def key(name: str) -> explain.Key:
    (section,) = explain.find(explain.sections(Profile), name)
    (found,) = section.keys
    return found


def test_a_key_says_its_kind_choices_and_range() -> None:
    assert key("train.updates").takes == "whole number"
    assert key("schedule.betas").takes == "list of numbers"
    assert key("reward.models").takes == "numbers by name"
    assert key("reward.models").default == "{ distillmos = 1.0 }"
    assert key("rollout.antithetic").default == "true"
    assert key("schedule.sampler").choices == ("ancestral", "ddim")
    assert key("train.updates").choices == ()
    limits = KNOB_RANGES["alpha"]
    assert key("knobs.alpha").meaning.endswith(f"From {limits.low:g} to {limits.high:g}.")
    assert key("rollout.kept").meaning.startswith("K, timesteps trained in one update")


def test_a_name_is_a_section_a_dotted_key_or_its_last_word() -> None:
    known = explain.sections(Profile)
    (rollout,) = explain.find(known, "rollout")
    assert rollout in known
    both = explain.find(known, "microbatch")
    assert [k.name for section in both for k in section.keys] == [
        "rollout.microbatch", "train.microbatch",
    ]  # fmt: skip
    (top,) = explain.find(known, "seed")[:1]
    assert [k.name for k in top.keys] == ["seed"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("train.updatse", "train.updates"),
        ("updatse", "train.updates"),
        ("rolout", "rollout"),
        ("train.batch_size", None),
        ("zzz", None),
    ],
)
def test_an_unknown_key_names_the_nearest(name: str, near: str | None) -> None:
    with pytest.raises(ProfileError, match=f"a profile has no key '{name}'; ") as caught:
        explain.find(explain.sections(Profile), name)
    if near:
        assert str(caught.value).endswith(f"did you mean {near!r}?")


def test_a_profile_tells_its_own_keys() -> None:
    path = PROFILES / "quickstart.toml"
    found = explain.chosen(load(path), tomllib.loads(path.read_text(encoding="utf-8")))
    assert found["name"] == '"quickstart"'
    assert found["knobs.learning_rate"] == "1e-05"
    assert "train.penalty" not in found


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda p: p.stem)
def test_a_profiles_keys_say_what_it_is_for(path: Path) -> None:
    kind = explain.kind_of(tomllib.loads(path.read_text(encoding="utf-8")))
    assert (kind is PretrainProfile) == path.stem.startswith("pretrain")
    assert explain.kind_of({}) is Profile
    assert explain.kind_of({"name": "x", "seed": 1}) is Profile


def test_the_list_takes_each_file_once_and_its_first_comment(tmp_path: Path) -> None:
    here = tmp_path / "profiles"
    here.mkdir()
    (here / "mine.toml").write_text('name = "mine"\n# What it is for:\n# more\n')
    (here / "bare.toml").write_text('name = "bare"\n')
    (here / "notes.md").write_text("# no profile")
    found = explain.listed((here, tmp_path / "away", here))
    assert [(one.name, one.about) for one in found] == [("bare", ""), ("mine", "What it is for")]
    assert found[1].path == here / "mine.toml"


def test_the_shipped_profiles_are_listed_and_described() -> None:
    found = {one.name: one.about for one in explain.listed((PROFILES,))}
    assert {"quickstart", "ljspeech"} <= set(found)
    assert all(found.values())
