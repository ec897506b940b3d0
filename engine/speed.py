"""A few seconds of measuring: how fast a voice speaks, clips are scored, and an update would be.

Informational: figures differ by machine and by what else runs on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import Voice
from engine.diffusion.schedule import NoiseSchedule, build
from engine.messages import Progressing
from engine.profile import Profile, ScheduleSpec
from engine.rewards.base import ScoreModel, score_clips
from engine.rl.algorithms import ALGORITHMS
from engine.rl.update import Speech, diffusion_loss
from engine.synthesis import Utterance, speak, stack, utter

SENTENCE = "The kettle is on the stove."
TIMESTEPS = 10
SPEAKING = 0.6
"""Share of the time that goes to speaking; the rest to a gradient and to scoring."""

BACK = 5.0
"""Time that DistillMOS's score takes with its gradient, by the time without; on a CPU."""


@dataclass(frozen=True, slots=True)
class Speed:
    audio_seconds: float
    """Length of the sentence that was spoken."""
    timesteps: int
    passes: int
    """Denoising timesteps that were timed."""
    real_time_factor: float
    """Compute time of a clip over its length, at batch 1; below 1 is faster than speech."""
    gradient_factor: float
    """Compute time of one forward and backward pass over the clip's length."""
    scored_clips_a_second: float | None
    """By every score model given, one after another; None where there is none."""
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of one update, from single passes; what batching gains is left out."""

    rollout: float
    score: float
    optimise: float

    @property
    def total(self) -> float:
        return self.rollout + self.score + self.optimise


class Enough(Exception):
    """Raised between two timesteps when the time is over."""


def measure(
    voice: Voice,
    models: Sequence[ScoreModel],
    seconds: float,
    advance: Progressing = lambda done, total, at: None,
) -> Speed:
    """Speaks one sentence again and again, then takes a gradient and scores, in about `seconds`.

    What is slower than that is timed over one timestep, one gradient and one clip at the
    least. The voice's weights are as they were afterwards.
    """
    device = next(voice.model.parameters()).device
    prompts = utter(voice.model, [SENTENCE], 0, 1.0)
    rate = voice.card.config.sample_rate
    length = prompts[0].seconds(rate)
    total = max(round(10 * seconds), 10)
    advance(0, total, "warming up")
    once = build(ScheduleSpec(timesteps=1)).to(device)
    (wave,) = speak(voice, once, prompts, 0)  # kernels, threads; a clip for what follows

    def speaking(share: float) -> None:
        advance(round(SPEAKING * share * total), total, "speaking")

    schedule = build(ScheduleSpec(timesteps=TIMESTEPS)).to(device)
    passes, spoken = forwards(voice, schedule, prompts, SPEAKING * seconds, speaking)
    advance(round(SPEAKING * total), total, "taking a gradient")
    gradient = gradient_seconds(voice, schedule, prompts, wave)
    advance(round(0.8 * total), total, "scoring")
    scored = clips_a_second(models, wave, rate, 0.2 * seconds) if models else None
    advance(total, total, "")
    names = tuple(model.name for model in models)
    factor = TIMESTEPS * spoken / passes / length
    return Speed(length, TIMESTEPS, passes, factor, gradient / length, scored, names)


def forwards(
    voice: Voice,
    schedule: NoiseSchedule,
    prompts: Sequence[Utterance],
    seconds: float,
    told: Callable[[float], None],
) -> tuple[int, float]:
    """Speaks until the time is over; (denoising timesteps done, the seconds they took)."""
    passes, began, spent = 0, time.perf_counter(), 0.0

    def between(done: int, total: int) -> None:
        nonlocal passes, spent
        passes, spent = passes + 1, time.perf_counter() - began
        told(min(spent / seconds, 1.0))
        if spent >= seconds:
            raise Enough

    with suppress(Enough):
        while True:
            speak(voice, schedule, prompts, passes, between=between)
    return passes, spent


def clips_a_second(models: Sequence[ScoreModel], wave: Tensor, rate: int, seconds: float) -> float:
    """Clips like `wave` (S,) that all models together score in a second; one at a time."""
    length, began, clips, spent = torch.tensor([len(wave)]), time.perf_counter(), 0, 0.0
    while clips == 0 or spent < seconds:
        score_clips(models, wave[None], length, rate, [SENTENCE])
        clips, spent = clips + 1, time.perf_counter() - began
    return clips / spent


def gradient_seconds(
    voice: Voice, schedule: NoiseSchedule, prompts: Sequence[Utterance], wave: Tensor
) -> float:
    """One forward and backward pass of WaveGrad 2's own loss on a clip; the second of two."""
    decoder = voice.model.decoder
    conditioning, frames = stack(prompts)
    device = conditioning.cond.device
    clean = wave[None].to(device)
    speech = Speech(clean, conditioning, frames)
    asked = [weight.requires_grad for weight in decoder.parameters()]
    decoder.requires_grad_(True)
    took = 0.0
    for _ in range(2):
        began = time.perf_counter()
        loss = diffusion_loss(
            decoder, schedule, speech, schedule.timesteps - 1, torch.zeros_like(clean), [0], "l1"
        )
        loss.sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took = time.perf_counter() - began
    for weight, before in zip(decoder.parameters(), asked, strict=True):
        weight.grad = None
        weight.requires_grad_(before)
    return took


def estimate(speed: Speed, profile: Profile, clip_seconds: float, on_cpu: bool) -> Estimate:
    """Seconds of one update of a profile whose clips are so long.

    Rows of a group that are still one (`shared`) are computed once, so of T timesteps the
    first s = (W + 1) / (K + 1), on average, see B / group rows and the others B.
    """
    spec, train = profile.rollout, profile.train
    batch = spec.cpu_batch if spec.cpu_batch and on_cpu else spec.batch
    timesteps = profile.schedule.timesteps
    grouped = spec.shared != "none" and spec.group > 1
    shared = (spec.window + 1) / (spec.kept + 1) if grouped else 0.0
    states = batch / spec.group if grouped else batch
    rows = shared * states + (timesteps - shared) * batch
    forward = speed.real_time_factor / speed.timesteps
    policy = states + (spec.kept - 1) * batch
    algorithm = ALGORITHMS.get(train.algorithm)
    needs = algorithm.needs if algorithm else frozenset()
    score = batch / speed.scored_clips_a_second if speed.scored_clips_a_second else 0.0
    again = back = 0.0
    if "reward" in needs:  # through the chain, each transition but the first computed again
        policy, again, back = train.through * batch, (train.through - 1) * batch, BACK * score
    penalty = spec.kept * batch if "penalty" in needs else 0
    passes = speed.gradient_factor * (policy + penalty) + forward * again
    return Estimate(
        rollout=clip_seconds * forward * rows,
        score=score,
        optimise=train.inner_epochs * (clip_seconds * passes + back),
    )
