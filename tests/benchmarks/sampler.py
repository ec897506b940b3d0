"""The sampler against a plain reading of maum-ai's, in pairs, as JSON.

    python tests/benchmarks/sampler.py [--voice base|bundled] [--batches 1 8] [--seconds 2]
        [--pairs 5] [--device cuda --precision bf16] [--threads 2]

Both get the same weights, conditioning and noise, each in a process of its own, one after the
other within a pair; a ratio above 1 says how many times faster this project's sampler is. The
plain one keeps the allocator as the C library has it. Random weights do for Base: no
branch depends on a value. The machine's peak is the best convolution of the decoder's own kind.
Where the samples differ by more than 1e-4 (RMS, in fp32) it fails. Times are informational: they
differ by machine, so no test compares them with anything.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import plain
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from engine import checkpoint
from engine.allocator import keep_memory
from engine.diffusion.sampler import RolloutNoise, rollout
from engine.diffusion.schedule import build
from engine.model.config import ModelConfig
from engine.model.decoder import Decoder
from engine.profile import ScheduleSpec
from engine.types import Conditioning

AGREEMENT = 1e-4
"""How far two samples of one noise may lie apart in fp32 (RMS), of a full scale of 1. The largest
difference is told, too; with random weights fp32 itself leaves it open (docs/performance.md)."""
PEAK_SHAPES = ((128, 128, 40_000), (512, 512, 4_000), (256, 256, 12_000))
"""Channels in, out and length of convolutions of three taps; the best rate is the peak."""


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    if options.role:
        work(options)
        return
    device = torch.device(options.device)
    with Worker("plain") as plainly, Worker("ours") as ours:
        sizes = [compared(plainly, ours, batch, options) for batch in options.batches]
        memory = {"plain": plainly.ask("memory"), "ours": ours.ask("memory")}
    apart = max(float(str(told["rms_difference"])) for told in sizes)
    print(
        json.dumps(
            {
                **surroundings(device),
                "voice": options.voice,
                "peak_gflops": round(peak(device) / 1e9, 1),
                "sizes": sizes,
                "peak_mib": memory,
            },
            indent=2,
        )
    )
    if options.precision == "fp32" and not apart <= AGREEMENT:
        sys.exit(f"the samples differ by {apart:.2g}, more than {AGREEMENT:g}")


def surroundings(device: torch.device) -> dict[str, object]:
    """What the figures depend on besides the code."""
    return {
        "machine": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


class Worker:
    """One of the two samplers, in a process of its own; it answers a line with a line."""

    def __init__(self, role: str) -> None:
        command = [sys.executable, __file__, *sys.argv[1:], "--role", role]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: object) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(what, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compared(
    plainly: Worker, ours: Worker, batch: int, options: argparse.Namespace
) -> dict[str, object]:
    """Both samplers on one batch, `pairs` times."""
    with tempfile.TemporaryDirectory() as folder:
        waves = []
        for worker in (plainly, ours):  # and both are warm
            path = Path(folder) / f"{len(waves)}.pt"
            worker.ask(f"keep {batch} {path}")
            waves.append(torch.load(path, weights_only=True))
    audio = ours.ask(f"audio {batch}")
    flops = ours.ask(f"flops {batch}")
    pairs = [
        (plainly.ask(f"time {batch}"), ours.ask(f"time {batch}")) for _ in range(options.pairs)
    ]
    slow, fast = (statistics.median(taken) for taken in zip(*pairs, strict=True))
    return {
        "batch": batch,
        "audio_seconds": round(audio, 2),
        "rms_difference": float((waves[0] - waves[1]).square().mean().sqrt()),
        "largest_difference": float((waves[0] - waves[1]).abs().max()),
        "plain_seconds": round(slow, 3),
        "seconds": round(fast, 3),
        "times_faster": round(statistics.median(a / b for a, b in pairs), 3),
        "each": [round(a / b, 3) for a, b in pairs],
        "real_time_factor": round(fast / audio, 3),
        "gflops": round(flops / fast / 1e9, 1),
    }


def work(options: argparse.Namespace) -> None:
    """Answers until nobody asks any more."""
    if options.role == "ours":
        keep_memory()
    device = torch.device(options.device)
    decoder = network(options.voice).to(device).eval()
    decoder.compute_dtype = torch.bfloat16 if options.precision == "bf16" else None
    for told in sys.stdin:
        what, *rest = told.split()
        print(answer(what, rest, decoder, options, device), flush=True)


def answer(
    what: str,
    rest: list[str],
    decoder: Decoder,
    options: argparse.Namespace,
    device: torch.device,
) -> float:
    if what == "memory":
        return peak_mib(device)
    problem = Problem(decoder, int(rest[0]), options, device)
    if what == "audio":
        return problem.audio_seconds
    if what == "flops":
        return counted(decoder, problem.conditioning, problem.noise[-1]) * options.timesteps
    sample = problem.ours if options.role == "ours" else problem.one_by_one
    if what == "keep":
        torch.save(sample().cpu(), rest[1])
        return 0.0
    return timed(sample, device)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="base", help="bundled, base, or a checkpoint")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each clip")
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--microbatch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--role", choices=("plain", "ours"), help=argparse.SUPPRESS)
    return parser.parse_args()


def network(voice: str) -> Decoder:
    """A voice's decoder, or Base's with random weights that predict noise of unit variance.

    A trained network's noise is that large; a much larger one makes rounding errors grow by the
    timestep.
    """
    if voice != "base":
        return checkpoint.load(voice).model.decoder
    torch.manual_seed(0)
    decoder = Decoder(ModelConfig.base())
    config, frames = decoder.config, 8
    x, cond = torch.randn(1, frames * config.hop), torch.randn(1, config.cond_channels, frames)
    with torch.no_grad():
        scale = decoder.predict_noise(x, cond, torch.full((1, 1), 0.5)).std()
        decoder.ublock_postconv.conv1d.weight /= scale
    return decoder


class Problem:
    """One batch to sample, the same in every process."""

    def __init__(
        self, decoder: Decoder, batch: int, options: argparse.Namespace, device: torch.device
    ) -> None:
        config: ModelConfig = decoder.config
        frames = max(round(options.seconds * config.sample_rate / config.hop), 1)
        drawn = torch.Generator().manual_seed(1)
        cond = torch.randn(batch, config.cond_channels, frames, generator=drawn).to(device)
        self.decoder, self.microbatch = decoder, options.microbatch
        self.conditioning = Conditioning(cond, torch.full((batch,), frames, device=device))
        self.schedule = build(ScheduleSpec(timesteps=options.timesteps)).to(device)
        self.draw = RolloutNoise(0, 0, (frames,) * batch)
        self.noise = [self.draw(t).to(device) for t in range(options.timesteps + 1)]
        self.audio_seconds = batch * frames * config.hop / config.sample_rate

    def ours(self) -> Tensor:
        return rollout(
            self.decoder, self.schedule, self.conditioning, self.draw, microbatch=self.microbatch
        ).waveform

    def one_by_one(self) -> Tensor:
        weights = {name: value.detach() for name, value in self.decoder.named_parameters()}
        rows = [
            plain.sample(
                weights,
                self.decoder.config,
                self.schedule,
                self.conditioning.cond[i : i + 1],
                [z[i : i + 1] for z in self.noise],
            )
            for i in range(len(self.conditioning.cond))
        ]
        return torch.cat(rows)


def timed(what: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds of a call, its kernels included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    what()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


@torch.no_grad()
def counted(decoder: Decoder, conditioning: Conditioning, x: Tensor) -> float:
    """Floating-point operations of one timestep of the whole batch."""
    with FlopCounterMode(display=False) as counter:
        decoder.predict_noise(x, conditioning.cond, x.new_ones(len(x), 1))
    return float(counter.get_total_flops())


@torch.no_grad()
def peak(device: torch.device) -> float:
    """The best rate of a plain convolution, FLOP/s."""
    rates = []
    for inside, out, length in PEAK_SHAPES:
        x, w = (
            torch.randn(4, inside, length, device=device),
            torch.randn(out, inside, 3, device=device),
        )
        F.conv1d(x, w, padding=1)
        took = min(timed(lambda x=x, w=w: F.conv1d(x, w, padding=1), device) for _ in range(5))
        rates.append(2 * 4 * inside * out * 3 * length / took)
    return max(rates)


def peak_mib(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10))


if __name__ == "__main__":
    main()
