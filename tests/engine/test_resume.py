from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine import checkpoint, optimizer_state, resume
from engine import journal as journals
from engine import profile as profiles
from engine.journal import JournalError, replay
from engine.messages import (
    CheckpointSaved,
    ClipsScored,
    EvaluationFinished,
    Event,
    KnobsChanged,
    PhaseEntered,
    SessionEnded,
    SessionResumed,
    SetKnobs,
    Snapshot,
    Stop,
    UpdateFinished,
)
from engine.profile import ProfileError
from engine.reopening import reopen, saved, start_path
from engine.resume import State
from engine.rl.algorithms import ALGORITHMS
from engine.session import Session
from tests.voices import write_profile, write_voice

UPDATES = 3
CHANGES = (
    f"train.updates={UPDATES}", "train.inner_epochs=2", "train.save_every=1", "evaluation.every=1",
    "train.advantage=per_prompt", "prompts.most=1",
)  # fmt: skip
"""One prompt, so that its remembered rewards are enough for the per-prompt statistics at once."""

When = Callable[[Event], bool]


class Killed(BaseException):
    """The process is gone: nothing that a session does on errors may run."""


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_profile(folder, write_voice(folder / "voice.safetensors", ("anna", "ben")))
    return folder


def begin(place: Path, name: str, *changes: str) -> tuple[profiles.Profile, Path]:
    profile = profiles.load(place / "tiny.toml", [*CHANGES, *changes])
    folder = place / name
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "samples").mkdir()
    (folder / "profile.json").write_text(json.dumps(journals.plain(profile)))
    return profile, folder


def run(
    profile: profiles.Profile,
    folder: Path,
    before: Snapshot | None = None,
    until: When | None = None,
    stop: When = lambda event: False,
) -> Session:
    """A session that turns alpha after its first update; killed, or stopped, where told."""

    def emit(event: Event) -> None:
        # What was asked for and not yet obeyed when the process died is asked for again.
        lost = isinstance(event, SessionResumed) and event.knobs.alpha != 3.0
        if (isinstance(event, UpdateFinished) or lost) and event.update == 1:
            session.commands.put(SetKnobs({"alpha": 3.0, "learning_rate": 2e-3}))
        if stop(event):
            session.commands.put(Stop())
        if until is not None and until(event):
            raise Killed

    session = Session(profile, folder, emit, before)
    if until is None:
        session.run()
    else:
        with pytest.raises(Killed):
            session.run()
    return session


def weights(session: Session) -> dict[str, Tensor]:
    return session.voice.model.state_dict()


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [k for k in one if not torch.equal(one[k], other[k])] == []


def told(folder: Path) -> Snapshot:
    """What a screen shows of a run, without wall times, log lines and where it lies."""
    now = replay(folder)
    assert now.started is not None
    stats = [
        (u, replace(s, seconds=dict.fromkeys(s.seconds, 0.0), memory_bytes=None))
        for u, s in now.history
    ]
    return replace(
        now, history=tuple(stats), log=(), started=replace(now.started, run="", folder="")
    )


@pytest.fixture(scope="module")
def unstopped(place: Path) -> Callable[[str], Session]:
    """The same session without a stop, by algorithm; each runs once."""
    done: dict[str, Session] = {}

    def of(name: str) -> Session:
        if name not in done:
            done[name] = run(
                *begin(place, f"unstopped-{name}", f"train.algorithm={name}", *extra(name))
            )
        return done[name]

    return of


def extra(name: str) -> tuple[str, ...]:
    """rwr_raw takes raw rewards only, draft those with a gradient, through some of 3 timesteps."""
    if name == "draft":
        return ("train.through=2", "reward.models={distillmos=1.0}")
    return ("train.advantage=auto",) if ALGORITHMS[name].weigh else ()


# --- equality -------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_resumed_session_is_the_one_that_was_never_stopped(
    place: Path, unstopped: Callable[[str], Session], name: str
) -> None:
    """Killed within its second update, after alpha and the learning rate were turned."""
    profile, folder = begin(place, f"killed-{name}", f"train.algorithm={name}", *extra(name))
    run(profile, folder, until=lambda e: e == PhaseEntered(1, "optimise"))
    again, before = reopen(folder)
    assert again == profile
    resumed, whole = run(again, folder, before), unstopped(name)
    assert_same(weights(resumed), weights(whole))
    started = weights_at_start(folder)
    assert any(not torch.equal(v, started[k]) for k, v in weights(resumed).items())
    assert_same(
        optimizer_state.tensors_of(resumed.learner.optimizer),
        optimizer_state.tensors_of(whole.learner.optimizer),
    )
    assert resumed.learner.statistics.state() == whole.learner.statistics.state()
    assert told(folder) == told(whole.folder)


def weights_at_start(folder: Path) -> dict[str, Tensor]:
    return checkpoint.load(start_path(folder)).model.state_dict()


MOMENTS: dict[str, When] = {
    "before the first update": lambda e: e == PhaseEntered(0, "rollout"),
    "with its clips scored": lambda e: isinstance(e, ClipsScored) and e.update == 2,
    "with an update done and no state": lambda e: isinstance(e, UpdateFinished) and e.update == 1,
    "within an evaluation": lambda e: e == PhaseEntered(1, "evaluate"),
    "after an evaluation": lambda e: isinstance(e, EvaluationFinished) and e.update == 1,
    "while saving": lambda e: e == PhaseEntered(1, "save"),
    "with a checkpoint saved": lambda e: isinstance(e, CheckpointSaved) and e.update == 1,
    "with a knob turned": lambda e: isinstance(e, KnobsChanged),
    "within the last evaluation": lambda e: e == PhaseEntered(UPDATES, "evaluate"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_does_not_matter_when_it_was_killed(
    place: Path, unstopped: Callable[[str], Session], moment: str
) -> None:
    profile, folder = begin(place, f"moment-{moment}")
    run(profile, folder, until=MOMENTS[moment])
    again, before = reopen(folder)
    resumed = run(again, folder, before)
    assert_same(weights(resumed), weights(unstopped("dlpo")))
    assert told(folder) == told(unstopped("dlpo").folder)


def test_stopped_twice_and_resumed_twice(place: Path, unstopped: Callable[[str], Session]) -> None:
    profile, folder = begin(place, "twice")
    run(profile, folder, stop=lambda e: e == PhaseEntered(0, "optimise"))
    for update in (1, 2):
        again, before = reopen(folder)
        assert before.ended is None
        wanted = PhaseEntered(update, "score")
        run(again, folder, before, stop=lambda e, wanted=wanted: e == wanted)
    again, before = reopen(folder)
    resumed = run(again, folder, before)
    assert_same(weights(resumed), weights(unstopped("dlpo")))
    assert sum(isinstance(e, SessionResumed) for e in journals.events(folder)) == 3


KILLED = """
import os, sys
from pathlib import Path
from engine.journal import profile_of
from engine.messages import ClipsScored
from engine.session import Session
folder = Path(sys.argv[1])
def emit(event):
    if isinstance(event, ClipsScored) and event.update == 2:
        os._exit(9)
Session(profile_of(folder), folder, emit).run()
"""


def test_a_process_that_is_gone_loses_the_update_in_flight(place: Path) -> None:
    changes = ("evaluation.every=0", "train.updates=2", "train.save_every=9")
    _, folder = begin(place, "gone", *changes)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)], check=False, capture_output=True, text=True,
        cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    again, before = reopen(folder)
    assert resume.newest(folder).update == before.update == 1
    resumed = run(again, folder, before)
    whole = run(*begin(place, "not gone", *changes))
    assert_same(weights(resumed), weights(whole))


def test_more_updates_may_be_asked_for_than_the_run_had(
    place: Path, unstopped: Callable[[str], Session]
) -> None:
    _, folder = begin(place, "more", "train.updates=2", "evaluation.every=0")
    run(profiles_of(folder), folder)
    with pytest.raises(JournalError, match=r"has finished its 2 updates; .* train.updates=4"):
        reopen(folder)
    again, before = reopen(folder, ["train.updates=3"])
    longer = run(again, folder, before)
    assert longer.update == 3
    assert replay(folder).started.updates == 3  # type: ignore[union-attr]


def profiles_of(folder: Path) -> profiles.Profile:
    return journals.profile_of(folder)


# --- what lies on the disk ------------------------------------------------------


@pytest.fixture
def stopped(place: Path, tmp_path: Path) -> Path:
    """A run that was stopped within its third update; a copy of its own for each test."""
    folder = place / "stopped"
    if not folder.exists():
        run(*begin(place, "stopped"), stop=lambda e: e == PhaseEntered(2, "score"))
    return Path(shutil.copytree(folder, tmp_path / "stopped"))


def test_two_states_are_kept_and_the_older_stands_in_for_a_damaged_one(stopped: Path) -> None:
    newest, older = saved(stopped)
    assert (newest.name, older.name) == ("update-000002.safetensors", "update-000001.safetensors")
    newest.write_bytes(newest.read_bytes()[:100])
    assert resume.newest(stopped).update == 1
    older.write_bytes(b"")
    with pytest.raises(JournalError, match=r"no state of .* can be read"):
        resume.newest(stopped)
    profile, before = reopen(stopped)
    journal = (stopped / "events.jsonl").read_bytes()
    with pytest.raises(JournalError, match=r"no state of .* can be read"):
        Session(profile, stopped, lambda event: None, before)
    assert (stopped / "events.jsonl").read_bytes() == journal


def test_the_torn_line_of_a_killed_process_is_cut_off(stopped: Path) -> None:
    path = stopped / "events.jsonl"
    whole = path.read_bytes()
    torn = b'{"at": "2026-11-25T17:00:00", "kind": "UpdateFin'
    path.write_bytes(whole + torn)
    profile, before = reopen(stopped)
    run(profile, stopped, before)
    assert path.read_bytes().startswith(whole)
    now = replay(stopped)
    assert now.update == UPDATES
    wanted = f"ended within a line, {len(torn)} bytes of an event that was being written"
    told = [line for line in now.log if wanted in line.text]
    assert len(told) == 1


def test_a_run_at_work_is_not_opened_twice(stopped: Path) -> None:
    profile, before = reopen(stopped)
    at_work = Session(profile, stopped, lambda event: None, before)
    with pytest.raises(JournalError, match="is at work in another process"):
        Session(profile, stopped, lambda event: None, before)
    at_work.journal.close()


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State(
        7, {"w": torch.randn(2)}, {"0.step": torch.tensor(3.0)}, {"Fête": [0.1, 1 / 3]}, 2,
        torch.tensor([[float("nan"), 1.0]]), {"training prompts": "abc"},
    )  # fmt: skip
    resume.write(tmp_path, state)
    again = resume.read(saved(tmp_path)[0])
    assert (again.update, again.skipped, again.statistics) == (7, 2, {"Fête": [0.1, 1 / 3]})
    assert again.identity == state.identity
    assert_same(dict(again.policy), dict(state.policy))
    assert_same(dict(again.optimizer), dict(state.optimizer))
    assert again.first is not None
    assert bool(again.first.isnan()[0, 0])


# --- what cannot be -------------------------------------------------------------


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"there is no run .*nowhere"):
        reopen(tmp_path / "nowhere")
    with pytest.raises(JournalError, match=r"holds no profile.toml"):
        reopen(tmp_path)


def test_a_run_that_never_began_has_nothing_to_go_on_from(place: Path) -> None:
    profile, folder = begin(place, "never began")
    run(profile, folder, until=lambda e: e == PhaseEntered(0, "evaluate"))
    with pytest.raises(JournalError, match="ended before its first update"):
        reopen(folder)


def test_a_change_that_would_make_it_another_run_is_refused(stopped: Path) -> None:
    with pytest.raises(JournalError, match=r"knobs.alpha=9 would make it another run.*--from"):
        reopen(stopped, ["knobs.alpha=9"])


def test_a_run_goes_on_over_as_many_devices_as_there_are_now(stopped: Path) -> None:
    again, before = reopen(stopped, ["distributed.devices=2", "distributed.backend=gloo"])
    assert (again.distributed.devices, again.distributed.backend) == (2, "gloo")
    assert before == reopen(stopped)[1]


def test_other_prompts_than_it_was_begun_with_are_refused(place: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "train.txt"
    prompts.write_text("Go on.\n")
    profile, folder = begin(place, "other prompts", f"prompts.train={prompts}")
    run(profile, folder, until=lambda e: e == PhaseEntered(1, "score"))
    prompts.write_text("Stay.\n")
    again, before = reopen(folder)
    session = run(again, folder, before)
    end = list(journals.events(folder))[-1]
    assert isinstance(end, SessionEnded)
    assert "its training prompts were" in end.error
    assert session.update == 0


def test_a_state_of_another_network_is_refused(stopped: Path) -> None:
    profile, before = reopen(stopped)
    for path in saved(stopped):
        state = resume.read(path)
        name = next(iter(state.policy))
        resume.write(stopped, replace(state, policy={**state.policy, name: torch.zeros(1)}))
    run(profile, stopped, before)
    end = list(journals.events(stopped))[-1]
    assert isinstance(end, SessionEnded)
    assert "a voice of other sizes" in end.error


@pytest.mark.parametrize(
    "changes",
    [
        {"first": torch.zeros(9, 9)},
        {"optimizer": {"0.exp_avg": torch.zeros(7)}},
        {"optimizer": {"999.step": torch.zeros(())}},
        {"optimizer": {"x": torch.zeros(())}},
    ],
    ids=["scores", "moment", "place", "name"],
)
def test_a_state_of_other_things_is_refused_before_anything_is_written(
    stopped: Path, changes: dict[str, object]
) -> None:
    profile, before = reopen(stopped)
    for path in saved(stopped):
        resume.write(stopped, replace(resume.read(path), **changes))  # type: ignore[arg-type]
    kept = sorted(path.name for path in stopped.rglob("*.safetensors"))
    run(profile, stopped, before)
    end = list(journals.events(stopped))[-1]
    assert isinstance(end, SessionEnded)
    assert end.refused
    assert "state" in end.error or "optimiser" in end.error
    assert sorted(path.name for path in stopped.rglob("*.safetensors")) == kept


@pytest.mark.parametrize(
    "told",
    [
        "[1]", "5", "[" * 100_000, "{}", '{"format_version": 1}',
        '{"format_version": 1, "update": "1", "skipped": 0, "statistics": {}, "identity": {}}',
        '{"format_version": 1, "update": -1, "skipped": 0, "statistics": {}, "identity": {}}',
        '{"format_version": 1, "update": 1, "skipped": 0, "statistics": 5, "identity": {}}',
        '{"format_version": 1, "update": 1, "skipped": 0, "statistics": {"a": "b"}}',
        '{"format_version": 1, "update": 1, "skipped": 0, "statistics": {}, "identity": 5}',
    ],
)  # fmt: skip
def test_a_state_that_says_what_cannot_be_is_no_state(tmp_path: Path, told: str) -> None:
    (tmp_path / "resume").mkdir()
    start_path(tmp_path).touch()
    path = tmp_path / "resume" / "update-000001.safetensors"
    save_file({"policy.a": torch.zeros(1)}, path, {"state": told})
    with pytest.raises(JournalError, match=r"no state of .* can be read") as caught:
        resume.newest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_state_with_weights_that_are_not_finite_is_no_state(tmp_path: Path) -> None:
    state = State(1, {"w": torch.tensor([float("inf")])}, {}, {}, 0, None, {})
    start_path(tmp_path).parent.mkdir()
    start_path(tmp_path).touch()
    resume.write(tmp_path, state)
    with pytest.raises(JournalError, match=r"policy\.w holds numbers that are not finite"):
        resume.newest(tmp_path)


# --- branches -------------------------------------------------------------------


def test_a_branch_is_a_new_run_from_a_snapshot_with_its_parent_told(
    place: Path, unstopped: Callable[[str], Session]
) -> None:
    parent = unstopped("dlpo")
    snapshot = parent.folder / "checkpoints/update-000003.safetensors"
    profile = resume.branch(snapshot, None, ["knobs.beta=0.5", "train.updates=1"])
    assert profile.knobs == replace(parent.knobs, beta=0.5)  # alpha as it was turned
    assert profile.train == replace(parent.profile.train, updates=1)
    folder = place / "branch"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "samples").mkdir()
    branched = run(profile, folder)
    assert_same(weights_at_start(folder), weights(parent))
    started = replay(folder).started
    assert started is not None
    assert started.parent == "unstopped-dlpo, update 3"
    saved = checkpoint.read_card(folder / "checkpoints/update-000001.safetensors").about
    assert saved["branched_from"] == "unstopped-dlpo, update 3"
    assert saved["parent"] == str(snapshot)
    assert branched.update == 1


def test_a_snapshot_outside_its_run_needs_a_profile(
    place: Path, unstopped: Callable[[str], Session], tmp_path: Path
) -> None:
    snapshot = unstopped("dlpo").folder / "checkpoints/update-000003.safetensors"
    lonely = tmp_path / "a" / "b" / "lonely.safetensors"
    lonely.parent.mkdir(parents=True)
    shutil.copy(snapshot, lonely)
    with pytest.raises(JournalError, match="does not lie in a run's folder; name a profile too"):
        resume.branch(lonely, None)
    profile = resume.branch(lonely, place / "tiny.toml", ["knobs.alpha=7"])
    assert (profile.voice.checkpoint, profile.knobs.alpha) == (str(lonely), 7.0)
    with pytest.raises(ProfileError, match="unknown key 'alpa'"):
        resume.branch(lonely, place / "tiny.toml", ["knobs.alpa=7"])


# --- what is kept -----------------------------------------------------------------


def test_rollouts_stay_as_long_as_the_profile_says_and_evaluations_for_ever(place: Path) -> None:
    profile, folder = begin(place, "kept", "train.samples_kept=1", "evaluation.prompts=1")
    run(profile, folder)
    names = sorted(p.name for p in (folder / "samples").iterdir())
    assert names == [
        *(f"evaluation-{update:06d}-00.flac" for update in range(UPDATES + 1)),
        *(f"update-{UPDATES:06d}-{i:02d}.flac" for i in range(4)),
    ]
    assert next(clip.update for clip in replay(folder).clips if clip.kind == "rollout") == 1


def test_what_piled_up_is_removed_when_a_run_goes_on_with_less(stopped: Path) -> None:
    profile, before = reopen(stopped, ["train.samples_kept=1", "train.updates=2"])
    litter = stopped / "resume" / ".update-000003.999999999.part.safetensors"
    litter.write_text("half")
    run(profile, stopped, before)
    left = {p.name[:13] for p in (stopped / "samples").glob("update-*")}
    assert left <= {"update-000002", "update-000003"}
    assert not litter.exists()


def test_a_state_to_go_back_to_is_the_newest_good_one_before_an_update(tmp_path: Path) -> None:
    state = State(0, {"w": torch.ones(1)}, {}, {}, 0, None, {})
    for update, skipped in ((3, 0), (4, 0), (5, 1), (6, 2)):
        resume.write(tmp_path, replace(state, update=update, skipped=skipped))
    assert [path.stem[-1] for path in saved(tmp_path)] == ["6", "5", "4", "3"]
    assert resume.before(tmp_path, 4).update == 3
    assert resume.before(tmp_path, 3).update == 3  # there is nothing older
    resume.forget_after(tmp_path, 3)
    assert [path.stem[-1] for path in saved(tmp_path)] == ["3"]
    saved(tmp_path)[0].unlink()
    with pytest.raises(JournalError, match=r"no state of .* can be read .there is none."):
        resume.before(tmp_path, 3)


def test_knobs_that_were_turned_in_a_part_that_was_lost_stay_lost(place: Path) -> None:
    """Turned after an update that no state was kept of, killed, and not turned again."""
    changes = ("train.resume_every=9", "evaluation.every=0", "train.save_every=9")
    profile, folder = begin(place, "lost knobs", *changes)
    run(profile, folder, until=lambda e: e == PhaseEntered(1, "score"))
    again, before = reopen(folder)
    assert before.turns
    session = Session(again, folder, lambda event: None, before)
    session.run()
    assert session.knobs == profile.knobs
    again, before = reopen(folder, ["train.updates=4"])
    third = Session(again, folder, lambda event: None, before)
    third.run()
    assert third.knobs == profile.knobs
