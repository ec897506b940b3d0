from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine import profile as profiles
from engine.assembly import Parts, assemble, choose_judges, choose_rewards, drawn, prompt_texts
from engine.checkpoint import Card, CheckpointError
from engine.profile import Profile, ProfileError, ScheduleSpec
from engine.rewards import registry
from tests.voices import SPOKEN, tiny_model, write_corpus, write_profile, write_voice

CPU = torch.device("cpu")
Load = Callable[..., Profile]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assembly")
    write_voice(folder / "voice.safetensors", ("anna", "ben"))
    write_corpus(folder / "corpus")
    return folder


@pytest.fixture
def load(place: Path) -> Load:
    path = write_profile(place, place / "voice.safetensors")
    return lambda *changes: profiles.load(path, changes)


@pytest.fixture
def parts(load: Load) -> Callable[..., Parts]:
    return lambda *changes: assemble(load(*changes), CPU)


def texts(prompts: tuple) -> list[str]:
    return [u.text for u in prompts]


def test_a_profile_becomes_the_parts_it_names(parts, place: Path) -> None:
    found = parts("voice.speaker=ben")
    assert found.voice.source == str(place / "voice.safetensors")
    assert [model.name for model in found.rewards] == ["loudness"]
    assert found.weights == {"loudness": 1.0}
    assert found.judges == ()
    assert texts(found.prompts) == ["Go on.", "Wait.", "No."]
    assert {u.speaker for u in found.prompts} == {1}
    assert found.recordings == {}
    assert found.notices == ()


def test_two_columns_of_one_model_load_it_once(parts) -> None:
    found = parts("reward.models={loudness=1.0, clipping=-2.0}")
    assert [model.name for model in found.rewards] == ["loudness"]
    assert found.weights == {"loudness": 1.0, "clipping": -2.0}


# --- stand-ins ------------------------------------------------------------------


def test_a_missing_voice_is_an_error_unless_the_profile_names_a_stand_in(
    parts, place: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint away\.safetensors"):
        parts("voice.checkpoint=away.safetensors")
    stand_in = place / "voice.safetensors"
    found = parts("voice.checkpoint=away.safetensors", f"voice.fallback={stand_in}")
    assert found.voice.source == str(stand_in)
    (notice,) = found.notices
    assert notice == f"away.safetensors is not there: {stand_in} voice stands in"


def test_a_voice_that_is_there_but_broken_has_no_stand_in(parts, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"half a vo")
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        parts(f"voice.checkpoint={tmp_path}/broken.safetensors", "voice.fallback=bundled")


def test_missing_prompts_are_an_error_unless_the_profile_names_a_stand_in(parts) -> None:
    with pytest.raises(ProfileError, match=r"there are no prompts away\.txt; name a file, or one"):
        parts("prompts.train=away.txt")
    found = parts("prompts.train=away.txt", "prompts.fallback=bundled")
    assert found.notices == ("away.txt is not there: the bundled prompts stand in",)
    assert "The kettle is on the stove." in texts(found.prompts)


def test_a_stand_in_that_is_not_there_is_an_error(parts) -> None:
    with pytest.raises(ProfileError, match=r"there are no prompts gone\.txt"):
        parts("prompts.train=away.txt", "prompts.fallback=gone.txt")


def test_a_missing_reward_is_an_error_unless_the_profile_names_a_stand_in(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "utmos needs its weights"
    monkeypatch.setattr(registry, "missing", lambda name: why if name == "utmos" else "")
    with pytest.raises(ProfileError, match=rf"^reward\.models: {why}$"):
        choose_rewards(load("reward.models={utmos=1.0}"))
    choice = choose_rewards(load("reward.models={utmos=1.0}", "reward.fallback={loudness=0.5}"))
    assert choice.weights == {"loudness": 0.5}
    assert choice.stand_in == "loudness for utmos"
    told = "loudness stands in for utmos as the reward, and is another score"
    assert choice.notice == f"{told}: {why}"
    there = choose_rewards(load("reward.fallback={loudness=0.5}"))
    assert (there.stand_in, there.notice) == ("", "")


def test_nothing_stands_in_for_what_is_there(parts, place: Path) -> None:
    found = parts(
        "voice.fallback=bundled", "prompts.fallback=bundled", "reward.fallback={distillmos=1.0}"
    )
    assert found.notices == ()
    assert found.weights == {"loudness": 1.0}


def test_nothing_stands_in_for_a_misspelt_reward(parts) -> None:
    with pytest.raises(ProfileError, match="'lodness'; did you mean 'loudness'"):
        parts("reward.models={lodness=1.0}", "reward.fallback={clipping=-1.0}")
    with pytest.raises(ProfileError, match="'clping'; did you mean 'clipping'"):
        parts("reward.fallback={clping=-1.0}")


# --- judges ---------------------------------------------------------------------


@pytest.mark.parametrize("judge", ["loudness", "clipping"])
def test_the_judge_is_never_the_reward(parts, judge: str) -> None:
    with pytest.raises(ProfileError, match="judge must not be the reward, but loudness is named"):
        parts(f"judges.models=['{judge}']")


def test_an_unknown_score_is_refused_with_the_nearest(parts) -> None:
    with pytest.raises(ProfileError, match="'loudnes'; did you mean 'loudness'"):
        parts("reward.models={loudnes=1.0}")
    with pytest.raises(ProfileError, match="'inteligibility'; did you mean 'intelligibility'"):
        parts("judges.models=['inteligibility']")


def test_a_judge_that_is_missing_is_an_error_unless_it_is_optional(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "nisqa needs its weights"
    monkeypatch.setattr(registry, "missing", lambda name: why if name == "nisqa" else "")
    with pytest.raises(ProfileError, match=rf"^judges\.models: {why}$"):
        choose_judges(load("judges.models=['loudness', 'nisqa']"), [])
    notices: list[str] = []
    change = ("judges.models=['wer']", "judges.optional=['nisqa', 'distillmos']")
    assert choose_judges(load(*change), notices) == ("wer", "distillmos")
    assert notices == [f"nisqa does not judge: {why}"]


def test_an_optional_judge_that_is_there_judges(parts) -> None:
    change = ("reward.models={distillmos=1.0}", "judges.optional=['loudness']")
    found = parts(*change)
    assert [judge.name for judge in found.judges] == ["loudness"]
    assert found.notices == ()


def test_an_optional_judge_is_never_the_reward_and_never_misspelt(parts) -> None:
    with pytest.raises(ProfileError, match="judge must not be the reward, but loudness is named"):
        parts("judges.optional=['clipping']")
    with pytest.raises(ProfileError, match="'nisca'; did you mean 'nisqa'"):
        parts("judges.optional=['nisca']")


# --- prompts --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bundled", "ljspeech"])
def test_the_bundled_lists_have_two_halves_without_a_common_sentence(name: str) -> None:
    train, held = (prompt_texts(name, half, "", []) for half in (0, 1))
    assert len(train) > len(held) >= 16
    assert not set(train) & set(held)
    assert len(set(train)) == len(train)


def test_a_list_is_its_lines(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# a comment\nOne.\n\n  Two.  \n", encoding="utf-8")
    for half in (0, 1):
        assert prompt_texts(str(tmp_path / "list.txt"), half, "", []) == ("One.", "Two.")


def test_every_50th_sentence_of_a_data_set_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text("".join(f"LJ-{i}|{i}|Number {i}.\n" for i in range(120)) + "LJ|x|Number 3.\n")
    train, held = (prompt_texts(str(path), half, "", []) for half in (0, 1))
    assert held == ("Number 0.", "Number 50.", "Number 100.")
    assert len(train) == 117
    assert not set(train) & set(held)


def test_a_prepared_corpus_keeps_its_own_split(place: Path) -> None:
    train, held = (prompt_texts(str(place / "corpus"), half, "", []) for half in (0, 1))
    assert (*train, *held) == tuple(SPOKEN.values())
    assert len(held) == 1


@pytest.mark.parametrize(
    ("name", "content", "half", "told"),
    [
        ("list.txt", b"# nothing but a comment\n", 0, "There is no sentence in"),
        ("list.txt", b"\xff\xfe\xfd", 0, "are not UTF-8 text"),
        ("metadata.csv", b"LJ-1|\xff|a\n", 0, "cannot be read"),
        ("metadata.csv", b"", 1, "has no sentence to hold out"),
        ("metadata.csv", b"LJ-1|One.|One.\n", 0, "has no sentence to train on"),
    ],
)
def test_prompts_that_cannot_be_used_are_one_sentence(
    tmp_path: Path, name: str, content: bytes, half: int, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProfileError, match=told) as caught:
        prompt_texts(str(tmp_path / name), half, "bundled", [])
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_corpus_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="There is no prepared corpus in"):
        prompt_texts(str(tmp_path), 0, "bundled", [])


def test_no_held_out_prompt_is_trained_on(parts) -> None:
    found = parts("evaluation.prompts=9")
    assert texts(found.held_out) == ["Yes.", "Now."]  # not "Wait.", which is trained on
    assert texts(parts("evaluation.prompts=1").held_out) == ["Yes."]


def test_only_trained_prompts_to_evaluate_on_are_an_error(parts, place: Path) -> None:
    with pytest.raises(ProfileError, match=r"every prompt of prompts\.evaluation is in"):
        parts(f"prompts.evaluation={place}/train.txt")


def test_long_prompts_are_left_out_of_both_halves(parts) -> None:
    everything = parts("evaluation.prompts=9")
    rate = 22050
    seconds = {u.text: u.seconds(rate) for u in (*everything.prompts, *everything.held_out)}
    longest = max(seconds.values())
    found = parts("evaluation.prompts=9", f"prompts.max_seconds={longest - 1e-3}")
    kept = texts((*found.prompts, *found.held_out))
    assert kept == [text for text, took in seconds.items() if took < longest]
    assert len(kept) < len(seconds)


def test_only_long_prompts_are_an_error_that_says_how_long(parts) -> None:
    with pytest.raises(ProfileError, match=r"prompts\.max_seconds = 0\.01 s; the shortest takes 0"):
        parts("prompts.max_seconds=0.01")


# --- recorded speech ------------------------------------------------------------


def test_with_recorded_speech_its_sentences_are_the_prompts(parts, place: Path) -> None:
    corpus = place / "corpus"
    found = parts("train.penalty_source=data", f"prompts.corpus={corpus}")
    assert texts(found.prompts) == list(found.recordings) == list(SPOKEN.values())[:2]
    assert texts(found.held_out) == ["Yes.", "Wait."]


def test_recorded_speech_that_is_not_there_is_one_sentence(parts, place: Path) -> None:
    for corpus, told in (("away", "no prepared corpus in away"), (place, "no prepared corpus")):
        with pytest.raises(ValueError, match=told):
            parts("train.penalty_source=data", f"prompts.corpus={corpus}")


def test_at_most_so_many_sentences_are_used_and_the_seed_chooses_them() -> None:
    texts = tuple(f"sentence {i}" for i in range(20))
    some = replace(Profile(), prompts=replace(Profile().prompts, most=5))
    chosen = drawn(texts, some)
    assert len(chosen) == 5
    assert chosen == [text for text in texts if text in chosen]
    assert drawn(texts, some) == chosen
    assert drawn(texts, replace(some, seed=1)) != chosen
    assert drawn(texts, replace(some, prompts=replace(some.prompts, most=0))) == list(texts)


# --- the noise schedule ---------------------------------------------------------


def save_with(place: Path, name: str, **about: object) -> str:
    model = tiny_model()
    checkpoint.save(place / name, model, Card(model.config, ("anna",), dict(about)))
    return f"voice.checkpoint={place / name}"


def test_a_session_takes_the_voices_own_schedule(parts, place: Path) -> None:
    own = {"kind": "snr", "timesteps": 3, "low_db": -30.0}
    voice = save_with(place, "searched.safetensors", schedules={"3": own})
    found = parts(voice)
    assert found.schedule == ScheduleSpec("snr", 3, low_db=-30.0)
    assert found.notices == ()
    assert parts(voice, "schedule.timesteps=4").schedule == ScheduleSpec("respaced", 4)


def test_a_profile_that_names_a_kind_has_its_own_way(parts, place: Path) -> None:
    voice = save_with(place, "fixed.safetensors", schedule={"kind": "manual8"})
    named = parts(voice, "schedule.kind=respaced", "schedule.power=1.5")
    assert named.schedule == ScheduleSpec("respaced", 3, power=1.5)
    left = parts(voice)
    assert left.schedule == ScheduleSpec("manual8")
    (notice,) = left.notices
    assert notice.endswith("has a schedule of kind manual8: 8 timesteps instead of 3")
