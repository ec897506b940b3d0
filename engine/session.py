"""The session: one thread that owns the model, obeys commands and emits events."""

from __future__ import annotations

import copy
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import torch

from engine import checkpoint, clips
from engine import messages as m
from engine.assembly import Parts, assemble
from engine.checkpoint import with_about
from engine.device import choose_device, choose_dtype, generator, set_threads
from engine.diffusion.sampler import RolloutNoise, choose_kept, rollout
from engine.diffusion.schedule import build, trainable
from engine.evaluation import Evaluation, evaluate, fooled, interval
from engine.journal import Journal
from engine.profile import Profile, ProfileError
from engine.recorded import windows
from engine.rewards.base import Scores, reward, score_clips
from engine.rl.advantages import PromptStatistics, advantages
from engine.rl.algorithms import ALGORITHMS
from engine.rl.update import (
    Policies,
    Problem,
    Settings,
    Speech,
    optimise,
    own_clips,
    ratio_error,
)
from engine.synthesis import Utterance, stack
from engine.types import RewardBatch, Trajectory

MAX_SKIPPED = 3
"""Updates in a row that left the weights alone, after which the session stops."""

log = logging.getLogger(__name__)


class SessionError(RuntimeError):
    """Why a session cannot go on; one sentence."""


class Stopped(Exception):
    """Raised between two timesteps after a Stop."""


class Session:
    """Trains one policy. Nothing outside the thread that calls `run` touches a tensor."""

    def __init__(self, profile: Profile, folder: Path, emit: Callable[[m.Event], None]) -> None:
        self.profile, self.folder = profile, folder
        self.journal, self.listener = Journal(folder), emit
        self.commands: SimpleQueue[m.Command] = SimpleQueue()
        self.waiting: deque[m.Command] = deque()
        self.knobs, self.update = profile.knobs, 0
        self.paused = self.stopping = self.single = False
        self.keeping = True
        self.saved_at = self.skipped = 0
        self.seconds: dict[str, float] = {}
        self.first: Evaluation | None = None
        self.latest: dict[str, m.Interval | None] = {}

    # --- from start to end

    def run(self) -> None:
        """The whole session; ends in exactly one SessionEnded, whatever happens."""
        try:
            self.train()
        except Exception as error:  # the thread's one boundary: report, never vanish
            log.exception("the session failed")
            self.rescue()
            self.end("failed", sentence(error))
        finally:
            with suppress(OSError):  # told already, by the event that could not be written
                self.journal.close()

    def train(self) -> None:
        """Every update, or as many as come before a Stop."""
        try:
            self.open()
            self.check_ratio()
            self.look()
            while self.obey() and self.update < self.profile.train.updates:
                skipped = self.one_update()
                self.after_update(skipped)
            if self.stopping:
                raise Stopped
            self.look()
            self.save()
        except Stopped:
            self.leave()
        else:
            self.end("finished")

    def leave(self) -> None:
        """Ends after a Stop: what was asked to be saved is saved, under its name."""
        asked = [c for c in self.waiting if isinstance(c, m.SaveCheckpoint)]
        if asked:
            self.save(asked[-1].label or "snapshot")
        elif self.keeping:
            self.save()
        self.end("stopped")

    def open(self) -> None:
        """Loads what the profile names and says what it will train."""
        profile = self.profile
        self.enter("loading")
        if profile.train.algorithm not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ProfileError(f"train.algorithm is one of {known}, not {profile.train.algorithm}")
        set_threads(profile.device)
        self.device = choose_device(profile.device)
        dtype = choose_dtype(profile.device, self.device)
        self.schedule = build(profile.schedule).to(self.device)
        rollouts = profile.rollout
        self.allowed = trainable(self.schedule, rollouts.sigma_min, rollouts.window)
        self.parts: Parts = assemble(profile, self.device)
        self.voice = self.parts.voice
        self.rate = self.voice.card.config.sample_rate
        policy = self.voice.model.decoder
        self.voice.model.requires_grad_(False)
        policy.requires_grad_(True)
        policy.compute_dtype = dtype
        train = profile.train
        algorithm = ALGORITHMS[train.algorithm]
        reference = (
            copy.deepcopy(policy).requires_grad_(False) if "kl" in algorithm.needs else policy
        )
        self.policies = Policies(policy, reference)
        self.settings = Settings(
            algorithm, train.ratio, train.penalty, train.penalty_norm, train.inner_epochs,
            train.microbatch,
        )  # fmt: skip
        self.optimizer = torch.optim.AdamW(
            policy.parameters(), lr=self.knobs.learning_rate, weight_decay=0.0
        )
        self.statistics = PromptStatistics()
        self.batch = rollouts.batch
        if rollouts.cpu_batch and self.device.type == "cpu":
            self.batch = rollouts.cpu_batch
        scored = [c for model in self.parts.rewards for c in model.columns]
        judged = [c for model in self.parts.judges for c in model.columns]
        self.emit(
            m.SessionStarted(
                run=self.folder.name, folder=str(self.folder), algorithm=algorithm.name,
                updates=train.updates, knobs=self.knobs, rewards=tuple(scored),
                judges=tuple(judged), voice=self.voice.source, device=str(self.device),
                precision="bf16" if dtype else "fp32", timesteps=self.schedule.timesteps,
                kept=self.allowed, sample_rate=self.rate,
            )
        )  # fmt: skip
        for notice in self.parts.notices:
            self.notice(notice, "warning")
        if self.batch != rollouts.batch:
            self.notice(
                f"no GPU: {self.batch} rollouts an update instead of {rollouts.batch}", "warning"
            )

    # --- one update

    def one_update(self) -> int:
        """Rollout, score, optimise: the whole algorithm on one screen."""
        spec, train = self.profile.rollout, self.profile.train
        self.seconds = {}

        prompts = self.draw(self.update)  # B utterances
        conditioning, frames = stack(prompts)  # (B, C, M), frozen encoder in eval mode
        kept = choose_kept(self.allowed, spec.kept, self.profile.seed, self.update)  # (K,)
        noise = RolloutNoise(
            self.profile.seed, self.update, frames, kept, spec.group, spec.shared, spec.antithetic
        )
        with self.phase("rollout") as between:
            traj = rollout(
                self.policies.current, self.schedule, conditioning, noise,
                microbatch=spec.microbatch, between=between,
            )  # fmt: skip  # x_t, x_prev, mean (K, B, S); waveform (B, S): fp32

        with self.phase("score"):
            scores = self.score(traj, prompts)  # (B, R)
            rewards = reward(scores, self.parts.weights)  # (B, R) -> (B,)
            self.check_failures(rewards)
            texts = tuple(u.text for u in prompts)
            total = rewards.total.to(self.device)
            valid = rewards.valid.to(self.device)
            advantage = advantages(
                train.advantage, total, valid, texts, spec.group, self.statistics
            )  # (B,)
            written = self.update % train.samples_every == 0
            rows = clips.rollouts(
                self.folder, self.update + 1, self.profile.seed, traj, prompts,
                self.voice.card.speakers, rewards, advantage, self.rate, written,
            )  # fmt: skip
        self.emit(m.ClipsScored(self.update + 1, rows))

        with self.phase("optimise") as between, self.undivided():
            problem = Problem(
                self.schedule, traj, frames, advantage, valid, self.speech(traj, prompts, frames),
                (self.profile.seed, self.update),
            )  # fmt: skip
            done = optimise(
                self.policies, self.optimizer, problem, self.settings, self.knobs, between
            )

        self.update += 1
        stats = m.UpdateStats(
            **asdict(done), reward=interval(total[valid].cpu()),
            failed=int((~valid).sum()), clamped=float(traj.clamped), seconds=dict(self.seconds),
        )  # fmt: skip
        self.emit(m.UpdateFinished(self.update, stats))
        return done.skipped

    @contextmanager
    def undivided(self) -> Iterator[None]:
        """An update that breaks off between its optimizer steps leaves the weights as before it."""
        policy = self.policies.current
        before = copy.deepcopy(policy.state_dict()) if self.settings.inner_epochs > 1 else None
        try:
            yield
        except Exception:
            if before is not None:
                policy.load_state_dict(before)
            raise

    def draw(self, update: int) -> list[Utterance]:
        """B / group prompts of this update, each `group` times, by identity."""
        pool, group = self.parts.prompts, self.profile.rollout.group
        count = self.batch // group
        drawn = []
        for place in range(update * count, (update + 1) * count):
            epoch, at = divmod(place, len(pool))  # every prompt once, then all again in new order
            rng = generator(self.profile.seed, epoch, "prompts")
            drawn += [pool[int(torch.randperm(len(pool), generator=rng)[at])]] * group
        return drawn

    def score(self, traj: Trajectory, prompts: list[Utterance]) -> Scores:
        models = [*self.parts.rewards]
        if self.profile.judges.rollouts:
            models += self.parts.judges
        texts = [u.text for u in prompts]
        return score_clips(models, traj.waveform, traj.lengths, self.rate, texts)

    def speech(self, traj: Trajectory, prompts: list[Utterance], frames: tuple[int, ...]) -> Speech:
        """What the penalty noises: own clips, or a window of each prompt's recording."""
        if self.profile.train.penalty_source == "sample":
            return own_clips(traj, frames)
        width, group = self.voice.card.config.window_frames, self.profile.rollout.group
        identity = (self.profile.seed, self.update)
        return windows(self.parts.recordings, prompts, width, group, identity)

    def check_failures(self, rewards: RewardBatch) -> None:
        """Counts failed rewards aloud; too many end the session."""
        for failure in rewards.failures[:3]:
            self.notice(failure, "warning")
        failed = float((~rewards.valid).float().mean())
        if failed > self.profile.reward.max_failed:
            raise SessionError(
                f"the reward failed on {failed:.0%} of the clips, more than reward.max_failed = "
                f"{self.profile.reward.max_failed:.0%}: {rewards.failures[0]}"
            )

    def after_update(self, skipped: int) -> None:
        """What follows an update: too many skips, a look, a checkpoint, a single update's pause."""
        done = self.update
        self.skipped = self.skipped + 1 if skipped else 0
        if self.skipped >= MAX_SKIPPED:
            raise SessionError(
                f"{MAX_SKIPPED} updates in a row had a loss or gradient that is not finite; the "
                "weights are those before them. Lower the learning rate"
            )
        if done < self.profile.train.updates:
            if self.profile.evaluation.every and done % self.profile.evaluation.every == 0:
                self.look()
            if done % self.profile.train.save_every == 0:
                self.save()
        if self.single:
            self.single, self.paused = False, True

    # --- checks, evaluation, checkpoints

    def check_ratio(self) -> None:
        """The ratio must be 1 before the first update: rollout and replay are one function."""
        prompts = sorted(self.parts.prompts, key=lambda u: u.frames)[:2]
        conditioning, frames = stack(prompts)
        noise = RolloutNoise(self.profile.seed, -1, frames, self.allowed[:1])
        traj = rollout(self.policies.current, self.schedule, conditioning, noise, microbatch=2)
        flat = torch.zeros(len(prompts), device=self.device)
        problem = Problem(
            self.schedule, traj, frames, flat, flat == 0, own_clips(traj, frames),
            (self.profile.seed, -1),
        )  # fmt: skip
        worst = ratio_error(self.policies, problem, self.settings)
        if not worst <= self.knobs.clip_range / 10:
            raise SessionError(
                f"the probability ratio is not 1 before the first update: |log ratio| reaches "
                f"{worst:.2g}, more than a tenth of the clip range {self.knobs.clip_range:g}; "
                "rollout and replay disagree, most likely by precision (device.precision)"
            )
        self.notice(f"ratio is 1 before the first update: |log ratio| is at most {worst:.1g}")

    def look(self) -> None:
        """Evaluates on the held-out prompts; raises the alarm where the reward was fooled."""
        if not self.profile.evaluation.every:
            return
        began = time.perf_counter()
        with self.phase("evaluate") as between:
            now = evaluate(
                self.voice, self.schedule, self.parts.held_out,
                (*self.parts.rewards, *self.parts.judges), self.profile.evaluation.seed,
                self.profile.rollout.microbatch, between,
            )  # fmt: skip
        rows = clips.evaluations(
            self.folder, self.update, self.profile.evaluation.seed, now, self.parts.held_out,
            self.voice.card.speakers, reward(now.scores, self.parts.weights), self.rate,
        )  # fmt: skip
        self.emit(m.ClipsScored(self.update, rows))
        self.latest = now.intervals()
        took = time.perf_counter() - began
        self.emit(m.EvaluationFinished(self.update, self.latest, took))
        for failure in now.scores.failures[:3]:
            self.notice(failure, "warning")
        self.first = self.first or now
        if alarm := fooled(self.first, now, set(self.parts.weights)):
            self.emit(m.AlarmRaised(self.update, alarm))

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
            run=self.folder.name,
            algorithm=self.settings.algorithm.name,
            update=self.update,
            knobs=asdict(self.knobs),
            scores={name: asdict(s) if s else None for name, s in self.latest.items()},
            schedule=asdict(self.profile.schedule),
            profile=self.profile.hash(),
        )
        checkpoint.save(self.folder / path, self.voice.model, card)
        self.saved_at = self.update
        self.emit(m.CheckpointSaved(self.update, path, label))

    def rescue(self) -> None:
        """After a failure: what has been learnt since the last checkpoint, where it can be kept."""
        try:
            self.save()
        except Exception:  # the first error is the one to report
            log.exception("and no checkpoint could be written")

    # --- commands

    def obey(self) -> bool:
        """Applies waiting commands between updates; blocks while paused; False to stop."""
        self.hear()
        while not self.stopping:
            while self.waiting:
                self.apply(self.waiting.popleft())
            if not self.paused:
                return True
            self.enter("paused")
            self.take(self.commands.get())
            self.hear()
        return False

    def hear(self) -> None:
        """Takes every command that has come; pause and stop act at once, the rest waits."""
        while not self.commands.empty():
            self.take(self.commands.get())

    def take(self, command: m.Command) -> None:
        match command:
            case m.Pause():
                self.paused = True
            case m.Resume():
                self.paused = self.single = False
            case m.SingleUpdate():
                self.paused, self.single = False, True
            case m.Stop(save):
                self.stopping, self.keeping = True, save
            case _:
                self.waiting.append(command)

    def apply(self, command: m.Command) -> None:
        match command:
            case m.SetKnobs(changes, who):
                self.turn(changes, who)
            case m.SaveCheckpoint(label):
                self.save(label or "snapshot")
            case m.Evaluate():
                self.look()
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
        for group in self.optimizer.param_groups:
            group["lr"] = self.knobs.learning_rate
        self.emit(m.KnobsChanged(self.update, who, old, new, self.knobs))

    def breathe(self, phase: m.Phase, done: int, total: int) -> None:
        """Between two timesteps: progress out, pause and stop in."""
        self.emit(m.PhaseProgressed(self.update, phase, done, total))
        self.hear()
        waited = self.paused
        while self.paused and not self.stopping:
            self.enter("paused")
            self.take(self.commands.get())
        if self.stopping:
            raise Stopped
        if waited:
            self.enter(phase)

    # --- events

    @contextmanager
    def phase(self, name: m.Phase) -> Iterator[Callable[[int, int], None]]:
        """Announces and times a phase; yields what to call between its timesteps."""
        self.enter(name)
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

    def end(self, reason: m.Reason, error: str = "") -> None:
        event = m.SessionEnded(self.update, reason, error)
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
    return f"{type(error).__name__}: {text}"
