from __future__ import annotations

from pathlib import Path

import pytest

from engine.profile import ProfileError
from engine.study.plan import Study, StudyError, load_methods, parse_seeds

PAPER = Path(__file__).parents[3] / "profiles" / "paper"


def refused(*arguments: object) -> str:
    """What `load_methods` says to these paths; changes after them as texts."""
    paths = [one for one in arguments if isinstance(one, Path)]
    changes = [one for one in arguments if isinstance(one, str)]
    with pytest.raises((StudyError, ProfileError)) as caught:
        load_methods(paths, changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("told", "seeds"), [("0", (0,)), ("0,1,2", (0, 1, 2)), (" 7, 3 ,7", (7, 3))]
)
def test_seeds_are_numbers_with_commas(told: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(told) == seeds


@pytest.mark.parametrize("told", ["", "0,", "a", "-1", "0 1", "1.5"])
def test_other_seeds_are_refused(told: str) -> None:
    with pytest.raises(StudyError, match="with commas between, such as 0,1,2, not"):
        parse_seeds(told)


def test_a_folder_stands_for_its_profiles(profiles: Path) -> None:
    methods = load_methods([profiles], [])
    assert [method.name for method in methods] == ["base", "ddpo", "dlpo"]
    assert [method.trains for method in methods] == [False, True, True]
    assert methods == load_methods(sorted(profiles.glob("*.toml")), [])


def test_a_study_runs_every_method_with_a_seed_before_the_next_seed(profiles: Path) -> None:
    study = Study(Path("out"), load_methods([profiles], []), (5, 2))
    assert study.base == "base"
    assert [run.name for run in study.runs] == ["ddpo-5", "dlpo-5", "ddpo-2", "dlpo-2"]
    run = study.runs[-1]
    assert (run.profile.seed, run.profile.runs, run.method) == (2, "out", "dlpo")
    assert run.end == Path("out/dlpo-2/checkpoints/update-000002.safetensors")


def test_without_a_profile_for_it_the_starting_voice_is_base(profiles: Path) -> None:
    study = Study(Path("out"), load_methods([profiles / "dlpo.toml"], []), (0,))
    assert (study.base, len(study.runs)) == ("base", 1)


def test_a_change_is_for_all_or_for_one_and_base_still_learns_nothing(profiles: Path) -> None:
    changes = ["knobs.learning_rate=0.5", "dlpo:knobs.beta=0.25", "knobs.beta=3", "train.updates=7"]
    base, ddpo, dlpo = (method.profile for method in load_methods([profiles], changes))
    assert [p.knobs.learning_rate for p in (base, ddpo, dlpo)] == [0.0, 0.5, 0.5]
    assert [p.knobs.beta for p in (base, ddpo, dlpo)] == [3.0, 3.0, 0.25]
    assert dlpo.train.updates == 7


def test_a_profile_may_need_its_change(profiles: Path) -> None:
    unfinished = profiles / "dlpo.toml"
    unfinished.write_text(unfinished.read_text().replace("updates = 2", "updates = 0"))
    assert "train.updates is at least 1" in refused(unfinished)
    (method,) = load_methods([unfinished], ["train.updates=5"])
    assert method.profile.train.updates == 5


def test_the_papers_profiles_make_a_study() -> None:
    methods = load_methods([PAPER], [])
    names = ["base", "ddpo", "dlpo", "dlpo_1step", "dpok", "klinr", "only_dl", "rwr"]
    assert [method.name for method in methods] == names
    assert [method.name for method in methods if not method.trains] == ["base"]


def test_two_profiles_of_one_name_are_refused(profiles: Path) -> None:
    again = profiles.parent / "again.toml"
    again.write_text((profiles / "dlpo.toml").read_text())
    told = refused(profiles, again)
    assert told == (
        f"{profiles / 'dlpo.toml'} and {again} are both named dlpo, and their runs would share a "
        "folder; give one of them another name"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("dplo:knobs.beta=2", "no profile here is named 'dplo'; did you mean dlpo?"),
        ("x:knobs.beta=2", "no profile here is named 'x'; they are base, ddpo, dlpo"),
        ("seed=3", "--set seed=3 cannot be in a study: name the seeds with --seeds"),
        ("dlpo:runs=x", "the runs of a study lie in --out"),
        ("name=x", "a method goes by the name in its profile"),
        ("knobs.bta=2", "unknown key 'bta'; did you mean 'beta'?"),
        ("dlpo:voice.pace=2", "base has voice.pace = 1.0 and dlpo 2.0: the methods of a study"),
        ("ddpo:schedule.timesteps=4", "schedule.timesteps = 3 and ddpo 4"),
        ("dlpo:evaluation.seed=1", "evaluation.seed = 1234 and dlpo 1"),
        ("base:knobs.learning_rate=1", "the starting voice is called base here, and a profile"),
        ("dlpo:knobs.learning_rate=0", "base and dlpo learn nothing (knobs.learning_rate = 0)"),
    ],
)
def test_changes_that_make_no_study_are_refused(profiles: Path, change: str, told: str) -> None:
    assert told in refused(profiles, change)


def test_profiles_that_are_not_there_are_refused(
    profiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(profiles / "dpol.toml")
    assert told.endswith(f"did you mean {profiles / 'dlpo.toml'}?")
    (tmp_path / "empty").mkdir()
    assert "there is no profile in the folder" in refused(tmp_path / "empty")
    monkeypatch.chdir(tmp_path)
    assert refused(profiles, Path("1")).endswith("with commas between: --seeds 0,1")
