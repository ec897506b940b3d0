"""How much of an update's gradient is the reward's doing, and how much is chance, as JSON.

    python tests/benchmarks/variance.py [PROFILE] [--updates 16] [--set KEY=VALUE ...]
        [--vary "rollout.antithetic=false" --vary "rollout.group=4 rollout.kept=2" ...]
        [--steps 0.01 0.03 0.1]

The starting voice stands still; each of `updates` rolls out, scores and differentiates as a session
would, on prompts and noise of its own. `signal` is the mean cosine-like share (G_i . G_j) / (G . G)
over pairs of different updates: of the square of a gradient, what all have in common. From it come
the clips after which half of a gradient's square would be signal. --steps then goes so far (in
the Euclidean norm of the weights) along the mean of all gradients, along it with each tensor's
part scaled to one norm, along its signs (Adam's first step), and along chance, and scores held-out
prompts at each place: what one large update is worth. --vary: the
same with these keys changed, several with spaces.
Real clips and real scores; figures differ by voice, so no test compares them with anything.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from sampler import surroundings
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from engine import batch
from engine import profile as profiles
from engine.allocator import keep_memory
from engine.assembly import Parts, assemble
from engine.device import choose_device, generator, set_threads
from engine.diffusion.sampler import rollout
from engine.evaluation import evaluate
from engine.learner import Learner
from engine.profile import Profile
from engine.rewards.base import reward, score_clips
from engine.rl.advantages import advantages
from engine.rl.update import Problem, optimise
from engine.synthesis import stack


class Taking(torch.optim.SGD):
    """Keeps the gradient instead of following it."""

    taken: Tensor

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        weights = [w for group in self.param_groups for w in group["params"]]
        self.taken = parameters_to_vector([w.grad for w in weights]).clone()


@dataclass
class Setting:
    """A profile, assembled."""

    profile: Profile
    parts: Parts
    learner: Learner

    @classmethod
    def of(cls, path: str, changes: list[str]) -> Setting:
        profile = profiles.load(Path(path), changes)
        set_threads(profile.device)
        device = choose_device(profile.device)
        parts = assemble(profile, device)
        return cls(profile, parts, Learner.create(profile, parts, device))

    def gradient(self, update: int) -> Tensor:
        """(P,) of one update's loss, unclipped."""
        profile, parts, learner = self.profile, self.parts, self.learner
        prompts = batch.prompts(profile, parts, update, learner.batch)
        conditioning, frames = stack(prompts)
        noise = batch.noise(profile, learner.allowed, update, frames)
        traj = rollout(
            learner.policies.current, learner.schedule, conditioning, noise,
            microbatch=profile.rollout.rows,
        )  # fmt: skip
        texts = tuple(u.text for u in prompts)
        rate = parts.voice.card.config.sample_rate
        scores = score_clips(parts.rewards, traj.waveform, traj.lengths, rate, texts)
        rewards = reward(scores, parts.weights)
        advantage = advantages(
            profile.advantage, rewards.total, rewards.valid, texts, profile.rollout.group,
            learner.statistics,
        )  # fmt: skip
        speech = batch.speech(profile, parts, update, traj, prompts, frames)
        problem = Problem(
            learner.schedule, traj, frames, advantage, rewards.valid, speech,
            (profile.seed, update),
        )  # fmt: skip
        taking = Taking(learner.policies.current.parameters(), lr=1.0)
        once = replace(learner.settings, inner_epochs=1)
        knobs = replace(profile.knobs, max_grad_norm=1e30)
        optimise(learner.policies, taking, problem, once, knobs)
        return taking.taken

    def held_out(self) -> list[float]:
        """The reward of each held-out prompt."""
        now = evaluate(
            self.parts.voice, self.learner.schedule, self.parts.held_out, self.parts.rewards,
            self.profile.evaluation.seed, self.profile.rollout.rows,
        )  # fmt: skip
        return [float(total) for total in reward(now.scores, self.parts.weights).total]

    def moved(self, direction: Tensor, length: float) -> list[float]:
        """`held_out` with the weights so far along a direction (P,); they come back."""
        weights = list(self.learner.policies.current.parameters())
        before = parameters_to_vector(weights).detach()
        vector_to_parameters(before + direction / direction.norm() * length, weights)
        found = self.held_out()
        vector_to_parameters(before, weights)
        return found


def shared(gradients: list[Tensor]) -> tuple[float, float]:
    """Share of a gradient's square that all have in common, with its jackknife error."""
    gram = torch.stack(gradients) @ torch.stack(gradients).T

    def share(kept: list[int]) -> float:
        part = gram[kept][:, kept].double()
        square, count = part.diagonal(), len(kept)
        return float((part.sum() - square.sum()) / (count - 1) / square.sum())

    every = list(range(len(gradients)))
    without = [share(every[:i] + every[i + 1 :]) for i in every]
    error = math.sqrt((len(every) - 1) * statistics.pvariance(without))
    return share(every), error


def signal(setting: Setting, options: argparse.Namespace) -> tuple[dict[str, object], Tensor]:
    began, gradients = time.perf_counter(), []
    for update in range(options.updates):
        gradients.append(setting.gradient(update))
        print(f"\r{update + 1} of {options.updates}  ", end="", file=sys.stderr, flush=True)
    seconds = (time.perf_counter() - began) / len(gradients)
    share, error = shared(gradients)
    clips = setting.learner.batch
    ratio = share / (1 - share)
    return {
        "clips": clips,
        "seconds": round(seconds, 2),
        "norm": round(statistics.median(float(g.norm()) for g in gradients), 3),
        "signal": round(share, 4),
        "error": round(error, 4),
        "clips_for_half": round(clips / ratio) if ratio > 0 else None,
        "signal_to_noise_a_minute": round(ratio * 60 / seconds, 3),
    }, torch.stack(gradients).mean(0)


def steps(setting: Setting, mean: Tensor, lengths: list[float]) -> dict[str, object]:
    start = setting.held_out()
    chance = torch.randn(len(mean), generator=generator("chance"))
    told: dict[str, object] = {"0": round(statistics.mean(start), 3)}
    sizes = [w.numel() for w in setting.learner.policies.current.parameters()]
    tensors = torch.cat([part / part.norm().clamp(min=1e-30) for part in mean.split(sizes)])
    for name, direction in (
        ("mean", -mean), ("tensors", -tensors), ("signs", -mean.sign()), ("chance", chance),
    ):  # fmt: skip
        for length in lengths:
            scores = setting.moved(direction, length)
            change = [b - a for a, b in zip(start, scores, strict=True)]
            half = 1.96 * statistics.stdev(change) / math.sqrt(len(change))
            told[f"{name} {length:g}"] = [round(statistics.mean(change), 3), round(half, 3)]
            print(name, length, told[f"{name} {length:g}"], file=sys.stderr)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", nargs="?", default="profiles/dlpo-small.toml")
    parser.add_argument("--updates", type=int, default=16)
    parser.add_argument("--set", dest="changes", action="append", default=[])
    parser.add_argument("--vary", action="append", default=[])
    parser.add_argument("--steps", type=float, nargs="*", default=[])
    options = parser.parse_args()
    keep_memory()
    told = []
    for varied in ["", *options.vary]:
        setting = Setting.of(options.profile, [*options.changes, *varied.split()])
        found, mean = signal(setting, options)
        found = {"changed": varied, **found}
        if options.steps:
            found["held_out"] = steps(setting, mean, options.steps)
        told.append(found)
        print(json.dumps(found), file=sys.stderr)
    machine = surroundings(choose_device(profiles.load(Path(options.profile)).device))
    print(json.dumps({**machine, "set": options.changes, "settings": told}, indent=2))


if __name__ == "__main__":
    main()
