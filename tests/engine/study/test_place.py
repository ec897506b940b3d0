from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import messages as m
from engine.journal import JournalError
from engine.study import place
from engine.study.plan import Run, Study, StudyError
from tests.voices import write_voice

MakeStudy = Callable[..., Study]


def beginnings(study: Study) -> dict[str, dict[str, str]]:
    return {method.name: place.beginning(method.profile) for method in study.methods}


def begun(study: Study) -> Study:
    """The study with its folder."""
    begins = beginnings(study)
    place.check(study, begins)
    with place.locked(study.folder):
        place.record(study, begins, ["one core"])
    return study


def refused(study: Study) -> str:
    with pytest.raises(StudyError) as caught:
        place.check(study, beginnings(study))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def stats(seconds: float) -> m.UpdateStats:
    return m.UpdateStats(
        0.0, None, None, None, 1.0, 0.0, 0.0, 1.0, 0, 0, 0.0,
        {"rollout": seconds, "optimise": seconds},
    )  # fmt: skip


def write_run(run: Run, *events: m.Event, torn: str = "", state: bool = True) -> None:
    (run.folder / "resume").mkdir(parents=True)
    if state:
        (run.folder / "resume" / "update-000001.safetensors").touch()
    rows = [json.dumps({"at": "2026-01-02", **m.to_json(event)}) + "\n" for event in events]
    (run.folder / "events.jsonl").write_text("".join(rows) + torn)


# --- whose folder it is ---------------------------------------------------------


def test_a_study_may_get_more_seeds_methods_and_threads(make: MakeStudy, tmp_path: Path) -> None:
    few = make(seeds=(0,))
    begun(Study(few.folder, few.methods[:2], (0,)))
    more = begun(make("device.threads=2", seeds=(0, 1, 2)))
    told = place.read(more.folder)
    assert list(told["methods"]) == ["base", "ddpo", "dlpo"]
    assert told["machines"] == ["one core"]
    assert told["methods"]["dlpo"]["begins_with"]["reward"] == "loudness"
    assert place.record(more, beginnings(more), ["two", "one core"])["machines"] == [
        "one core", "two",
    ]  # fmt: skip


def test_a_folder_of_other_things_is_no_studys(make: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    place.check(make(), beginnings(make()))  # empty
    (tmp_path / "out" / "letter").touch()
    assert refused(make()).endswith(
        "out holds other things and no study; name a new folder with --out"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("dlpo:knobs.beta=2", "its dlpo has knobs.beta = 1.0 and not 2.0; name a new --out"),
        ("train.updates=9", "its base has train.updates = 2 and not 9"),
        ("voice.pace=2", "its base has voice.pace = 1.0 and not 2.0"),
    ],
)
def test_a_method_that_has_changed_belongs_to_another_study(
    make: MakeStudy, change: str, told: str
) -> None:
    begun(make())
    assert told in refused(make(change))


def test_another_method_in_another_setting_belongs_to_another_study(make: MakeStudy) -> None:
    whole = make()
    begun(Study(whole.folder, whole.methods[:2], (0,)))
    paced = make("voice.pace=2")
    told = refused(Study(paced.folder, paced.methods[2:], (0,)))
    assert "holds another study: base has voice.pace = 1.0 and dlpo 2.0" in told


def test_another_voice_in_the_same_file_is_another_study(make: MakeStudy, tmp_path: Path) -> None:
    study = begun(make())
    write_voice(tmp_path / "voice.safetensors", ("anna", "kathleen"), seed=1)
    assert "the starting voice of its ddpo was" in refused(study)
    for run in study.runs:
        write_run(run, m.SessionEnded(2, "finished"))
    assert "its runs began with another voice than " in refused(study)


def test_what_runs_begin_with_may_change_once_they_have_ended(
    make: MakeStudy, tmp_path: Path
) -> None:
    study = begun(make(seeds=(0,)))
    (tmp_path / "train.txt").write_text("Go on.\nNo.\n")
    told = refused(study)
    assert "the training prompts of its ddpo was" in told
    assert told.endswith("put back what was there, or name a new --out")
    for run in study.runs:
        write_run(run, m.SessionEnded(2, "finished"))
    place.check(study, beginnings(study))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2}', "\xff"])
def test_a_damaged_list_of_methods_is_one_sentence(make: MakeStudy, text: str) -> None:
    study = begun(make())
    (study.folder / "study.json").write_text(text, encoding="latin-1")
    assert "study.json is no study's that this program can read (" in refused(study)


def test_a_study_is_at_work_in_one_process_alone(make: MakeStudy, tmp_path: Path) -> None:
    with (
        place.locked(tmp_path / "out"),
        pytest.raises(StudyError, match="at work in another process"),
        place.locked(tmp_path / "out"),
    ):
        pass
    with place.locked(tmp_path / "out"):
        pass


# --- how far its runs are -------------------------------------------------------


def test_a_run_is_new_begun_or_finished(make: MakeStudy) -> None:
    new, dead, cut, stopped = make(seeds=(0, 1)).runs
    write_run(dead, m.PhaseEntered(0, "loading"), state=False)
    write_run(cut, m.UpdateFinished(1, stats(1.0)), torn='{"kind": "SessionEnd')
    write_run(stopped, m.SessionEnded(1, "stopped"))
    (finished,) = make(seeds=(2,), out="other").runs[:1]
    long = m.Clip(1, 0, "rollout", "x" * 200_000, "anna", 0, 1.0, "", {})
    write_run(finished, m.ClipsScored(1, (long,)), m.SessionEnded(2, "finished"))
    stages = [place.stage(run) for run in (new, dead, cut, stopped, finished)]
    assert stages == ["new", "new", "begun", "begun", "finished"]
    (going,) = make(seeds=(3,), out="other").runs[:1]
    write_run(going, m.SessionEnded(2, "finished"), m.ClipsScored(1, (long,)))
    assert place.stage(going) == "begun"


def test_an_update_that_was_lost_and_came_again_costs_once(make: MakeStudy) -> None:
    run = make().runs[0]
    write_run(
        run,
        m.UpdateFinished(1, stats(30.0)),
        m.UpdateFinished(2, stats(90.0)),
        m.AlarmRaised(2, "the reward rose"),
        m.SessionResumed(1, 2, m.Knobs()),
        m.UpdateFinished(2, stats(60.0)),
        m.AlarmRaised(2, "the reward rose"),
        m.UpdateFinished(3, stats(60.0)),  # beyond the study's last
        torn='{"at": "", "kind": "UpdateFinished", "upd',
    )
    assert place.cost(run) == (2, 3.0, 1)


def test_a_journal_that_cannot_be_read_is_one_sentence(make: MakeStudy) -> None:
    one, other = make(seeds=(0,)).runs
    with pytest.raises(JournalError, match="has no journal that can be read"):
        place.cost(one)
    write_run(other, torn='{"kind": "UpdateFinished", broken\n')
    with pytest.raises(JournalError, match=r"events\.jsonl, line 1: "):
        place.cost(other)


def test_a_machine_is_told_in_a_line() -> None:
    assert place.machine(1).endswith("; 1 run at a time")
    assert "cores, " in place.machine(3)
    assert place.machine(3).endswith("; 3 runs at a time")
