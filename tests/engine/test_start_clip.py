"""A rollout spoken again by the session's start: the same numbers, the same clip until trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from engine import journal, resume
from engine import profile as profiles
from engine.journal import replay
from engine.messages import (
    ClipRendered,
    ClipsScored,
    Command,
    CommandRefused,
    Event,
    Pause,
    PhaseEntered,
    PhaseProgressed,
    RenderStart,
    SessionEnded,
    Snapshot,
    Stop,
    UpdateFinished,
)
from engine.reopening import start_path
from engine.session import Session
from tests.voices import write_profile, write_voice

ONE_BY_ONE = ("rollout.microbatch=1",)
"""Then a rollout's rows are computed as one row alone is, and not even rounding differs."""

React = Callable[[Event], tuple[Command, ...]]


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_profile(folder, write_voice(folder / "voice.safetensors", ("anna", "ben")))
    return folder


def run(
    place: Path,
    name: str,
    *changes: str,
    react: React = lambda event: (),
    before: Snapshot | None = None,
) -> tuple[Path, list[Event]]:
    """A session of the tiny profile that answers events with commands."""
    profile = profiles.load(place / "tiny.toml", ["evaluation.every=0", *changes])
    folder, seen = place / name, []
    if before is None:
        (folder / "samples").mkdir(parents=True)
        (folder / "profile.json").write_text(json.dumps(journal.plain(profile)))

    def emit(event: Event) -> None:
        seen.append(event)
        for command in react(event):
            session.commands.put(command)

    session = Session(profile, folder, emit, before)
    session.run()
    return folder, seen


def after(update: int, *commands: Command) -> React:
    return lambda event: (
        commands if isinstance(event, UpdateFinished) and event.update == update else ()
    )


def rendered(seen: list[Event]) -> list[ClipRendered]:
    return [event for event in seen if isinstance(event, ClipRendered)]


def samples(folder: Path, path: str) -> list[int]:
    return soundfile.read(folder / path, dtype="int16")[0].tolist()


@pytest.mark.parametrize(
    "noise",
    [
        (),
        ("rollout.shared=prefix",),
        ("rollout.shared=unkept",),
        ("rollout.shared=none", "rollout.antithetic=true"),
    ],
)
def test_before_the_first_optimizer_step_it_is_the_rollout_bit_for_bit(
    place: Path, noise: tuple[str, ...]
) -> None:
    wanted = tuple(RenderStart(1, index) for index in range(4))
    name = "untrained" + "-".join(noise)
    folder, seen = run(place, name, *ONE_BY_ONE, *noise, react=after(1, *wanted))
    clips = next(event for event in seen if isinstance(event, ClipsScored)).clips
    assert [(r.update, r.index) for r in rendered(seen)] == [(1, index) for index in range(4)]
    for clip, again in zip(clips, rendered(seen), strict=True):
        assert again.path == clip.path.replace(".flac", "-start.flac")
        assert samples(folder, again.path) == samples(folder, clip.path)
        assert again.reward == pytest.approx(clip.reward, abs=1e-4)
        assert again.scores.keys() == clip.scores.keys()


def test_in_microbatches_rounding_alone_differs(place: Path) -> None:
    folder, seen = run(place, "batched", react=after(1, RenderStart(1, 1)))
    clips = next(event for event in seen if isinstance(event, ClipsScored)).clips
    (again,) = rendered(seen)
    pairs = zip(samples(folder, again.path), samples(folder, clips[1].path), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 2


def test_what_was_learnt_is_not_in_it_and_it_changes_nothing_learnt(place: Path) -> None:
    quiet, plain = run(place, "plain", *ONE_BY_ONE)
    folder, seen = run(place, "asked", *ONE_BY_ONE, react=after(1, RenderStart(1, 0)))
    _, late = run(place, "late", *ONE_BY_ONE, "train.updates=3", react=after(2, RenderStart(2, 3)))
    (again,) = rendered(late)
    trained = next(e for e in late if isinstance(e, ClipsScored) and e.update == 2).clips[3]
    assert samples(place / "late", again.path) != samples(place / "late", trained.path)
    for name in ("update-000001", "update-000002"):
        one, other = (resume.read(f / "resume" / f"{name}.safetensors") for f in (quiet, folder))
        assert all(torch.equal(value, other.policy[key]) for key, value in one.policy.items())
    kinds = [type(event) for event in seen if not isinstance(event, PhaseProgressed)]
    kinds.remove(ClipRendered)
    assert kinds == [type(event) for event in plain if not isinstance(event, PhaseProgressed)]


def test_a_session_paused_within_an_update_obeys(place: Path) -> None:
    def react(event: Event) -> tuple[Command, ...]:
        if isinstance(event, PhaseProgressed) and (event.phase, event.update) == ("rollout", 1):
            return (Pause(),) if event.done == 1 else ()
        if isinstance(event, PhaseEntered) and event.phase == "paused":
            return () if stopping else (RenderStart(1, 2), RenderStart(1, 3))
        if isinstance(event, ClipRendered) and event.index == 3:
            stopping.append(True)
            return (Stop(False),)
        return ()

    stopping: list[bool] = []
    folder, seen = run(place, "paused", react=react)
    assert [event.index for event in rendered(seen)][-1] == 3
    told = [event.done for event in seen if isinstance(event, PhaseProgressed)]
    assert told[-3:] == [1, 2, 3]
    assert isinstance(seen[-1], SessionEnded)
    assert replay(folder).rendered[-1] == rendered(seen)[-1]


def test_a_resumed_session_speaks_as_its_first_start(place: Path) -> None:
    stop = after(2, Stop())
    folder, seen = run(place, "gone-on", *ONE_BY_ONE, "train.updates=3", react=stop)
    untrained = next(event for event in seen if isinstance(event, ClipsScored)).clips[1]
    before = replace(replay(folder), ended=None)
    _, seen = run(
        place, "gone-on", *ONE_BY_ONE, "train.updates=4", before=before,
        react=after(3, RenderStart(1, 1)),
    )  # fmt: skip
    (again,) = rendered(seen)
    assert samples(folder, again.path) == samples(folder, untrained.path)


@pytest.mark.parametrize(("update", "index"), [(0, 0), (9, 0), (1, 4), (1, -1)])
def test_a_rollout_that_is_not_there_is_refused(place: Path, update: int, index: int) -> None:
    name = f"none-{update}-{index}"
    _, seen = run(place, name, "train.updates=2", react=after(1, RenderStart(update, index)))
    (refused,) = (event for event in seen if isinstance(event, CommandRefused))
    assert refused.sentence == f"there is no rollout {index} of update {update}"
    assert refused.command == "RenderStart"
    assert rendered(seen) == []
    assert seen[-1] == SessionEnded(2, "finished")


def test_without_the_starting_voice_it_is_refused(place: Path) -> None:
    def react(event: Event) -> tuple[Command, ...]:
        if isinstance(event, UpdateFinished) and event.update == 1:
            start_path(place / "lost").unlink()
            return (RenderStart(1, 0),)
        return ()

    _, seen = run(place, "lost", react=react)
    (refused,) = (event for event in seen if isinstance(event, CommandRefused))
    assert "start.safetensors is gone; put it back" in refused.sentence
    assert seen[-1] == SessionEnded(2, "finished")
