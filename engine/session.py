"""The session: one thread that owns the model, obeys commands and emits events."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from engine import batch, checkpoint, clips, recovery, resume, room, start_clip
from engine import messages as m
from engine.assembly import Parts, assemble, choose_rewards
from engine.checkpoint import with_about
from engine.device import choose_device, set_threads
from engine.diffusion.sampler import rollout
from engine.distributed import ALONE, RankLost, Ranks, check_share, named
from engine.evaluation import evaluate, fooled, interval
from engine.files import MENDS, sweep, told
from engine.inbox import Inbox
from engine.journal import Journal, Unwritten
from engine.learner import Learner, identity
from engine.memory import out_of_memory, peak_memory
from engine.profile import Profile
from engine.ratio_check import check_ratio
from engine.reopening import start_path
from engine.rewards import ensemble
from engine.rewards.base import Scores, Share, everyones, reward, score_clips
from engine.rewards.patience import Patience
from engine.rl.advantages import advantages
from engine.rl.update import Problem, optimise
from engine.setbacks import SessionError, Setbacks
from engine.synthesis import Utterance, stack
from engine.types import RewardBatch, Trajectory

log = logging.getLogger(__name__)

RECENT = 16
"""Evaluations that are remembered, for a session that goes back behind the newest."""


class Stopped(Exception):
    """Raised between two timesteps after a Stop."""


class Session:
    """Trains one policy. Nothing outside the thread that calls `run` touches a tensor.

    Where several ranks share it, each runs one of these, and all take the same way through it:
    only what is asked of `ranks`, of the inbox and of the disk differs. Rank 0 alone writes.
    """

    def __init__(
        self,
        profile: Profile,
        folder: Path,
        emit: Callable[[m.Event], None],
        before: m.Snapshot | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """A new session, or one that goes on: `before` is the fold of its journal so far."""
        self.profile, self.folder, self.before, self.ranks = profile, folder, before, ranks
        # First of all: a run that nothing is left of stays as it is, its journal too.
        self.state = resume.newest(folder) if before is not None else None
        self.journal, self.listener = Journal(folder) if ranks.leads else Unwritten(), emit
        self.inbox = Inbox(ranks)
        self.commands = self.inbox.queue
        self.knobs, self.update = profile.knobs, 0
        self.saved_at = 0
        self.setbacks = Setbacks()
        self.patience = Patience(profile.reward.patience_seconds)
        self.rows: dict[m.Phase, int] = {
            "rollout": profile.rollout.rows, "optimise": profile.train.rows,
        }  # fmt: skip
        """Of a microbatch, by phase."""
        self.opened = False
        self.at: m.Phase = "loading"
        self.seconds: dict[str, float] = {}
        self.first: Tensor | None = None
        self.ensemble: ensemble.Ensemble | None = None
        self.looks: dict[int, dict[str, m.Interval | None]] = {}
        """Update -> scores of its evaluation, the newest last."""

    # --- from start to end

    def run(self) -> None:
        """The whole session; ends in exactly one SessionEnded, whatever happens.

        Errors: RankLost, and then it has not ended: it goes on when all ranks start again.
        """
        try:
            self.train()
        except RankLost:
            raise
        except Exception as error:  # the thread's one boundary: report, never vanish
            log.exception("the session failed")
            self.rescue()
            refused = isinstance(error, ValueError) and not self.opened
            self.end("failed", sentence(error), refused)
        finally:
            self.patience.close()
            with suppress(OSError):  # told already, by the event that could not be written
                self.journal.close()

    def train(self) -> None:
        """Every update, or as many as come before a Stop."""
        try:
            self.open()
            if self.before is None:
                self.begin()
            else:
                self.go_on(self.before)
            while self.obey() and self.update < self.profile.train.updates:
                self.settle(recovery.within_memory(self, self.one_update, sentence))
                self.inbox.update_done()
            if self.inbox.stopping:
                raise Stopped
            self.look()
            self.save()
        except Stopped:
            self.leave()
        else:
            self.end("finished")

    def leave(self) -> None:
        """Ends after a Stop: what was asked to be saved is saved, under its name."""
        asked = self.inbox.asked_to_save()
        if asked:
            self.save(asked)
        elif self.inbox.keeping:
            self.save()
        self.end("stopped")

    def open(self) -> None:
        """Loads what the profile names; on going on, the voice that the session began with."""
        profile = self.profile
        self.choice = choose_rewards(profile)
        if self.choice.notice and self.before is None:  # the first thing that is said
            self.notice(self.choice.notice, "warning")
        self.enter("loading")
        set_threads(profile.device, self.ranks.beside)
        self.device = self.ranks.own(choose_device(profile.device))
        wanted = profile
        if self.before is not None:
            began_with = replace(profile.voice, checkpoint=str(start_path(self.folder)))
            wanted = replace(profile, voice=began_with)
        self.parts: Parts = assemble(wanted, self.device)
        self.voice = self.parts.voice
        self.rate = self.voice.card.config.sample_rate
        self.learner = Learner.create(profile, self.parts, self.device)
        check_share(self.learner.batch, profile.rollout.group, self.ranks.count)
        self.identity = identity(profile, self.parts)
        self.opened = self.before is None

    def begin(self) -> None:
        """Says what will be trained, checks it, and looks at the voice as it is."""
        profile, learner = self.profile, self.learner
        scored = [c for model in self.parts.rewards for c in model.columns]
        judged = [c for model in self.parts.judges for c in model.columns]
        self.emit(
            m.SessionStarted(
                run=self.folder.name, folder=str(self.folder), algorithm=profile.train.algorithm,
                updates=profile.train.updates, knobs=self.knobs, rewards=tuple(scored),
                judges=tuple(judged), voice=self.voice.source,
                device=named(self.ranks, self.device),
                precision="bf16" if learner.policies.current.compute_dtype else "fp32",
                timesteps=learner.schedule.timesteps, kept=learner.allowed, sample_rate=self.rate,
                stand_in=self.choice.stand_in, parent=checkpoint.origin(self.voice.card),
            )
        )  # fmt: skip
        for notice in self.parts.notices:
            self.notice(notice, "warning")
        if learner.batch != profile.rollout.batch:
            told = f"{learner.batch} rollouts an update instead of {profile.rollout.batch}"
            self.notice(f"no GPU: {told}", "warning")
        self.notice(check_ratio(learner, self.parts.prompts, profile.seed, self.knobs, self.ranks))
        room.make_room(self)
        self.look()
        if self.ensemble is not None:
            self.notice(ensemble.told(self.ensemble))
        if self.ranks.leads:
            checkpoint.save(start_path(self.folder), self.voice.model, self.voice.card)
        self.keep()

    def go_on(self, before: m.Snapshot) -> None:
        """Takes up the newest state: what the next update reads is what it would have read."""
        state, self.state = self.state, None
        assert state is not None
        recovery.check_agreed(self, state)
        resume.check_identity(self.folder, state.identity, self.identity)
        self.first = self.first_scores(state)
        self.learner.restore(state)
        self.update = state.update
        self.setbacks = Setbacks(state.skipped, before.setbacks)
        self.fix_scales()
        self.opened = True
        for turn in before.turns:
            if turn.update <= self.update:
                self.knobs = turn.knobs
        self.learner.turn(self.knobs)
        updates = self.profile.train.updates
        event = m.SessionResumed(self.update, updates, self.knobs)
        self.emit(event)
        for known in before.microbatches:
            asked = room.asked(self.profile)[known.phase]
            self.resize(known.phase, min(known.size, asked or known.size))
        room.make_room(self, [known.phase for known in before.microbatches])
        if self.journal.torn:
            self.notice(
                f"the journal ended within a line, {self.journal.torn} bytes of an event that was "
                "being written when the process died; they were cut off", "warning",
            )  # fmt: skip
        if self.ranks.leads:
            sweep(self.folder)
            if samples := self.profile.train.samples_kept:
                clips.forget_before(self.folder, self.update - samples + 1)
        kept = m.advance(before, event)
        if kept.started is not None:
            self.voice = replace(self.voice, source=kept.started.voice)
        saved = [mark.update for mark in kept.marks if mark.kind == "checkpoint"]
        self.saved_at = max(saved, default=0)
        self.looks = dict(kept.evaluations[-RECENT:])
        if self.update:
            self.after_update(looked=self.update in self.looks)

    # --- one update

    def one_update(self) -> int:
        """Rollout, score, optimise: the whole algorithm on one screen.

        Of the update's B rollouts this rank has the b of its share; alone, b = B.
        """
        profile, ranks, learner = self.profile, self.ranks, self.learner
        spec, self.seconds = profile.rollout, {}

        prompts = batch.prompts(profile, self.parts, self.update, learner.batch)  # B utterances
        share = ranks.share(len(prompts), spec.group)
        own, first = prompts[share.start : share.stop], share.start
        conditioning, frames = stack(own)  # (b, C, M), frozen encoder in eval mode
        noise = batch.noise(profile, learner.allowed, self.update, frames, first)  # keeps K of T
        with self.phase("rollout") as between:
            traj = rollout(
                learner.policies.current, learner.schedule, conditioning, noise,
                microbatch=self.rows["rollout"], between=between,
            )  # fmt: skip  # x_t, x_prev, mean (K, b, S); waveform (b, S): fp32
        sound = ranks.rows(traj.waveform.isfinite().all(-1))  # (B,)

        with self.phase("score"):
            paths = [""] * len(prompts)
            if self.update % profile.train.samples_every == 0:
                paths = clips.write_rollouts(
                    self.folder, self.update + 1, first, traj, frames, self.rate, ranks
                )
            scores = everyones(self.score(traj, own, Share(first, len(prompts))), ranks)  # (B, R)
            rewards = self.reward(scores)  # (B, R) -> (B,)
            self.check_failures(rewards, sound)
            texts = tuple(u.text for u in prompts)
            total = rewards.total.to(self.device)
            valid = rewards.valid.to(self.device)
            advantage = advantages(
                profile.advantage, total, valid, texts, spec.group, learner.statistics
            )  # (B,)
            rows = clips.rollouts(
                self.update + 1, profile.seed, prompts, self.voice.card.speakers, rewards,
                advantage, self.rate, paths,
            )  # fmt: skip
        self.emit(m.ClipsScored(self.update + 1, rows))

        with self.phase("optimise") as between, learner.undivided() as undo:
            speech = batch.speech(profile, self.parts, self.update, traj, own, frames, first)
            problem = Problem(
                learner.schedule, traj, frames, advantage[first : share.stop],
                valid[first : share.stop], speech, (profile.seed, self.update), first,
                batch.onward(profile, self.parts, noise, own),
            )  # fmt: skip
            done = optimise(
                learner.policies, learner.optimizer, problem, learner.settings, self.knobs,
                between, ranks,
            )  # fmt: skip
            if not (learner.finite() and bool(sound.any())):
                undo()
                done = replace(done, skipped=max(done.skipped, 1))

        self.update += 1
        stats = m.UpdateStats(
            **asdict(done), reward=interval(total[valid].cpu()),
            failed=int((~valid).sum()), clamped=ranks.mean(float(traj.clamped), sum(frames)),
            seconds=dict(self.seconds), memory_bytes=peak_memory(self.device),
        )  # fmt: skip
        self.emit(m.UpdateFinished(self.update, stats))
        return done.skipped

    def score(
        self, traj: Trajectory, prompts: list[Utterance], share: Share | None = None
    ) -> Scores:
        models = [*self.parts.rewards]
        if self.profile.judges.rollouts:
            models += self.parts.judges
        texts = [u.text for u in prompts]
        return score_clips(
            models, traj.waveform, traj.lengths, self.rate, texts, self.patience, share
        )

    def reward(self, scores: Scores) -> RewardBatch:
        """The sum or the ensemble, as the profile asks; ValueError where that has no scale yet."""
        if self.profile.reward.combine == "ensemble" and self.ensemble is None:
            raise ValueError("no clip has a reward before the evaluation at the start is done")
        return reward(scores, self.parts.weights, self.ensemble)

    def first_scores(self, state: resume.State) -> Tensor | None:
        """The scores of the look at the start that a state holds; ValueError where of others."""
        scores = state.first
        models = (*self.parts.rewards, *self.parts.judges)
        wanted = (len(self.parts.held_out), sum(len(model.columns) for model in models))
        if scores is not None and tuple(scores.shape) != wanted:
            raise ValueError(
                f"the state of update {state.update} holds {tuple(scores.shape)} scores of the "
                f"start, and this run has {wanted}; put the run's own resume folder back"
            )
        return scores

    def fix_scales(self) -> None:
        """An ensemble's scales, from the scores at the start; the same when a session goes on."""
        if self.profile.reward.combine != "ensemble" or self.first is None:
            return
        models = (*self.parts.rewards, *self.parts.judges)
        columns = [column for model in models for column in model.columns]
        self.ensemble = ensemble.fix(
            columns, self.first, self.parts.weights, self.profile.reward.spread
        )

    def check_failures(self, rewards: RewardBatch, sound: Tensor) -> None:
        """Counts failed rewards aloud; too many of clips (B,) that are `sound` end the session."""
        for failure in rewards.failures[:3]:
            self.notice(failure, "warning")
        failed = float((~rewards.valid)[sound].float().mean())  # NaN where no clip is sound
        if failed > self.profile.reward.max_failed:
            raise SessionError(
                f"the reward failed on {failed:.0%} of the clips, more than reward.max_failed = "
                f"{self.profile.reward.max_failed:.0%}: {rewards.failures[0]}"
            )

    # --- after an update, and where one went wrong

    def settle(self, skipped: int) -> None:
        """Keeps what an update has made, or goes back where too many in a row made nothing."""
        if self.setbacks.count(self.update, skipped):
            recovery.roll_back(self)
            return
        self.keep()
        samples = self.profile.train.samples_kept
        if samples and self.ranks.leads:
            clips.forget(self.folder, self.update - samples, self.learner.batch)
        self.after_update()

    def after_update(self, looked: bool = False) -> None:
        """What is due after an update: a look (unless it has been had), a checkpoint."""
        done, every = self.update, self.profile.evaluation.every
        if done >= self.profile.train.updates:
            return
        if every and done % every == 0 and not looked:
            self.look()
        if done % self.profile.train.save_every == 0:
            self.save()

    def keep(self) -> None:
        """The state that the session can go on from, every `resume_every` updates."""
        if self.ranks.leads and self.update % self.profile.train.resume_every == 0:
            resume.write(
                self.folder,
                self.learner.state(self.update, self.setbacks.skipped, self.first, self.identity),
            )

    def resize(self, phase: m.Phase, rows: int) -> None:
        """So many rows of a phase at a time from now on."""
        self.rows[phase] = rows
        self.learner.resize(self.rows["optimise"])

    # --- evaluation, checkpoints

    def look(self) -> None:
        """Evaluates on the held-out prompts; raises the alarm where the reward was fooled."""
        if self.profile.evaluation.every:
            recovery.within_memory(self, self.evaluate, sentence)

    def evaluate(self) -> None:
        began = time.perf_counter()
        with self.phase("evaluate") as between:
            now = evaluate(
                self.voice, self.learner.schedule, self.parts.held_out,
                (*self.parts.rewards, *self.parts.judges), self.profile.evaluation.seed,
                self.rows["rollout"], between, self.patience, self.ranks,
            )  # fmt: skip
        if self.first is None:
            self.first = now.scores.values
            try:
                self.fix_scales()
            except ValueError as error:
                raise SessionError("; ".join([str(error), *now.scores.failures[:1]])) from None
        rewards = self.reward(now.scores)
        if self.ranks.leads:
            rows = clips.evaluations(
                self.folder, self.update, self.profile.evaluation.seed, now, self.parts.held_out,
                self.voice.card.speakers, rewards, self.rate,
            )  # fmt: skip
            self.emit(m.ClipsScored(self.update, rows))
        latest = now.intervals()
        if self.ensemble is not None:
            latest["reward"] = interval(rewards.total)
        for failure in now.scores.failures[:3]:
            self.notice(failure, "warning")
        # Before the end of the evaluation, which a resumed session takes for all of it.
        if alarm := fooled(self.first, now, self.parts.weights):
            self.emit(m.AlarmRaised(self.update, alarm))
        self.emit(m.EvaluationFinished(self.update, latest, time.perf_counter() - began))
        self.looks = dict([*self.looks.items(), (self.update, latest)][-RECENT:])

    def save(self, label: str = "") -> None:
        """Writes a checkpoint that `listen` needs nothing else for."""
        if self.update == self.saved_at and not label:
            return
        self.enter("save")
        stem = "-".join([f"update-{self.update:06d}", *re.findall(r"[\w.]+", label)])[:60]
        path = f"checkpoints/{stem}.safetensors"
        card = with_about(
            self.voice.card,
            made="reinforcement learning",
            parent=self.voice.source,
            branched_from=checkpoint.origin(self.voice.card),
            run=self.folder.name,
            algorithm=self.profile.train.algorithm,
            update=self.update,
            knobs=asdict(self.knobs),
            scores={name: asdict(s) if s else None for name, s in self.latest().items()},
            schedule=asdict(self.parts.schedule),
            profile=self.profile.hash(),
        )
        if self.ranks.leads:
            checkpoint.save(self.folder / path, self.voice.model, card)
        self.saved_at = self.update
        self.emit(m.CheckpointSaved(self.update, path, label))

    def latest(self) -> dict[str, m.Interval | None]:
        """Scores of the newest evaluation."""
        return self.looks[max(self.looks)] if self.looks else {}

    def rescue(self) -> None:
        """After a failure: what has been learnt since the last checkpoint, where it can be kept."""
        try:
            self.save()
        except Exception:  # the first error is the one to report
            log.exception("and no checkpoint could be written")

    # --- commands

    def obey(self) -> bool:
        """Applies waiting commands between updates; blocks while paused; False to stop."""
        inbox = self.inbox
        inbox.hear()
        while not inbox.stopping:
            while inbox.waiting:
                self.apply(inbox.waiting.popleft())
            if not inbox.paused:
                return True
            self.enter("paused")
            inbox.wait()
            inbox.hear()
        return False

    def apply(self, command: m.Command) -> None:
        match command:
            case m.SetKnobs(changes, who):
                self.turn(changes, who)
            case m.SaveCheckpoint(label):
                self.save(label or "snapshot")
            case m.Evaluate():
                self.look()
            case m.RenderStart(update, index):
                self.render(update, index)
            case _:
                raise AssertionError(f"{command} is taken where it comes")

    def turn(self, changes: dict[str, float], who: str) -> None:
        """Changes knobs; a bad value is an event, never the end of the session."""
        try:
            new = m.check_knobs(changes)
        except ValueError as error:
            self.emit(m.CommandRefused(self.update, str(error)))
            return
        old = {name: getattr(self.knobs, name) for name in new}
        self.knobs = replace(self.knobs, **new)
        self.learner.turn(self.knobs)
        self.emit(m.KnobsChanged(self.update, who, old, new, self.knobs))

    def render(self, update: int, index: int) -> None:
        """Speaks a rollout again as the session's start would; what cannot be is an event."""
        try:
            if not (0 < update <= self.update + 1 and 0 <= index < self.learner.batch):
                raise ValueError(f"there is no rollout {index} of update {update}")
            prompts = batch.prompts(self.profile, self.parts, update - 1, self.learner.batch)
            frames = tuple(u.frames for u in prompts)
            noise = batch.noise(self.profile, self.learner.allowed, update - 1, frames)
            traj = start_clip.speak(
                self.folder, self.learner.policies.current, self.learner.schedule, noise,
                prompts[index], index, self.render_on,
            )  # fmt: skip
            path = start_clip.path_of(update, index)
            if self.ranks.leads:  # every rank speaks it, as all of them have to hear a stop
                start_clip.write(self.folder / path, traj, self.rate)
            scores = self.score(traj, prompts[index : index + 1])
            self.emit(clips.rendered(update, index, path, self.reward(scores)))
        except Exception as error:
            lacking = self.ranks.count == 1 and out_of_memory(error)  # the others speak on
            if not (isinstance(error, OSError | ValueError) or lacking):
                raise
            self.emit(m.CommandRefused(self.update, sentence(error), "RenderStart"))

    def render_on(self, done: int, total: int) -> None:
        """Between two timesteps of a clip that is rendered, also while paused: stop alone acts."""
        self.emit(m.PhaseProgressed(self.update, "render", done, total))
        self.inbox.hear()
        if self.inbox.stopping:
            raise Stopped

    def breathe(self, phase: m.Phase, done: int, total: int) -> None:
        """Between two timesteps: progress out, pause and stop in."""
        inbox = self.inbox
        self.emit(m.PhaseProgressed(self.update, phase, done, total))
        inbox.hear()
        waited = inbox.paused
        while inbox.paused and not inbox.stopping:
            if harmless := inbox.harmless():
                self.apply(harmless)
                continue
            self.enter("paused")
            inbox.wait()
        if inbox.stopping:
            raise Stopped
        if waited:
            self.enter(phase)

    # --- events

    @contextmanager
    def phase(self, name: m.Phase) -> Iterator[Callable[[int, int], None]]:
        """Announces and times a phase; yields what to call between its timesteps."""
        self.enter(name)
        self.at = name
        began = time.perf_counter()
        yield lambda done, total: self.breathe(name, done, total)
        self.seconds[name] = time.perf_counter() - began

    def emit(self, event: m.Event) -> None:
        """To the journal, then to whoever listens."""
        if not isinstance(event, m.PhaseProgressed):
            self.journal.write(event)
        self.listener(event)

    def enter(self, phase: m.Phase) -> None:
        self.emit(m.PhaseEntered(self.update, phase))

    def notice(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        self.emit(m.Noticed(self.update, level, text))

    def end(self, reason: m.Reason, error: str = "", refused: bool = False) -> None:
        event = m.SessionEnded(self.update, reason, error, refused)
        try:
            self.journal.write(event)
        except OSError:  # a full disk may be the very reason; whoever listens is told all the same
            log.exception("the end is missing in the journal")
        self.listener(event)


def sentence(error: Exception) -> str:
    """What went wrong in one line: our own errors say it themselves, others are named."""
    text = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, ValueError | SessionError):
        return text
    if isinstance(error, OSError) and error.errno in MENDS:
        return told(error)
    return f"{type(error).__name__}: {text}"
