"""What an update costs by its kept timesteps, its clips and its window, as JSON.

    python tests/benchmarks/update.py [--voice base|bundled] [--batch 8] [--seconds 2 6 10]
        [--kept 1 2 4] [--windows 0 0.5] [--microbatch 4] [--recompute]
        [--device cuda --precision bf16]

DLPO's update (ratio, penalty, one optimizer step) on a rollout of random conditioning: seconds,
clips a minute, audio seconds a second, the share of the machine's convolution peak, peak memory.
Random weights do for Base: no branch depends on a value. Informational: figures differ by machine,
so no test compares them with anything.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics

import torch
from sampler import network, peak, peak_mib, surroundings, timed
from torch.utils.flop_counter import FlopCounterMode

from engine.allocator import keep_memory
from engine.diffusion.sampler import RolloutNoise, rollout
from engine.diffusion.schedule import build
from engine.messages import Knobs
from engine.model.decoder import Decoder
from engine.profile import ScheduleSpec
from engine.rl.algorithms import ALGORITHMS
from engine.rl.update import Policies, Problem, Settings, optimise, own_clips
from engine.types import Conditioning


def posed(decoder: Decoder, batch: int, seconds: float, kept: int, device: torch.device) -> Problem:
    """A rollout of `batch` clips on random conditioning, its noisiest timesteps kept."""
    config = decoder.config
    frames = (max(round(seconds * config.sample_rate / config.hop), 1),) * batch
    drawn = torch.Generator().manual_seed(1)
    cond = torch.randn(batch, config.cond_channels, frames[0], generator=drawn).to(device)
    conditioning = Conditioning(cond, torch.tensor(frames, device=device))
    schedule = build(ScheduleSpec(timesteps=kept + 1)).to(device)
    noise = RolloutNoise(0, 0, frames, tuple(range(kept, 0, -1)))
    trajectory = rollout(decoder, schedule, conditioning, noise, microbatch=8)
    advantage = torch.linspace(-1, 1, batch, device=device)
    valid, speech = advantage < 2, own_clips(trajectory, frames)
    return Problem(schedule, trajectory, frames, advantage, valid, speech, (0, 0))


def measured(
    decoder: Decoder, problem: Problem, settings: Settings, rounds: int, best: float
) -> dict[str, float]:
    """The median of `rounds` updates after one that warms up and is counted."""
    device = problem.advantage.device
    policy = copy.deepcopy(decoder).requires_grad_(True)
    policy.compute_dtype, policy.recompute = decoder.compute_dtype, decoder.recompute
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6)

    def update() -> torch.Tensor:
        optimise(Policies(policy, policy), optimizer, problem, settings, Knobs())
        return problem.advantage

    with FlopCounterMode(display=False) as counter:
        update()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(timed(update, device) for _ in range(rounds))
    rate, config = counter.get_total_flops() / seconds, decoder.config
    audio = sum(problem.frames) * config.hop / config.sample_rate
    return {
        "seconds": round(seconds, 3),
        "clips_a_minute": round(60 * len(problem.frames) / seconds, 1),
        "audio_seconds_a_second": round(audio / seconds, 3),
        "gflops": round(rate / 1e9, 1),
        "share_of_peak": round(rate / best, 3),
        "peak_mib": peak_mib(device),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="base", help="bundled, base, or a checkpoint")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, nargs="+", default=[2.0], help="of each clip")
    parser.add_argument("--kept", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--windows", type=float, nargs="+", default=[0.0, 0.5], help="seconds")
    parser.add_argument("--microbatch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--recompute", action="store_true", help="keep no activations in blocks")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    keep_memory()
    device = torch.device(options.device)
    decoder = network(options.voice).to(device)
    decoder.compute_dtype = torch.bfloat16 if options.precision == "bf16" else None
    decoder.recompute = options.recompute
    best, rows = peak(device), []
    for seconds in options.seconds:
        for kept in options.kept:
            problem = posed(decoder, options.batch, seconds, kept, device)
            for window in options.windows:
                frames = math.ceil(window * decoder.config.frames_per_second)
                settings = Settings(
                    ALGORITHMS["dlpo"], microbatch=options.microbatch, window=frames
                )
                cost = measured(decoder, problem, settings, options.rounds, best)
                rows.append({"clip": seconds, "kept": kept, "window": window, **cost})
    print(
        json.dumps(
            {
                **surroundings(device),
                "voice": options.voice,
                "batch": options.batch,
                "peak_gflops": round(best / 1e9, 1),
                "updates": rows,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
