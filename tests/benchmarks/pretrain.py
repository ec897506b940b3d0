"""Speed, memory and first losses of both phases of pretraining, as JSON: `make bench-pretrain`.

    python tests/benchmarks/pretrain.py [--profile TOML] [--set KEY=VALUE] [PREPARED ...]

Informational: figures differ by machine, so no test compares them with anything. The first line
of each phase, in which things are compiled and cached, is left out of the medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from engine import profile as profiles
from engine.data import open_corpora
from engine.pretrain import Progress, Trainer

ROOT = Path(__file__).parents[2]
PREPARED = [ROOT / "prepared" / name for name in ("ljspeech-part", "kathleen")]


def peak_mib(device: torch.device) -> int:
    """Largest memory so far, MiB: of the process, or on a GPU of its tensors there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def phase(lines: list[Progress], step_before: int, minutes_before: float) -> dict[str, object]:
    """One phase's medians, and its loss against wall time."""
    steps, minutes = [step_before, *(p.step for p in lines)], [p.minutes for p in lines]
    taken = [
        60 * (after - before) / (end - start)
        for before, after, start, end in zip(
            [minutes_before, *minutes], minutes, steps, steps[1:], strict=False
        )
    ]
    warm = slice(1, None) if len(lines) > 1 else slice(None)
    return {
        "optimizer_steps": steps[-1] - step_before,
        "seconds_a_step": round(statistics.median(taken[warm]), 4),
        "seconds_of_the_first": round(taken[0], 2),
        "audio_seconds_a_second": round(
            statistics.median(p.audio_seconds_per_second for p in lines[warm]), 2
        ),
        "loss_by_time": [
            {
                "seconds": round(60 * p.minutes, 1),
                "loss": round(p.loss or 0.0, 4),
                **{name: round(value, 4) for name, value in p.losses.items()},
            }
            for p in lines
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="*", default=PREPARED)
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "pretrain-narrow.toml")
    parser.add_argument("--front-end-steps", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=int, default=5, help="optimizer steps a line")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    spec = replace(
        profiles.load_pretrain(options.profile, options.changes),
        front_end_steps=options.front_end_steps,
        steps=options.steps,
        report_every=options.every,
        evaluate_every=10**9,
        save_every=10**9,
        minutes=0.0,
    )
    lines: list[Progress] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(spec, open_corpora(options.corpora), Path(folder))
        trainer.run(lines.append)
    conditioning = [p for p in lines if p.phase == "conditioning"]
    first = [p for p in lines if p.phase == "front end"]
    second = [p for p in lines if p.phase == "decoder"]
    before = (conditioning or first or [None])[-1]
    cuda = trainer.device.type == "cuda"
    report = {
        "device": torch.cuda.get_device_name(trainer.device)
        if cuda
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "profile": spec.name,
        "precision": str(trainer.dtype or torch.float32).removeprefix("torch."),
        "compiled": spec.compile_mode if spec.compile else None,
        "corpus_seconds": round(trainer.data.seconds),
        "front_end": phase(first, 0, 0.0) if first else None,
        "conditioning_seconds": round(
            60 * (conditioning[-1].minutes - (first[-1].minutes if first else 0.0)), 1
        )
        if conditioning
        else None,
        "decoder": phase(second, spec.front_end_steps, before.minutes if before else 0.0),
        "peak_memory_mib": peak_mib(trainer.device),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
