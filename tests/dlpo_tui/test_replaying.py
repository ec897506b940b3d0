"""A journal in the place of a session: its snapshots are those of the session itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import scenes
from journals import write_run

from dlpo_tui.replaying import KEYFRAMES, REFUSED, Replay, shoot, verdict
from engine.journal import Journal, JournalError
from engine.messages import (
    Event,
    Pause,
    PhaseEntered,
    SessionEnded,
    SessionResumed,
    Snapshot,
    UpdateFinished,
)


def ready(replay: Replay) -> Replay:
    assert replay.join(30)
    replay.drain()
    return replay


@pytest.mark.parametrize("scene", ["running", "finished", "failed", "stillborn", "fresh"])
def test_the_end_is_what_the_session_showed(tmp_path: Path, scene: str) -> None:
    events = scenes.SCENES[scene]()
    replay = ready(Replay(write_run(tmp_path / "run", events)))
    assert replay.now == scenes.fold(events)
    assert replay.error == ""


def test_a_torn_last_line_is_left_out_and_a_broken_one_before_it_is_told(tmp_path: Path) -> None:
    events = scenes.running(3)
    torn = write_run(tmp_path / "torn", events, '{"kind": "UpdateFin')
    assert ready(Replay(torn)).now == scenes.fold(events)
    path = tmp_path / "torn" / "events.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    replay = ready(Replay(torn))
    assert replay.error.startswith(f"{path}, line 1: ")
    assert replay.now == Snapshot()


def test_an_empty_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is empty: its session never began"):
        shoot(write_run(tmp_path / "run", []))


def test_every_frame_is_the_fold_up_to_an_update(tmp_path: Path) -> None:
    updates = KEYFRAMES + 6
    events = [*scenes.running(updates), SessionEnded(updates, "finished")]
    film = shoot(write_run(tmp_path / "run", events))
    assert film.updates == tuple(range(updates + 1))
    starts = [
        at for at, e in enumerate(events) if isinstance(e, PhaseEntered) and e.phase == "rollout"
    ]
    for number in (0, 1, KEYFRAMES - 1, KEYFRAMES, KEYFRAMES + 1, updates - 1):
        assert film.frame(number) == scenes.fold(events[: starts[number]])
    assert film.frame(film.last) == scenes.fold(events)


def test_stepping_goes_through_the_updates_and_stops_at_both_ends(tmp_path: Path) -> None:
    replay = ready(Replay(write_run(tmp_path / "run", scenes.running(12)), at=5))
    seen = [replay.now.update]
    for by in (1, -2, -100, 100, 1):
        replay.step(by)
        seen.append(replay.now.update)
    assert seen == [5, 6, 4, 0, 12, 12]


def test_an_update_that_is_not_there_is_told(tmp_path: Path) -> None:
    replay = ready(Replay(write_run(tmp_path / "run", scenes.running(12)), at=13))
    assert "no update 13" in replay.error
    assert "--at takes 0 to 12" in replay.error


def test_after_a_resumption_the_later_history_is_shown(tmp_path: Path) -> None:
    dice = random.Random(1)
    again = [SessionResumed(4, 100, scenes.STARTED.knobs), *scenes.one_update(5, dice)]
    film = shoot(write_run(tmp_path / "run", [*scenes.running(6), *again]))
    last = [u for u, _ in film.frame(film.frame_of(5)).history]
    assert last == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (scenes.finished(), "finished after 40 updates"),
        ([*scenes.running(1), SessionEnded(1, "stopped")], "stopped after 1 update"),
        (scenes.failed(), "failed after 23 updates: the reward failed on 75% of the clips"),
        (scenes.running(7), "cut off after update 7; dlpo-tui run --resume "),
    ],
)
def test_the_verdict_says_how_it_ended(tmp_path: Path, events: list[Event], told: str) -> None:
    folder = write_run(tmp_path / "run", events)
    replay = ready(Replay(folder))
    assert replay.verdict.startswith(told)
    assert ("cut off" in replay.verdict) == replay.verdict.endswith(f"{folder} goes on")


def test_a_run_that_saved_nothing_is_not_told_to_go_on(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", scenes.fresh())
    (folder / "resume" / "update-000000.safetensors").unlink()
    told = verdict(scenes.fold(scenes.fresh()), folder)
    assert told == "cut off after update 0, with nothing saved to go on from"


def test_a_run_that_is_at_work_is_not_called_cut_off(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", scenes.running(7))
    journal = Journal(folder)
    assert verdict(scenes.fold(scenes.running(7)), folder).startswith("at work in another process")
    journal.close()
    assert verdict(scenes.fold(scenes.running(7)), folder).startswith("cut off after update 7")


def test_commands_are_refused(tmp_path: Path) -> None:
    replay = ready(Replay(write_run(tmp_path / "run", scenes.finished())))
    before = replay.now
    replay.send(Pause())
    assert [refusal.sentence for refusal in replay.refusals] == [REFUSED]
    assert not replay.drain()
    assert replay.now is before


def test_a_long_journal_tells_how_far_it_is(tmp_path: Path) -> None:
    dice = random.Random(1)
    events: list[Event] = [*scenes.loading(), scenes.STARTED]
    update = 0
    while len(events) < 20_000:
        update += 1
        events += [e for e in scenes.one_update(update, dice)]
    folder = write_run(tmp_path / "run", events)
    told: list[tuple[int, int]] = []
    film = shoot(folder, lambda done, total: told.append((done, total)))
    assert len(film.events) == len(events)
    assert film.end.update == sum(isinstance(e, UpdateFinished) for e in events)
    assert told[0][0] < 1000
    assert {total for _, total in told} == {len(events)}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
