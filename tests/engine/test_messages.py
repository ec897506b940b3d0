from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import thinning
from engine.messages import (
    KEPT_CLIPS,
    KEPT_LINES,
    KEPT_MARKS,
    KINDS,
    KNOB_RANGES,
    AlarmRaised,
    CheckpointSaved,
    Clip,
    ClipRendered,
    ClipsScored,
    Column,
    Command,
    CommandRefused,
    Evaluate,
    EvaluationFinished,
    Event,
    Interval,
    Knobs,
    KnobsChanged,
    Line,
    Mark,
    MicrobatchHalved,
    MicrobatchMeasured,
    Noticed,
    Pause,
    PhaseEntered,
    PhaseProgressed,
    RenderStart,
    Resume,
    RolledBack,
    SaveCheckpoint,
    SessionEnded,
    SessionResumed,
    SessionStarted,
    SetKnobs,
    SingleUpdate,
    Snapshot,
    Stop,
    UpdateFinished,
    UpdateStats,
    advance,
    check_knobs,
    from_json,
    to_json,
)

MOS = Column("distillmos", "MOS", True, 1.0, 5.0)
LUFS = Column("loudness", "LUFS", None)
STARTED = SessionStarted(
    run="quickstart-20260101-120000",
    folder="runs/quickstart-20260101-120000",
    algorithm="dlpo",
    updates=3,
    knobs=Knobs(alpha=2.0),
    rewards=(MOS,),
    judges=(LUFS,),
    voice="bundled",
    device="cpu",
    precision="fp32",
    timesteps=10,
    kept=(9, 8, 7),
    sample_rate=22050,
)
STATS = UpdateStats(
    loss=-0.01,
    reward=Interval(3.0, 2.5, 3.5, 8),
    penalty=0.4,
    kl=None,
    ratio=1.0,
    clip_high=0.1,
    clip_low=0.0,
    grad_norm=2.0,
    failed=1,
    skipped=0,
    clamped=0.25,
    seconds={"rollout": 1.0, "score": 0.5, "optimise": 2.0},
)
LOST = replace(STATS, reward=None, penalty=None, failed=8, skipped=1)
CLIP = Clip(
    update=1,
    index=0,
    kind="rollout",
    prompt="Fête, naïve – “quoted”.\u2028A second line.",
    speaker="anna",
    seed=0,
    seconds=0.5,
    path="samples/update-000001-00.flac",
    scores={"distillmos": 3.2, "loudness": None},
    reward=3.2,
    advantage=-0.5,
)
FAILED_CLIP = replace(CLIP, index=1, reward=None, advantage=None, path="")
TURNED = KnobsChanged(1, "user", {"alpha": 2.0}, {"alpha": 2.5}, Knobs(alpha=2.5))

EVENTS: tuple[Event, ...] = (
    STARTED,
    SessionResumed(1, 9, Knobs(alpha=2.5)),
    RolledBack(1, 4, "back from update 4 to 1"),
    MicrobatchHalved(1, "rollout", 2, "the memory did not suffice"),
    MicrobatchMeasured(0, "optimise", 12, "an update takes 12 clips at a time"),
    PhaseEntered(0, "rollout"),
    PhaseProgressed(0, "rollout", 3, 10),
    ClipsScored(1, (CLIP, FAILED_CLIP)),
    ClipsScored(1, ()),
    UpdateFinished(1, STATS),
    UpdateFinished(2, LOST),
    EvaluationFinished(1, {"distillmos": Interval(3.0, 2.0, 4.0, 8), "loudness": None}, 4.5),
    TURNED,
    CommandRefused(1, "there is no knob 'gamma'"),
    CheckpointSaved(2, "checkpoints/update-000002.safetensors", "by hand"),
    AlarmRaised(2, "the reward rose while a judge got worse"),
    Noticed(2, "warning", "a stand-in"),
    SessionEnded(2, "failed", "the disk is full"),
    ClipRendered(1, 0, "samples/update-000001-00-start.flac", {"distillmos": None}, 3.1),
)
COMMANDS: tuple[Command, ...] = (
    SetKnobs({"alpha": 2.5, "beta": 0.0}, "anna"),
    Pause(),
    Resume(),
    SingleUpdate(),
    SaveCheckpoint("by hand"),
    Evaluate(),
    RenderStart(1, 0),
    Stop(),
    Stop(save=False),
)


def through_json(message: Event | Command) -> Event | Command:
    return from_json(json.loads(json.dumps(to_json(message), allow_nan=False)))


# --- JSON -----------------------------------------------------------------------


def test_the_table_has_every_kind_of_message() -> None:
    assert {type(e) for e in EVENTS} == set(get_args(Event))
    assert {type(c) for c in COMMANDS} == set(get_args(Command))
    assert {type(x).__name__ for x in (*EVENTS, *COMMANDS)} == set(KINDS)


@pytest.mark.parametrize("message", [*EVENTS, *COMMANDS], ids=lambda m: type(m).__name__)
def test_a_message_comes_back_from_json_as_it_was(message: Event | Command) -> None:
    back = through_json(message)
    assert back == message
    assert repr(back) == repr(message)  # tuples and nested classes too, not only equal values


@given(
    st.text(),
    st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_text_and_number_survive(prompt: str, scores: dict, seconds: float) -> None:
    event = ClipsScored(3, (replace(CLIP, prompt=prompt, scores=scores, seconds=seconds),))
    assert through_json(event) == event


def test_what_an_older_engine_did_not_tell_is_unknown() -> None:
    told = json.loads(json.dumps(to_json(UpdateFinished(1, STATS))))
    del told["stats"]["ratio_spread"], told["stats"]["memory_bytes"]
    back = from_json(told)
    assert isinstance(back, UpdateFinished)
    assert (back.stats.ratio_spread, back.stats.memory_bytes) == (None, None)
    assert back == UpdateFinished(1, STATS)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "None is no event or command"),
        ({"kind": "UpdateFinnished"}, "'UpdateFinnished' is no event or command"),
        ({"kind": ["Stop"]}, "is no event or command"),
        ({"kind": "Snapshot"}, "'Snapshot' is no event or command"),
        ([], "is no event or command"),
        (None, "is no event or command"),
        ({"kind": "PhaseEntered", "update": 1}, "a broken PhaseEntered: .*phase"),
        ({"kind": "Stop", "now": True}, "a broken Stop: 'now'"),
        ({"kind": "UpdateFinished", "update": 1, "stats": 5}, "a broken UpdateFinished"),
        ({"kind": "UpdateFinished", "update": 1, "stats": {"loss": 1.0}}, "a broken Upd.*missing"),
        ({"kind": "ClipsScored", "update": 1, "clips": 7}, "a broken ClipsScored"),
        ({"kind": "ClipsScored", "update": 1, "clips": [[1]]}, "a broken ClipsScored"),
        ({"kind": "SetKnobs", "changes": [1, 2]}, "a broken SetKnobs"),
        ({"kind": "PhaseEntered", "update": "1", "phase": "save"}, "str where int belongs"),
        ({"kind": "PhaseEntered", "update": 1.0, "phase": "save"}, "float where int belongs"),
        ({"kind": "PhaseEntered", "update": True, "phase": "save"}, "bool where int belongs"),
        ({"kind": "PhaseEntered", "update": 10**101, "phase": "save"}, "too large to count with"),
        ({"kind": "PhaseEntered", "update": 1, "phase": "dream"}, "'dream' is none of loading"),
        ({"kind": "PhaseEntered", "update": 1, "phase": []}, "is none of loading"),
        ({"kind": "Noticed", "update": 1, "level": "info", "sentence": 5}, "int where str"),
        ({"kind": "ClipsScored", "update": 1, "clips": "ab"}, "str where list belongs"),
        (
            {"kind": "ClipRendered", "update": 1, "index": 0, "path": "a", "scores": {"a": "b"}},
            "str where a number belongs",
        ),
        (
            {"kind": "ClipRendered", "update": 1, "index": 0, "path": "a", "scores": {"a": 1e999}},
            "not finite",
        ),
        (
            {"kind": "ClipRendered", "update": 1, "index": 0, "path": "a", "scores": [1]},
            "list where dict belongs",
        ),
    ],
)
def test_what_is_no_message_is_refused_in_one_sentence(data: object, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        from_json(data)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# --- the fold -------------------------------------------------------------------


def fold(events: tuple[Event, ...], now: Snapshot | None = None) -> Snapshot:
    now = now or Snapshot()
    for event in events:
        now = advance(now, event)
    return now


def test_a_stream_of_events_folds_into_what_a_screen_draws() -> None:
    early = Interval(3.0, 2.0, 4.0, 8)
    now = fold(
        (
            PhaseEntered(0, "loading"),
            STARTED,
            EvaluationFinished(0, {"distillmos": early}, 1.0),
            PhaseEntered(0, "rollout"),
            PhaseProgressed(0, "rollout", 3, 10),
        )
    )
    assert (now.phase, now.progress, now.update) == ("rollout", (3, 10), 0)
    assert now.started == STARTED
    assert now.knobs == Knobs(alpha=2.0)
    assert now.evaluations == ((0, {"distillmos": early}),)

    now = fold((ClipsScored(1, (CLIP,)), UpdateFinished(1, STATS), TURNED), now)
    assert now.update == 1
    assert now.history == ((1, STATS),)
    assert now.clips == (CLIP,)
    assert now.knobs.alpha == 2.5
    assert now.marks == (Mark(1, "knob", "alpha 2 → 2.5"),)
    assert now.log[-1] == Line(1, "info", "alpha 2 → 2.5 (user)")

    now = fold((PhaseEntered(1, "paused"),), now)
    assert now.paused
    assert now.progress == (0, 0)
    now = fold((PhaseEntered(1, "rollout"),), now)
    assert not now.paused

    now = fold(
        (
            CheckpointSaved(2, "checkpoints/a.safetensors"),
            CheckpointSaved(2, "checkpoints/b.safetensors", "by hand"),
            AlarmRaised(2, "fooled"),
            CommandRefused(2, "no"),
            SessionEnded(2, "failed", "the disk is full"),
        ),
        now,
    )
    assert now.checkpoint == "checkpoints/b.safetensors"
    assert [mark.text for mark in now.marks[1:]] == [
        "checkpoints/a.safetensors",
        "by hand",
        "fooled",
    ]
    assert [line.level for line in now.log[-3:]] == ["warning", "warning", "error"]
    assert now.phase == "ended"
    assert now.ended == SessionEnded(2, "failed", "the disk is full")
    assert now.log[-1].text == "the disk is full"


def test_the_fold_keeps_the_start_what_it_spoke_again_and_every_turn() -> None:
    start, later = (replace(CLIP, kind="evaluation", update=u, path=f"{u}") for u in (0, 9))
    spoken = ClipRendered(1, 0, "start.flac", {}, 3.0)
    now = Snapshot()
    for event in (ClipsScored(0, (start,)), ClipsScored(9, (later,)), spoken, spoken, TURNED):
        now = advance(now, event)
    now = advance(now, replace(spoken, index=1, update=2))
    assert now.first == (start,)
    assert [(r.update, r.index) for r in now.rendered] == [(1, 0), (2, 1)]
    assert now.turns == (TURNED,)
    back = advance(now, SessionResumed(1, 9, Knobs()))
    assert back.rendered == (spoken,)
    assert back.turns == (TURNED,)
    assert advance(back, SessionResumed(0, 9, Knobs())).turns == ()


def test_a_pause_is_over_when_the_session_ends() -> None:
    now = fold((PhaseEntered(1, "paused"), SessionEnded(1, "stopped")))
    assert not now.paused
    assert now.log[-1] == Line(1, "info", "stopped")


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_advancing_leaves_the_old_snapshot_alone(event: Event) -> None:
    before = fold(EVENTS)
    copy = json.dumps(before, default=str)
    after = advance(before, event)
    assert json.dumps(before, default=str) == copy
    assert after == advance(before, event)  # the same event gives the same snapshot


def test_only_the_latest_clips_and_lines_are_kept() -> None:
    batch = ClipsScored(1, tuple(replace(CLIP, index=i) for i in range(KEPT_CLIPS - 1)))
    now = fold((batch, ClipsScored(2, (replace(CLIP, update=2), replace(CLIP, update=3)))))
    assert len(now.clips) == KEPT_CLIPS
    assert now.clips[0].index == 1
    assert [clip.update for clip in now.clips[-2:]] == [2, 3]

    now = fold(tuple(Noticed(i, "info", str(i)) for i in range(KEPT_LINES + 3)))
    assert len(now.log) == KEPT_LINES
    assert now.log[0].text == "3"


def test_a_long_sessions_curves_and_marks_stay_few() -> None:
    now = Snapshot()
    for update in range(1, 5001):
        now = advance(now, UpdateFinished(update, STATS))
        now = advance(now, EvaluationFinished(update, {"distillmos": STATS.reward}, 1.0))
        if update % 2 == 0:
            now = advance(now, CheckpointSaved(update, f"checkpoints/{update}"))
    now = advance(now, TURNED)
    for rows in (now.history, now.evaluations):
        assert len(rows) <= thinning.MOST
        assert (rows[0][0], rows[-1][0]) == (1, 5000)
    saved = [mark for mark in now.marks if mark.kind == "checkpoint"]
    assert len(saved) == KEPT_MARKS
    assert saved[-1].update == 5000
    assert now.marks[-1].kind == "knob"


def test_what_is_said_again_is_marked_once() -> None:
    alarm, save = AlarmRaised(2, "fooled"), CheckpointSaved(2, "checkpoints/b")
    now = fold((alarm, save, SessionResumed(2, 9, Knobs()), alarm, save))
    assert [mark.kind for mark in now.marks] == ["alarm", "checkpoint"]
    assert len(fold((TURNED, TURNED)).marks) == 2  # turned twice by hand


def test_going_back_undoes_what_came_later_and_counts_until_it_is_made_good() -> None:
    late = replace(CLIP, update=3)
    done = tuple(UpdateFinished(update, STATS) for update in (1, 2, 3))
    evaluated = EvaluationFinished(3, {"distillmos": STATS.reward}, 1.0)
    now = fold((STARTED, ClipsScored(1, (CLIP,)), ClipsScored(3, (late,)), *done, evaluated))
    back = RolledBack(1, 3, "back from update 3 to 1")
    knobs = Knobs(learning_rate=5e-6)
    now = fold((back, KnobsChanged(1, "session", {"learning_rate": 1e-5},
                                   {"learning_rate": 5e-6}, knobs)), now)  # fmt: skip
    assert (now.update, now.clips, now.evaluations, now.knobs) == (1, (CLIP,), (), knobs)
    assert [update for update, _ in now.history] == [1]
    assert [mark.kind for mark in now.marks] == ["rollback", "knob"]
    assert now.setbacks == (back,)
    assert now.log[-2] == Line(1, "warning", "back from update 3 to 1")
    assert now.started == STARTED
    skipped = replace(STATS, skipped=1)
    now = fold(
        (UpdateFinished(2, STATS), UpdateFinished(3, STATS), UpdateFinished(4, skipped)), now
    )
    assert now.setbacks == (back,)
    assert advance(now, UpdateFinished(5, STATS)).setbacks == ()


def test_of_each_phase_the_last_size_is_known() -> None:
    sizes = (MicrobatchHalved(0, "rollout", 4, "a"), MicrobatchHalved(0, "optimise", 2, "b"))
    first, last = MicrobatchMeasured(0, "rollout", 9, "m"), MicrobatchHalved(1, "rollout", 2, "c")
    now = fold((first, *sizes, last, SessionResumed(0, 9, Knobs())))
    assert now.microbatches == (sizes[1], last)
    assert Line(1, "warning", "c") in now.log
    assert Line(0, "info", "m") in now.log


# --- knobs ----------------------------------------------------------------------


def test_good_changes_come_back_as_floats() -> None:
    checked = check_knobs({"alpha": 2, "clip_range": 0.2})
    assert checked == {"alpha": 2.0, "clip_range": 0.2}
    assert type(checked["alpha"]) is float


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gamma": 1.0}, "there is no knob 'gamma'; the knobs are alpha, beta, learning_rate"),
        ({"alpha": math.nan}, "alpha must be a finite number, not nan"),
        ({"alpha": math.inf}, "alpha must be a finite number, not inf"),
        ({"alpha": 10**400}, "alpha must be a finite number, not 1000"),
        ({"alpha": True}, "alpha must be a finite number, not True"),
        ({"alpha": "2"}, "alpha must be a finite number, not '2'"),
        ({"alpha": None}, "alpha must be a finite number, not None"),
        ({"alpha": -0.5}, "alpha must lie between 0 and 1000, not at -0.5"),
        ({"clip_range": 0.0}, "clip_range must lie between 1e-06 and 1, not at 0"),
        ({"alpha": 1.0, "learning_rate": 2}, "learning_rate must lie between 0 and 1, not at 2"),
    ],
)
def test_a_bad_change_is_refused_in_one_sentence(changes: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        check_knobs(changes)
    assert "\n" not in str(caught.value)


@given(st.sampled_from(sorted(KNOB_RANGES)), st.floats())
def test_a_number_passes_exactly_within_its_knobs_range(name: str, value: float) -> None:
    limits = KNOB_RANGES[name]
    if limits.low <= value <= limits.high:
        assert check_knobs({name: value}) == {name: value}
    else:
        with pytest.raises(ValueError, match=name):
            check_knobs({name: value})


def test_every_knob_has_a_range_that_holds_its_default() -> None:
    defaults = to_json(SetKnobs({name: getattr(Knobs(), name) for name in KNOB_RANGES}))
    assert set(KNOB_RANGES) == set(Knobs.__dataclass_fields__)
    assert check_knobs(defaults["changes"])


def test_a_knob_that_was_turned_from_nothing_known_is_folded() -> None:
    now = advance(Snapshot(), KnobsChanged(1, "a", {}, {"alpha": 2.0}, Knobs(alpha=2.0)))
    assert now.log[-1].text == "alpha 0 → 2 (a)"
