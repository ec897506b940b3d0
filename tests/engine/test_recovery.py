from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import checkpoint, session
from engine import messages as m
from engine.journal import replay
from engine.model.decoder import Decoder
from engine.reopening import saved
from engine.rewards.loudness import Loudness
from engine.setbacks import MAX_ROLLBACKS, MAX_SKIPPED
from tests.sessions import Ran, React, begun, gone_on, same
from tests.voices import write_profile, write_voice

Begin = Callable[..., Ran]
ALONE = ("evaluation.every=0", "train.save_every=99")


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recovery")
    write_profile(folder, write_voice(folder / "voice.safetensors"))
    return folder


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Begin:
    number = 0

    def start(*changes: str, react: React | None = None) -> Ran:
        nonlocal number
        number += 1
        return begun(place / "tiny.toml", tmp_path / f"run-{number}", *changes, react=react)

    return start


# --- memory ---------------------------------------------------------------------


class Room:
    """Memory for so many rows in one pass of the network; None: for any."""

    rows: int | None = None
    error: Exception = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    predict, room = Decoder.predict_noise, Room()

    def limited(self: Decoder, x_t: Tensor, *rest: object) -> Tensor:
        if room.rows is not None and len(x_t) > room.rows:
            raise room.error
        return predict(self, x_t, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "predict_noise", limited)
    return room


def test_where_memory_runs_out_fewer_rows_go_at_a_time_and_no_number_changes(
    run: Begin, room: Room
) -> None:
    per_prompt = ("train.advantage=per_prompt", "prompts.most=1")
    few = run(*per_prompt, "rollout.microbatch=2", "train.microbatch=2")
    room.rows = 2
    ran = run(*per_prompt)
    assert ran.ended == m.SessionEnded(2, "finished")
    halved = ran.of(m.MicrobatchHalved)
    assert [(e.update, e.phase, e.size) for e in halved] == [(0, "rollout", 2), (0, "optimise", 2)]
    assert halved[0].sentence == (
        "the memory did not suffice for 4 clips at a time (rollout): 2 from now on, and what was "
        "under way begins again"
    )
    assert same(ran.weights, few.weights)
    assert ran.session.learner.statistics.state() == few.session.learner.statistics.state()
    now = replay(ran.folder)
    assert [(one.phase, one.size) for one in now.microbatches] == [("rollout", 2), ("optimise", 2)]
    assert "4 clips at a time (optimise): 2 from now on" in "\n".join(line.text for line in now.log)


def test_an_evaluation_that_finds_no_room_begins_again(run: Begin, room: Room) -> None:
    def shrink(event: m.Event, session: object) -> None:
        if isinstance(event, m.PhaseEntered) and event.phase == "evaluate":
            room.rows = 1

    ran = run("train.updates=1", react=shrink)
    assert ran.ended == m.SessionEnded(1, "finished")
    told = [e.sentence.partition("(")[2].partition(")")[0] for e in ran.of(m.MicrobatchHalved)]
    assert told == ["evaluate", "evaluate", "optimise", "optimise"]
    assert [e.update for e in ran.of(m.EvaluationFinished)] == [0, 1]


def test_an_update_that_breaks_off_between_its_steps_begins_again_from_its_weights(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("train.inner_epochs=2", "train.updates=1", *ALONE)
    few = run(*changes, "train.microbatch=2")
    sane, broken = session.optimise, []

    def optimise(*arguments):
        *rest, between, ranks = arguments

        def then(done: int, total: int) -> None:
            between(done, total)
            if done == total and not broken:
                broken.append(done)
                raise Room.error

        return sane(*rest, then, ranks)

    monkeypatch.setattr(session, "optimise", optimise)
    ran = run(*changes)
    assert broken
    assert [e.size for e in ran.of(m.MicrobatchHalved)] == [2]
    assert same(ran.weights, few.weights)


def test_the_smaller_size_is_kept_when_the_session_goes_on(run: Begin, room: Room) -> None:
    room.rows = 2
    first = run("train.updates=1", *ALONE)
    room.rows = None
    again = gone_on(first.folder, "train.updates=2")
    assert again.of(m.MicrobatchHalved) == []
    assert again.session.rows == {"rollout": 2, "optimise": 2}
    assert again.session.learner.settings.microbatch == 2
    yet_smaller = gone_on(first.folder, "train.updates=3", "rollout.microbatch=1")
    assert yet_smaller.session.rows == {"rollout": 1, "optimise": 2}


def test_too_little_for_one_clip_is_one_sentence(run: Begin, room: Room) -> None:
    def shrink(event: m.Event, session: object) -> None:
        if isinstance(event, m.PhaseEntered) and event.phase == "rollout":
            room.rows = 0

    ran = run(*ALONE, react=shrink)
    assert [e.size for e in ran.of(m.MicrobatchHalved)] == [2, 1]
    assert ran.ended.reason == "failed"
    assert ran.ended.error.startswith(
        "the memory does not suffice for one clip at a time (rollout.microbatch is 1): "
    )
    assert "CUDA out of memory" in ran.ended.error
    assert ran.ended.error.endswith("lower prompts.max_seconds or rollout.batch, or free memory")


def test_a_score_that_finds_no_room_for_one_clip_begins_the_update_again(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, whole = Loudness.__call__, run("train.updates=1", *ALONE)
    calls = [0]

    def once(self: Loudness, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        calls[0] += 1
        if calls[0] <= 2:  # two clips together, then the first of them alone
            raise Room.error
        return scored(self, waves, texts)

    monkeypatch.setattr(Loudness, "__call__", once)
    ran = run("train.updates=1", *ALONE)
    assert [(e.phase, e.size) for e in ran.of(m.MicrobatchHalved)] == [("rollout", 2)]
    assert [e.stats.failed for e in ran.of(m.UpdateFinished)] == [0]
    assert ran.of(m.ClipsScored)[-1].clips[0].scores == pytest.approx(
        whole.of(m.ClipsScored)[-1].clips[0].scores, rel=1e-3
    )


# --- numbers that are not finite ------------------------------------------------


def spoilt(monkeypatch: pytest.MonkeyPatch, when: Callable[[int, float], bool]) -> None:
    """Updates whose loss is NaN where `when(finished updates, learning rate)`."""
    sane = session.optimise

    def optimise(policies, optimizer, problem, *rest):
        if when(problem.identity[1], optimizer.param_groups[0]["lr"]):
            problem = replace(problem, advantage=problem.advantage * float("nan"))
        return sane(policies, optimizer, problem, *rest)

    monkeypatch.setattr(session, "optimise", optimise)


SIX = ("train.updates=6", "train.advantage=per_prompt", "prompts.most=1", "train.save_every=1")


def test_a_session_that_runs_away_goes_back_and_takes_half_the_steps(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose learning rate was halved by hand in time: update 2 itself led astray."""

    def by_hand(event: m.Event, session: session.Session) -> None:
        if isinstance(event, m.UpdateFinished) and event.update == 1:
            session.commands.put(m.SetKnobs({"learning_rate": 5e-4}))

    wise = run(*SIX, react=by_hand)
    spoilt(monkeypatch, lambda done, rate: rate > 6e-4 and done >= 2)
    ran = run(*SIX)
    assert ran.ended == m.SessionEnded(6, "finished")
    (back,) = ran.of(m.RolledBack)
    assert (back.update, back.reached) == (1, 5)
    assert back.sentence.startswith("3 updates in a row were not finite: back from update 5 to 1")
    (turned,) = ran.of(m.KnobsChanged)
    assert (turned.update, turned.who, turned.new) == (1, "session", {"learning_rate": 5e-4})
    assert same(ran.weights, wise.weights)
    assert ran.session.learner.statistics.state() == wise.session.learner.statistics.state()
    for update in range(1, 7):
        path = f"checkpoints/update-{update:06d}.safetensors"
        voices = [checkpoint.load(one.folder / path) for one in (ran, wise)]
        assert same(voices[0].model.state_dict(), voices[1].model.state_dict()), update
        assert voices[0].card.about["scores"] == voices[1].card.about["scores"]
    now, other = replay(ran.folder), replay(wise.folder)
    assert [u for u, _ in now.history] == [u for u, _ in other.history]
    assert [s.reward for _, s in now.history] == [s.reward for _, s in other.history]
    assert [u for u, _ in now.evaluations] == list(range(7))
    assert now.evaluations == other.evaluations
    assert now.knobs == other.knobs
    assert [(mark.update, mark.kind) for mark in now.marks[:3]] == [
        (1, "checkpoint"), (1, "rollback"), (1, "knob"),
    ]  # fmt: skip
    assert now.setbacks == ()


def test_a_session_stopped_after_it_went_back_goes_on_with_half_the_steps(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt(monkeypatch, lambda done, rate: rate > 6e-4 and done >= 2)
    whole = run(*SIX)

    def stop(event: m.Event, session: session.Session) -> None:
        if isinstance(event, m.RolledBack):
            session.commands.put(m.Stop())

    half = run(*SIX, react=stop)
    assert half.ended.update == 1
    again = gone_on(half.folder)
    assert again.session.setbacks.undone == ()
    assert again.of(m.RolledBack) == []
    assert same(again.weights, whole.weights)


def test_going_back_again_and_again_is_the_end(
    run: Begin, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    spoilt(monkeypatch, lambda done, rate: True)
    ran = run("train.updates=9", *ALONE)
    assert ran.ended.reason == "failed"
    assert ran.ended.error.startswith(f"{MAX_SKIPPED} updates in a row had a loss or gradient")
    assert "had gone back 3 times" in ran.ended.error
    assert [e.update for e in ran.of(m.RolledBack)] == [0] * MAX_ROLLBACKS
    rates = [e.new["learning_rate"] for e in ran.of(m.KnobsChanged)]
    assert rates == [5e-4, 2.5e-4, 1.25e-4]
    before = checkpoint.load(place / "voice.safetensors").model.state_dict()
    assert same(ran.weights, before)


def test_the_states_to_go_back_to_stay_while_updates_are_skipped(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt(monkeypatch, lambda done, rate: done in (3, 4))
    seen: dict[int, list[str]] = {}

    def look(event: m.Event, session: session.Session) -> None:
        if isinstance(event, m.PhaseEntered) and event.phase == "rollout":
            seen[event.update] = [path.stem[-1] for path in saved(session.folder)]

    run("train.updates=8", *ALONE, react=look)
    assert seen[3] == ["3", "2"]
    assert seen[4] == ["4", "3", "2"]
    assert seen[5] == ["5", "4", "3", "2"]
    assert seen[7] == ["7", "6"]


def test_a_weight_that_is_not_finite_after_a_step_is_taken_back(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("train.updates=3", *ALONE)
    spoilt(monkeypatch, lambda done, rate: done == 1)
    skipped = run(*changes)
    monkeypatch.undo()
    sane = session.optimise

    def optimise(policies, optimizer, problem, *rest):
        done = sane(policies, optimizer, problem, *rest)
        if problem.identity[1] == 1:
            weight = next(policies.current.parameters())
            weight.data.flatten()[0] = float("inf")
        return done

    monkeypatch.setattr(session, "optimise", optimise)
    ran = run(*changes)
    assert ran.ended == m.SessionEnded(3, "finished")
    assert [e.stats.skipped for e in ran.of(m.UpdateFinished)] == [0, 1, 0]
    assert same(ran.weights, skipped.weights)


def silent(monkeypatch: pytest.MonkeyPatch, update: int, rows: list[int]) -> None:
    """The rollouts of these rows are not finite in this update."""
    sane = session.rollout

    def rollout(policy, schedule, conditioning, noise, **rest):
        traj = sane(policy, schedule, conditioning, noise, **rest)
        if noise.update == update:
            wave = traj.waveform.clone()
            wave[rows, 0] = float("nan")
            traj = replace(traj, waveform=wave)
        return traj

    monkeypatch.setattr(session, "rollout", rollout)


def test_a_clip_that_is_not_finite_is_masked_and_said(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent(monkeypatch, 0, [0, 2, 3])
    ran = run(*ALONE)
    assert ran.ended == m.SessionEnded(2, "finished")
    first = ran.of(m.UpdateFinished)[0].stats
    assert (first.failed, first.skipped) == (3, 0)
    clips = ran.of(m.ClipsScored)[0].clips
    assert [clip.reward is None for clip in clips] == [True, False, True, True]
    assert [bool(clip.path) for clip in clips] == [False, True, False, False]
    assert "Clip 1 of 4 has no score: it holds audio samples that are not finite." in ran.notices


def test_an_update_without_a_finite_clip_is_skipped(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent(monkeypatch, 1, [0, 1, 2, 3])
    ran = run("train.updates=3", *ALONE)
    assert ran.ended == m.SessionEnded(3, "finished")
    assert [e.stats.skipped for e in ran.of(m.UpdateFinished)] == [0, 1, 0]
    assert [e.stats.failed for e in ran.of(m.UpdateFinished)] == [0, 4, 0]


# --- a reward that hangs --------------------------------------------------------


def test_a_reward_that_hangs_fails_its_clips_and_the_session_goes_on(
    run: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, awake, hung = Loudness.__call__, threading.Event(), []

    def score(self: Loudness, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        if "No." in texts and len(hung) < 3:  # a group of two, then each alone
            hung.append(texts)
            awake.wait()
        return scored(self, waves, texts)

    monkeypatch.setattr(Loudness, "__call__", score)
    ran = run("train.updates=3", "reward.patience_seconds=0.4", *ALONE)
    awake.set()
    assert ran.ended == m.SessionEnded(3, "finished")
    assert len(hung) == 3
    assert sum(e.stats.failed for e in ran.of(m.UpdateFinished)) == 2
    assert "it took longer than reward.patience_seconds = 0.4 s" in ran.notices
