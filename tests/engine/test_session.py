from __future__ import annotations

import re
import resource
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine import audio, checkpoint, journal, learner, session
from engine import profile as profiles
from engine.checkpoint import Card
from engine.journal import Journal, replay
from engine.messages import (
    AlarmRaised,
    CheckpointSaved,
    Clip,
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
    Noticed,
    Pause,
    PhaseEntered,
    PhaseProgressed,
    Resume,
    SaveCheckpoint,
    SessionEnded,
    SessionStarted,
    SetKnobs,
    SingleUpdate,
    Snapshot,
    Stop,
    UpdateFinished,
    advance,
)
from engine.model.wavegrad2 import WaveGrad2
from engine.rewards import registry
from engine.rewards.base import ScoreError
from engine.rewards.loudness import Loudness
from engine.rl.algorithms import ALGORITHMS, Algorithm
from engine.session import Session, sentence
from engine.types import HOP
from tests.voices import tiny_config, tiny_model, write_corpus, write_profile, write_voice

React = Callable[[Event, Session], None]
Run = Callable[..., "Ran"]


@dataclass
class Ran:
    """A session that has ended."""

    session: Session
    events: list[Event] = field(default_factory=list)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def folder(self) -> Path:
        return self.session.folder

    @property
    def ended(self) -> SessionEnded:
        """The last event, and the only one of its kind."""
        (end,) = self.of(SessionEnded)
        assert self.events[-1] is end
        return end

    @property
    def phases(self) -> list[str]:
        return [event.phase for event in self.of(PhaseEntered)]

    @property
    def notices(self) -> str:
        return "\n".join(event.sentence for event in self.of(Noticed))

    @property
    def weights(self) -> dict[str, Tensor]:
        return self.session.voice.model.state_dict()

    def index(self, wanted: Event) -> int:
        return self.events.index(wanted)


pytestmark = pytest.mark.usefixtures("restored_threads")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("session")
    write_voice(folder / "voice.safetensors", ("anna", "ben"))
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """Runs the tiny profile with changes; `react` may answer events with commands."""
    number = 0

    def start(*changes: str, commands: tuple[Command, ...] = (), react: React | None = None) -> Ran:
        nonlocal number
        number += 1
        profile = profiles.load(write_profile(place, place / "voice.safetensors"), changes)
        folder = place / f"run-{number}"
        folder.mkdir()

        def emit(event: Event) -> None:
            ran.events.append(event)
            if react:
                react(event, ran.session)

        ran = Ran(Session(profile, folder, emit))
        for command in commands:
            ran.session.commands.put(command)
        ran.session.run()
        return ran

    return start


@pytest.fixture(scope="module")
def whole(run: Run) -> Ran:
    """Two updates of the tiny profile as it is; read only."""
    return run()


def once(when: Callable[[Event], bool], *commands: Command) -> React:
    """Puts the commands at the first event that fits."""
    left = list(commands)

    def react(event: Event, session: Session) -> None:
        if left and when(event):
            for command in left:
                session.commands.put(command)
            left.clear()

    return react


def each(*reactions: React) -> React:
    def react(event: Event, session: Session) -> None:
        for one in reactions:
            one(event, session)

    return react


def entered(phase: str, update: int | None = None) -> Callable[[Event], bool]:
    return lambda event: (
        isinstance(event, PhaseEntered) and event.phase == phase and update in (None, event.update)
    )


def under_way(phase: str, update: int = 0) -> Callable[[Event], bool]:
    """True between two timesteps of a phase."""
    return lambda event: (
        isinstance(event, PhaseProgressed) and (event.phase, event.update) == (phase, update)
    )


def same(one: Ran, other: Ran) -> bool:
    return all(torch.equal(value, other.weights[key]) for key, value in one.weights.items())


# --- from start to end ----------------------------------------------------------


def test_a_session_runs_its_updates_to_the_end(whole: Ran) -> None:
    assert whole.ended == SessionEnded(2, "finished")
    update = ["rollout", "score", "optimise"]
    look_and_save = ["evaluate", "save"]
    assert whole.phases == ["loading", "evaluate", *(update + look_and_save) * 2]
    assert [event.update for event in whole.of(UpdateFinished)] == [1, 2]
    assert [event.update for event in whole.of(EvaluationFinished)] == [0, 1, 2]
    assert [event.update for event in whole.of(CheckpointSaved)] == [1, 2]


def test_it_says_first_what_it_will_train(whole: Ran) -> None:
    (started,) = whole.of(SessionStarted)
    assert started.run == whole.folder.name
    assert (started.algorithm, started.updates, started.timesteps) == ("dlpo", 2, 3)
    assert started.kept == (2, 1)
    assert [column.name for column in started.rewards] == ["loudness", "clipping"]
    assert started.judges == ()
    assert (started.device, started.precision, started.sample_rate) == ("cpu", "fp32", 22050)
    assert started.knobs == Knobs(learning_rate=1e-3)


def test_progress_counts_the_timesteps(whole: Ran) -> None:
    told = [(e.done, e.total) for e in whole.of(PhaseProgressed) if e.phase == "rollout"]
    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_the_numbers_of_an_update_agree_with_its_clips(whole: Ran) -> None:
    for finished in whole.of(UpdateFinished):
        (batch,) = (
            e.clips for e in whole.of(ClipsScored)
            if e.update == finished.update and e.clips[0].kind == "rollout"
        )  # fmt: skip
        rewards = torch.tensor([clip.reward for clip in batch])
        assert len(batch) == finished.stats.reward.count == 4
        assert finished.stats.reward.mean == pytest.approx(float(rewards.mean()))
        assert [clip.reward for clip in batch] == [clip.scores["loudness"] for clip in batch]
        advantages = torch.tensor([clip.advantage for clip in batch]).view(2, 2)
        assert torch.allclose(advantages.sum(-1), torch.zeros(2), atol=1e-5)  # within each group
        assert [clip.prompt for clip in batch[::2]] == [clip.prompt for clip in batch[1::2]]
        assert finished.stats.failed == finished.stats.skipped == 0
        assert finished.stats.ratio == pytest.approx(1.0, abs=1e-4)
        assert set(finished.stats.seconds) == {"rollout", "score", "optimise"}
        assert finished.stats.ratio_spread == pytest.approx(0.0, abs=1e-4)
        assert finished.stats.memory_bytes > 2**24, "torch alone holds more"


def test_every_prompt_takes_its_turn(run: Run) -> None:
    ran = run("train.updates=6", "evaluation.every=0", "train.save_every=9")
    drawn = [clip.prompt for event in ran.of(ClipsScored) for clip in event.clips[::2]]
    turns = [tuple(drawn[at : at + 3]) for at in range(0, len(drawn), 3)]
    assert len(turns) == 4
    for turn in turns:  # three prompts, two an update
        assert sorted(turn) == ["Go on.", "No.", "Wait."]
    assert len(set(turns)) > 1


def test_every_clip_lies_on_the_disk_as_its_row_says(whole: Ran) -> None:
    clips = [clip for event in whole.of(ClipsScored) for clip in event.clips]
    assert len(clips) == 2 * 4 + 3 * 2
    assert len({clip.path for clip in clips}) == len(clips)
    for clip in clips:
        wave, rate = audio.read(whole.folder / clip.path)
        assert rate == 22050
        assert len(wave) == round(clip.seconds * rate)
        assert len(wave) % HOP == 0
    written = {p.relative_to(whole.folder).as_posix() for p in whole.folder.glob("samples/*")}
    assert written == {clip.path for clip in clips}


def test_the_folder_holds_the_journal_the_clips_and_the_checkpoints(whole: Ran) -> None:
    names = {p.name for p in whole.folder.iterdir()}
    assert names == {"events.jsonl", "samples", "checkpoints", "resume"}
    saved = sorted(p.name for p in (whole.folder / "checkpoints").iterdir())
    assert saved == ["update-000001.safetensors", "update-000002.safetensors"]


def test_the_journal_holds_all_but_the_progress(whole: Ran) -> None:
    kept = [event for event in whole.events if not isinstance(event, PhaseProgressed)]
    assert list(journal.events(whole.folder)) == kept
    live = Snapshot()
    for event in whole.events:
        live = advance(live, event)
    assert replay(whole.folder) == live


def test_a_checkpoint_is_a_voice_with_the_live_weights(whole: Ran) -> None:
    voice = checkpoint.load(whole.folder / whole.of(CheckpointSaved)[-1].path)
    for key, value in voice.model.state_dict().items():
        assert torch.equal(value, whole.weights[key]), key
    about = voice.card.about
    assert voice.card.speakers == ("anna", "ben")
    assert (about["update"], about["algorithm"], about["run"]) == (2, "dlpo", whole.folder.name)
    assert about["profile"] == whole.session.profile.hash()
    assert about["knobs"]["learning_rate"] == 1e-3
    assert about["schedule"]["timesteps"] == 3
    last = whole.of(EvaluationFinished)[-1].scores["loudness"]
    assert about["scores"]["loudness"]["mean"] == last.mean


def test_only_the_decoder_learns(whole: Ran, place: Path) -> None:
    before = checkpoint.load(place / "voice.safetensors").model.state_dict()
    moved = {key for key, value in whole.weights.items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.startswith("decoder.") for key in moved)


def test_the_starting_voice_on_the_disk_is_left_alone(whole: Ran, place: Path) -> None:
    fresh = tiny_model(speakers=2).state_dict()
    kept = checkpoint.load(place / "voice.safetensors").model.state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in kept.items())


# --- the same and other numbers -------------------------------------------------


def test_one_seed_gives_the_same_weights_bit_for_bit(run: Run, whole: Ran) -> None:
    again = run()
    assert same(again, whole)
    rewards = [[e.stats.reward for e in r.of(UpdateFinished)] for r in (again, whole)]
    assert rewards[0] == rewards[1]


def test_another_seed_trains_otherwise_but_is_judged_alike(run: Run, whole: Ran) -> None:
    other = run("seed=1")
    assert not same(other, whole)
    one, two = (r.of(EvaluationFinished) for r in (other, whole))
    assert one[0].scores == two[0].scores  # the same voice, prompts and noise
    assert one[1].scores != two[1].scores


def test_the_evaluations_seed_chooses_its_noise(run: Run, whole: Ran) -> None:
    other = run("train.updates=1", "evaluation.seed=5")
    assert other.of(EvaluationFinished)[0].scores != whole.of(EvaluationFinished)[0].scores


def test_the_size_of_microbatches_changes_nothing(run: Run, whole: Ran, place: Path) -> None:
    small = run("rollout.microbatch=1", "train.microbatch=1")

    def flat(weights: dict[str, Tensor]) -> Tensor:
        return torch.cat([value.flatten().double() for value in weights.values()])

    # Rounding differs with the batch, and AdamW's first steps magnify it where a gradient is
    # next to nothing; a wrong accumulation turns the whole step.
    moved = flat(whole.weights) - flat(
        checkpoint.load(place / "voice.safetensors").model.state_dict()
    )
    apart = flat(whole.weights) - flat(small.weights)
    assert moved.norm() > 0
    assert apart.norm() < 1e-3 * moved.norm()


def test_pace_makes_the_clips_longer(run: Run, whole: Ran) -> None:
    slow = run("voice.pace=2.0", "train.updates=1", "evaluation.every=0")
    before = {c.prompt: c.seconds for e in whole.of(ClipsScored) for c in e.clips}
    for clip in slow.of(ClipsScored)[0].clips:
        assert clip.seconds == pytest.approx(2 * before[clip.prompt], rel=0.2)


# --- when it looks, saves and writes --------------------------------------------


def test_evaluations_and_checkpoints_come_as_often_as_asked(run: Run) -> None:
    ran = run("train.updates=5", "evaluation.every=3", "train.save_every=2", "evaluation.prompts=1")
    assert [event.update for event in ran.of(EvaluationFinished)] == [0, 3, 5]
    assert [event.update for event in ran.of(CheckpointSaved)] == [2, 4, 5]


def test_clips_are_written_as_often_as_asked_and_always_counted(run: Run) -> None:
    ran = run("train.updates=3", "train.samples_every=2", "evaluation.every=0")
    paths = [[bool(clip.path) for clip in event.clips] for event in ran.of(ClipsScored)]
    assert paths == [[True] * 4, [False] * 4, [True] * 4]
    assert len(list((ran.folder / "samples").iterdir())) == 8
    assert ran.of(EvaluationFinished) == []


def test_fewer_rollouts_without_a_gpu_are_said_aloud(run: Run) -> None:
    ran = run("rollout.cpu_batch=2", "train.updates=1", "evaluation.every=0")
    assert len(ran.of(ClipsScored)[0].clips) == 2
    assert "no GPU: 2 rollouts an update instead of 4" in ran.notices


def test_a_fooled_reward_raises_the_alarm(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, dict[str, float]]] = []

    def fooled(start, now, weights: dict[str, float]) -> str:
        asked.append((len(now.waves), weights))
        return "" if start is now.scores.values else "the reward rose while a judge got worse"

    monkeypatch.setattr(session, "fooled", fooled)
    ran = run("train.updates=1")
    assert asked == [(2, {"loudness": 1.0})] * 2
    assert [mark.kind for mark in replay(ran.folder).marks] == ["alarm", "checkpoint"]


# --- a session that cheats ------------------------------------------------------


@dataclass
class Made:
    """A reward made of a clip's loudness in LUFS."""

    name: str
    score: Callable[[Tensor], Tensor]
    sample_rate_hz: int = 22050
    differentiable: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(self.name, "points", True),)

    def __call__(self, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
        return self.score(Loudness()(waves, texts)[:, :1])


REWARDS = {"pleased": lambda lufs: 5 + lufs / 10, "moderate": lambda lufs: -(lufs + 26).abs()}
"""A predictor that takes louder for better; and an honest one: the start is 2 LU too quiet."""


@pytest.fixture
def gamble(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Ten updates of a quiet voice at a learning rate that gets far in them."""
    model = WaveGrad2(replace(tiny_config(), speech_rms=0.02)).eval()
    model.load_state_dict(tiny_model().state_dict())
    checkpoint.save(place / "quiet.safetensors", model, Card(model.config, ("anna",), {}))
    (place / "held-out.txt").write_text("Yes.\nNow.\nStay.\nHere.\n")
    for name, score in REWARDS.items():
        monkeypatch.setitem(registry.MODEL_COLUMNS, name, (name,))
        monkeypatch.setitem(
            registry.SCORE_MODELS, name, lambda device, name=name, score=score: Made(name, score)
        )

    def start(*changes: str) -> Ran:
        return run(
            f"voice.checkpoint={place}/quiet.safetensors",
            f"prompts.evaluation={place}/held-out.txt",
            "evaluation={every=5, prompts=4}",
            "schedule.timesteps=2",
            "rollout={batch=16, group=16, window=1, kept=1, antithetic=false, shared='unkept'}",
            "train={algorithm='ddpo', updates=10, save_every=10, samples_every=10, microbatch=16}",
            "knobs.learning_rate=1e-2",
            *changes,
        )

    return start


PLEASED = ("reward.models={pleased=1.0}", "judges.models=['loudness']")


@pytest.mark.parametrize("changes", [(), PLEASED], ids=["paid for loudness", "pleased by it"])
def test_a_session_that_cheats_rings_within_ten_updates(
    gamble: Run, changes: tuple[str, ...]
) -> None:
    ran = gamble(*changes)
    assert ran.ended == SessionEnded(10, "finished")
    alarms = ran.of(AlarmRaised)
    assert alarms
    assert alarms[0].update <= 10
    reward = "pleased" if changes else "loudness"
    for alarm in alarms:
        assert alarm.sentence.startswith(f"the reward rose ({reward} by ")
        assert "the level ran away" in alarm.sentence or "clipping" in alarm.sentence
    assert "alarm" in {mark.kind for mark in replay(ran.folder).marks}


@pytest.mark.parametrize(
    "changes",
    [
        ("reward.models={moderate=1.0}", "judges.models=['loudness']"),
        (*PLEASED, "knobs.alpha=0.0"),
    ],
    ids=["an honest reward", "a reward without weight"],
)
def test_the_same_session_without_a_reason_to_cheat_never_rings(
    gamble: Run, changes: tuple[str, ...]
) -> None:
    ran = gamble(*changes)
    assert ran.ended == SessionEnded(10, "finished")
    assert ran.of(AlarmRaised) == []
    start, *later = (event.scores for event in ran.of(EvaluationFinished))
    assert len(later) == 2
    stood_still = "knobs.alpha=0.0" in changes
    assert all((scores == start) == stood_still for scores in later)


# --- an ensemble of rewards -----------------------------------------------------

ENSEMBLE = ("reward={combine='ensemble', models={loudness=1.0, clipping=-1.0}}",)


def rollout_clips(ran: Ran) -> list[Clip]:
    return [c for e in ran.of(ClipsScored) for c in e.clips if c.kind == "rollout"]


def test_an_ensemble_is_scaled_by_the_start_and_trains(run: Run, whole: Ran) -> None:
    ran = run(*ENSEMBLE)
    assert ran.ended == SessionEnded(2, "finished")
    first = [c for e in ran.of(ClipsScored) for c in e.clips if c.update == 0]
    scores = torch.tensor([[c.scores["loudness"], -c.scores["clipping"]] for c in first]).double()
    mean, deviation = scores.mean(0), scores.std(0).clamp(min=torch.tensor([0.6, 0.002]).double())
    for clip in (*first, *rollout_clips(ran)):
        raw = torch.tensor([clip.scores["loudness"], -clip.scores["clipping"]]).double()
        z = (raw - mean) / deviation
        expected = float(z.mean() - 0.5 * z.std(unbiased=False))
        assert clip.reward == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert "the rewards are counted from the start's mean, in its deviations: loud" in ran.notices
    assert not same(ran, whole)
    for event in ran.of(EvaluationFinished):
        assert set(event.scores) == {"loudness", "clipping", "reward"}
    assert not any("reward" in event.scores for event in whole.of(EvaluationFinished))


def test_an_ensemble_goes_on_as_if_never_stopped(run: Run) -> None:
    whole = run(*ENSEMBLE, "train.updates=3")
    half = run(*ENSEMBLE, "train.updates=3", react=once(under_way("rollout", 1), Stop()))
    assert half.ended == SessionEnded(1, "stopped")
    events: list[Event] = []
    before = replace(replay(half.folder), ended=None)
    again = Ran(Session(half.session.profile, half.folder, events.append, before), events)
    again.session.run()
    assert again.ended == SessionEnded(3, "finished")
    assert same(again, whole)
    rewards = {(c.update, c.index): c.reward for c in rollout_clips(whole)}
    assert all(rewards[c.update, c.index] == c.reward for c in rollout_clips(again))
    assert again.of(EvaluationFinished)[-1].scores == whole.of(EvaluationFinished)[-1].scores


def test_an_ensemble_without_a_scale_ends_in_one_sentence(run: Run, failing) -> None:
    failing(lambda call, text: text == "Yes.")
    ran = run(*ENSEMBLE)
    assert ran.ended.reason == "failed"
    told = "the ensemble takes the scale of loudness from the evaluation at the start, where 1 of 2"
    assert ran.ended.error.startswith(told)
    assert "; loudness failed on clip 1 of 2" in ran.ended.error
    assert ran.of(UpdateFinished) == []


def test_a_spread_that_rewards_agreement_is_told(run: Run) -> None:
    odd = "reward={combine='ensemble', spread=1.5, models={loudness=1.0, clipping=-1.0}}"
    assert "reward.spread = 1.5 is above 1:" in run(odd, "train.updates=1").notices
    assert "reward.spread" not in run(*ENSEMBLE, "train.updates=1").notices


# --- pause, resume, single updates, stop ----------------------------------------


@pytest.mark.parametrize("phase", ["rollout", "optimise", "evaluate"])
def test_a_pause_takes_effect_between_timesteps_and_changes_no_number(
    run: Run, whole: Ran, phase: str
) -> None:
    ran = run(react=each(once(under_way(phase), Pause()), once(entered("paused"), Resume())))
    at = ran.phases.index("paused")
    assert ran.phases[at - 1 : at + 2] == [phase, "paused", phase]
    assert [p for i, p in enumerate(ran.phases) if i not in (at, at + 1)] == whole.phases
    assert ran.ended.reason == "finished"
    assert same(ran, whole)


def test_a_pause_taken_back_before_it_is_heard_is_none(run: Run) -> None:
    ran = run("train.updates=1", commands=(Pause(), Resume()))
    assert "paused" not in ran.phases
    assert ran.ended.reason == "finished"


def test_a_single_update_pauses_after_it(run: Run) -> None:
    ran = run(commands=(SingleUpdate(),), react=once(entered("paused"), Stop()))
    assert ran.ended == SessionEnded(1, "stopped")
    assert ran.phases[-2:] == ["save", "paused"]


def test_single_updates_follow_one_another(run: Run) -> None:
    paused: list[int] = []

    def react(event: Event, session: Session) -> None:
        if entered("paused")(event):
            paused.append(event.update)
            session.commands.put(SingleUpdate() if len(paused) < 3 else Stop())

    ran = run("train.updates=9", "evaluation.every=0", commands=(SingleUpdate(),), react=react)
    assert paused == [1, 2, 3]
    assert ran.ended == SessionEnded(3, "stopped")


def test_a_stop_before_the_start_trains_nothing_and_saves_nothing(run: Run) -> None:
    ran = run(commands=(Stop(),))
    assert ran.ended == SessionEnded(0, "stopped")
    assert ran.of(CheckpointSaved) == []
    assert ran.of(UpdateFinished) == []


def test_a_stop_in_a_rollout_keeps_the_finished_updates(run: Run, whole: Ran) -> None:
    ran = run("train.save_every=9", react=once(under_way("rollout", 1), Stop()))
    assert ran.ended == SessionEnded(1, "stopped")
    assert [event.update for event in ran.of(CheckpointSaved)] == [1]
    kept = checkpoint.load(ran.folder / "checkpoints/update-000001.safetensors")
    first = checkpoint.load(whole.folder / "checkpoints/update-000001.safetensors")
    for key, value in kept.model.state_dict().items():
        assert torch.equal(value, first.model.state_dict()[key])


def test_a_stop_without_saving_writes_no_checkpoint(run: Run) -> None:
    ran = run("train.save_every=9", react=once(under_way("rollout", 1), Stop(save=False)))
    assert ran.ended == SessionEnded(1, "stopped")
    assert ran.of(CheckpointSaved) == []


def test_a_checkpoint_asked_for_before_a_stop_is_written_under_its_name(run: Run) -> None:
    asked = (SaveCheckpoint("on quitting"), Stop(save=False))
    ran = run("train.save_every=9", react=once(under_way("rollout", 1), *asked))
    assert [(e.update, e.label) for e in ran.of(CheckpointSaved)] == [(1, "on quitting")]


def test_a_stop_between_two_optimizer_steps_leaves_half_an_update_out(run: Run) -> None:
    changes = ("train.inner_epochs=2", "train.save_every=9", "evaluation.every=0")
    whole = run("train.updates=1", *changes)

    def second_step(event: Event) -> bool:
        return under_way("optimise", 1)(event) and (event.done, event.total) == (2, 2)

    ran = run(*changes, react=once(second_step, Stop()))
    assert ran.ended == SessionEnded(1, "stopped")
    assert same(ran, whole)


def test_a_checkpoint_that_cannot_be_written_fails_the_session(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    for react in (None, once(under_way("rollout", 1), Stop())):
        ran = run("evaluation.every=0", "train.save_every=9", react=react)
        assert ran.ended.reason == "failed"
        assert "No space left on device" in ran.ended.error


def test_a_paused_session_can_be_stopped(run: Run) -> None:
    react = each(once(under_way("rollout"), Pause()), once(entered("paused"), Stop()))
    assert run(react=react).ended == SessionEnded(0, "stopped")


# --- knobs ----------------------------------------------------------------------


def test_a_knob_turns_between_updates_and_is_journaled(run: Run, whole: Ran) -> None:
    turn = SetKnobs({"alpha": 3.0, "learning_rate": 0.0}, who="anna")
    ran = run(react=once(under_way("rollout"), turn))
    (changed,) = ran.of(KnobsChanged)
    assert changed == KnobsChanged(
        1,
        "anna",
        {"alpha": 1.0, "learning_rate": 1e-3},
        {"alpha": 3.0, "learning_rate": 0.0},
        Knobs(alpha=3.0, learning_rate=0.0),
    )
    (first, second) = ran.of(UpdateFinished)
    assert ran.index(first) < ran.index(changed) < ran.index(second)
    assert changed in list(journal.events(ran.folder))
    # the update it came in is as without it; the next one no longer moves the weights
    one, two, other = (
        checkpoint.load(r.folder / f"checkpoints/update-00000{n}.safetensors").model.state_dict()
        for r, n in ((ran, 1), (ran, 2), (whole, 1))
    )
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_knobs_turn_while_the_session_is_paused(run: Run) -> None:
    def react(event: Event, session: Session) -> None:
        if entered("paused")(event):
            turned = session.knobs.alpha == 2.0
            session.commands.put(Stop() if turned else SetKnobs({"alpha": 2.0}))

    ran = run(commands=(SingleUpdate(),), react=react)
    (changed,) = ran.of(KnobsChanged)
    assert changed.update == 1
    assert ran.ended == SessionEnded(1, "stopped")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alpah": 1.0}, "there is no knob 'alpah'"),
        ({"alpha": float("nan")}, "alpha must be a finite number"),
        ({"beta": 2.0, "alpha": -1.0}, "alpha must lie between 0 and 1000"),
    ],
)
def test_a_bad_knob_is_refused_and_the_session_lives(run: Run, changes: dict, told: str) -> None:
    ran = run("train.updates=1", "evaluation.every=0", commands=(SetKnobs(changes),))
    (refused,) = ran.of(CommandRefused)
    assert told in refused.sentence
    assert ran.of(KnobsChanged) == []
    assert ran.session.knobs == Knobs(learning_rate=1e-3)
    assert ran.ended.reason == "finished"


# --- asked for ------------------------------------------------------------------


def test_an_evaluation_can_be_asked_for(run: Run) -> None:
    ran = run("evaluation.every=9", react=once(under_way("rollout"), Evaluate()))
    assert [event.update for event in ran.of(EvaluationFinished)] == [0, 1, 2]


def test_a_checkpoint_can_be_asked_for_and_named(run: Run) -> None:
    labels = ("by hand", "", "../../../so long/é*", "x" * 500, "warm_2-b")
    ran = run(
        "train.save_every=9", "evaluation.every=0",
        react=once(under_way("rollout"), *map(SaveCheckpoint, labels)),
    )  # fmt: skip
    saved = ran.of(CheckpointSaved)
    assert [event.label for event in saved] == ["by hand", "snapshot", *labels[2:], ""]
    assert saved[0].path == "checkpoints/update-000001-by-hand.safetensors"
    assert saved[1].path == "checkpoints/update-000001-snapshot.safetensors"
    assert saved[4].path == "checkpoints/update-000001-warm_2-b.safetensors"
    for event in saved:
        assert re.fullmatch(r"checkpoints/[\w.-]+\.safetensors", event.path)
        assert checkpoint.load(ran.folder / event.path).card.about["update"] == event.update
    assert ran.ended.reason == "finished"


# --- rewards that fail ----------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int, str], bool]], None]:
    """Makes the reward fail for the clips that `fails(call, text)` picks."""

    def make(fails: Callable[[int, str], bool]) -> None:
        scored, calls = Loudness.__call__, 0

        def call(self: Loudness, waves: Tensor, texts: tuple[str, ...]) -> Tensor:
            nonlocal calls
            calls += 1
            values = scored(self, waves, texts)
            picked = torch.tensor([fails(calls, text) for text in texts])
            if bool(picked.all()):
                raise ScoreError("it is too quiet")
            values[picked] = float("nan")
            return values

        monkeypatch.setattr(Loudness, "__call__", call)

    return make


def test_a_clip_without_a_reward_is_masked_counted_and_told(run: Run, failing) -> None:
    failing(lambda call, text: text == "No.")
    ran = run("train.updates=3", "evaluation.every=0", "reward.max_failed=0.9")
    failed = [clip for e in ran.of(ClipsScored) for clip in e.clips if clip.prompt == "No."]
    fine = [clip for e in ran.of(ClipsScored) for clip in e.clips if clip.prompt != "No."]
    assert failed
    assert fine
    assert all(clip.reward is None and clip.advantage is None for clip in failed)
    assert all(clip.scores["loudness"] is None for clip in failed)
    assert all(clip.reward is not None and clip.advantage is not None for clip in fine)
    assert sum(e.stats.failed for e in ran.of(UpdateFinished)) == len(failed)
    assert all(e.stats.reward.count == 4 - e.stats.failed for e in ran.of(UpdateFinished))
    assert "loudness failed on clip" in ran.notices
    assert ran.ended.reason == "finished"
    assert all(bool(value.isfinite().all()) for value in ran.weights.values())


def test_a_reward_that_fails_on_most_clips_ends_the_session_and_keeps_its_work(
    run: Run, failing
) -> None:
    scored: list[int] = []
    failing(lambda call, text: bool(scored))

    def react(event: Event, session: Session) -> None:
        if isinstance(event, UpdateFinished):
            scored.append(event.update)

    ran = run("train.updates=3", "evaluation.every=0", "train.save_every=9", react=react)
    assert ran.ended.reason == "failed"
    assert ran.ended.error.startswith(
        "the reward failed on 100% of the clips, more than reward.max_failed = 50%: loudness failed"
    )
    assert "it is too quiet" in ran.ended.error
    kept = checkpoint.load(ran.folder / ran.of(CheckpointSaved)[-1].path)
    assert kept.card.about["update"] == 1
    now = replay(ran.folder)
    assert now.update == 1
    assert now.ended == ran.ended


def test_a_failed_evaluation_has_no_score_and_ends_nothing(run: Run, failing) -> None:
    failing(lambda call, text: text == "Yes." or text == "Now.")
    ran = run("train.updates=1")
    assert [e.scores["loudness"] for e in ran.of(EvaluationFinished)] == [None, None]
    assert ran.ended.reason == "finished"


# --- numbers that are not finite ------------------------------------------------


def spoilt(monkeypatch: pytest.MonkeyPatch, updates: set[int]) -> React:
    """DLPO whose loss is NaN in these updates."""
    current = [0]

    def loss(terms, knobs, penalty) -> Tensor:
        value = ALGORITHMS["ddpo"].loss(terms, knobs, penalty)
        return value * float("nan") if current[0] in updates else value

    monkeypatch.setattr(learner, "ALGORITHMS", {"dlpo": Algorithm("dlpo", loss)})

    def react(event: Event, session: Session) -> None:
        if isinstance(event, UpdateFinished):
            current[0] = event.update

    return react


def test_two_spoilt_updates_are_forgiven(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    react = spoilt(monkeypatch, {0, 1, 3, 4})
    ran = run("train.updates=6", "evaluation.every=0", "train.save_every=9", react=react)
    assert ran.ended.reason == "finished"
    assert [e.stats.skipped for e in ran.of(UpdateFinished)] == [1, 1, 0, 1, 1, 0]


# --- algorithms and the penalty's speech ----------------------------------------


DRAFT = (
    "train.algorithm=draft", "train.through=2", "reward.models={distillmos=1.0}", "knobs.beta=0.1",
)  # fmt: skip


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_and_pays_only_for_what_it_needs(
    run: Run, place: Path, name: str
) -> None:
    changes = DRAFT if name == "draft" else (f"train.algorithm={name}",)
    ran = run(*changes, "train.inner_epochs=2", "evaluation.every=0")
    assert ran.ended.reason == "finished"
    needs = ALGORITHMS[name].needs
    for event in ran.of(UpdateFinished):
        assert (event.stats.penalty is not None) == ("penalty" in needs)
        assert (event.stats.kl is not None) == ("kl" in needs)
    before = checkpoint.load(place / "voice.safetensors").model.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in ran.weights.items())


def test_a_session_trains_on_windows_of_its_clips(run: Run) -> None:
    windowed = run("train.window_seconds=0.1", "train.inner_epochs=1")
    assert windowed.ended.reason == "finished"
    stats = [event.stats for event in windowed.of(UpdateFinished)]
    assert all(row.skipped == 0 and row.ratio == pytest.approx(1, abs=1e-5) for row in stats)
    assert not same(windowed, run("train.inner_epochs=1"))


def test_a_session_follows_the_rewards_own_gradient(run: Run) -> None:
    drafted = run(*DRAFT)
    assert drafted.ended.reason == "finished"
    (started,) = drafted.of(SessionStarted)
    assert (started.algorithm, started.kept) == ("draft", (1,))
    assert "ratio is 1" in drafted.notices
    stats = [event.stats for event in drafted.of(UpdateFinished)]
    assert all(row.skipped == 0 and row.failed == 0 and row.grad_norm > 0 for row in stats)
    for row in stats:  # the loss is what its formula says of the reward and the penalty
        assert row.loss == pytest.approx(0.1 * row.penalty - row.reward.mean, abs=1e-4)
    assert same(drafted, run(*DRAFT))
    assert not same(drafted, run(*DRAFT, "knobs.alpha=0"))


def test_what_has_no_gradient_is_refused_before_anything_is_trained(run: Run) -> None:
    refused = run(*DRAFT, "reward.models={loudness=1.0}")
    assert (refused.ended.reason, refused.ended.refused) == ("failed", True)
    assert "follows the gradient of the reward, and loudness has none" in refused.ended.error
    late = run(*DRAFT, "train.through=9")
    assert "train.through = 9 begins at a timestep that this schedule of 3" in late.ended.error
    assert late.ended.refused


def test_recomputed_activations_train_bit_for_bit_alike(run: Run, whole: Ran) -> None:
    assert same(run("train.recompute=true"), whole)


def test_the_penalty_can_be_taken_on_recorded_speech(run: Run, whole: Ran, place: Path) -> None:
    corpus = write_corpus(place / "corpus")
    changes = ("train.penalty_source=data", f"prompts.corpus={corpus}", "evaluation.every=0")
    ran = run("train.updates=1", *changes)
    assert ran.ended.reason == "finished"
    (finished,) = ran.of(UpdateFinished)
    assert finished.stats.penalty > 0
    prompts = {clip.prompt for event in ran.of(ClipsScored) for clip in event.clips}
    assert prompts == {"He will follow us soon.", "I saw it when she rolled."}  # one is held out
    own = run("train.updates=1", f"prompts.train={corpus}", "evaluation.every=0")
    (other,) = own.of(UpdateFinished)
    assert other.stats.reward == finished.stats.reward
    assert other.stats.penalty != finished.stats.penalty


# --- what cannot be -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("voice.checkpoint=nowhere.safetensors", "there is no checkpoint nowhere.safetensors"),
        ("voice.speaker=bem", "has no speaker 'bem'; did you mean 'ben'?"),
        ("prompts.train=nowhere.txt", "there are no prompts nowhere.txt"),
        ("reward.models={lodness=1.0}", "There is no score 'lodness'; did you mean 'loudness'?"),
        ("reward.models={clipping=1.0}", "its weight must be negative"),
        (
            "schedule={kind='respaced', timesteps=3, sampler='ddim', eta=0.0}",
            "no timestep of this schedule",
        ),
        ("device.device=quantum", "device.device = 'quantum' is no device"),
    ],
)
def test_a_profile_that_cannot_be_run_fails_in_one_sentence(
    run: Run, change: str, told: str
) -> None:
    ran = run(change)
    assert ran.ended.reason == "failed"
    assert told in ran.ended.error
    assert "\n" not in ran.ended.error
    assert ran.of(UpdateFinished) == []


def test_a_full_disk_is_told_although_it_cannot_be_journaled(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Journal.write

    def full(self: Journal, event: Event) -> None:
        if isinstance(event, UpdateFinished | SessionEnded | CheckpointSaved):
            raise OSError(28, "No space left on device")
        write(self, event)

    monkeypatch.setattr(Journal, "write", full)
    ran = run("evaluation.every=0")
    assert ran.ended.reason == "failed"
    assert "No space left on device" in ran.ended.error


def test_a_disk_that_fills_up_ends_the_session_and_spoils_nothing(run: Run) -> None:
    """No file may grow past a size, from the first update on: much like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event, session: Session) -> None:
        if isinstance(event, CheckpointSaved):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        ran = run("train.updates=3", "evaluation.every=0", "train.samples_every=9", react=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.ended.reason == "failed"
    assert not ran.ended.refused
    assert ran.ended.error.startswith("File too large ")
    assert ran.ended.error.endswith("; make room, or name another place")
    (saved,) = (ran.folder / "checkpoints").iterdir()
    assert checkpoint.load(saved).card.about["update"] == 1
    assert replay(ran.folder).ended == ran.ended
    assert not list(ran.folder.rglob("*.part*"))
    again: list[Event] = []
    before = replace(replay(ran.folder), ended=None)
    Session(ran.session.profile, ran.folder, again.append, before).run()
    assert again[-1] == SessionEnded(3, "finished")


@pytest.mark.parametrize(
    ("change", "refused"), [("voice.speaker=bem", True), ("train.updates=1", False)]
)
def test_only_what_failed_before_anything_began_was_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, change: str, refused: bool
) -> None:
    def lost(self: Session) -> int:
        raise ValueError("lost")

    monkeypatch.setattr(Session, "one_update", lost)
    ran = run(change)
    assert (ran.ended.reason, ran.ended.refused) == ("failed", refused)


def test_our_own_errors_speak_for_themselves_and_others_are_named() -> None:
    assert sentence(ValueError("it is\n  off")) == "it is off"
    assert sentence(session.SessionError("why")) == "why"
    assert sentence(RuntimeError("CUDA out of memory")) == "RuntimeError: CUDA out of memory"
    assert sentence(KeyError()) == "KeyError: no reason given"
    full = OSError(28, "No space left on device", "a.flac")
    assert sentence(full) == "No space left on device a.flac; make room, or name another place"
    assert sentence(OSError(5, "Input/output error")) == "OSError: [Errno 5] Input/output error"


def test_an_interval_survives_the_card(whole: Ran) -> None:
    last = whole.of(EvaluationFinished)[-1].scores["loudness"]
    voice = checkpoint.load(whole.folder / whole.of(CheckpointSaved)[-1].path)
    assert Interval(**voice.card.about["scores"]["loudness"]) == replace(last)
