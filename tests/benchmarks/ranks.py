"""What several ranks cost and gain on this machine, as JSON; docs/many-devices.md cites it.

    python tests/benchmarks/ranks.py --set rollout.group=4 --set prompts.max_seconds=2.2

Measures, with gloo and one thread a rank: the sum of the decoder's gradient, one agreement, one
gathering; the phases of a session of one process and of several; what passes between two updates
outside the phases; and how much longer than the mean the longest share of an update is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from engine import batch, checkpoint, journal
from engine import messages as m
from engine import profile as profiles
from engine.assembly import assemble, choose_voice
from engine.distributed import Ranks, join
from engine.launch import open_session
from engine.profile import DistributedSpec, Profile

ROOT = Path(__file__).parents[2]


def seconds(action: Callable[[], object], runs: int) -> float:
    """Median wall time of an action; the first three warm up."""
    taken = []
    for _ in range(runs + 3):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[3:])


def collectives(ranks: Ranks, voice: str, runs: int) -> dict[str, float]:
    """One rank's part: milliseconds of each kind of collective."""
    weights = list(checkpoint.load(voice).model.decoder.parameters())
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    return {
        "gradient_mb": round(sum(w.numel() for w in weights) * 4 / 1e6, 2),
        "sum_of_gradients_ms": round(1e3 * seconds(lambda: ranks.add(weights), runs), 2),
        "agreement_ms": round(1e3 * seconds(lambda: ranks.agree([]), runs), 3),
        "gathering_ms": round(1e3 * seconds(lambda: ranks.gather(1.0), runs), 3),
    }


def measure_collectives(settings: Profile, count: int, runs: int) -> dict[str, float]:
    """Starts as many processes, which meet in a file; what rank 0 measured."""
    voice = choose_voice(settings, [])
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--meet", f"{folder}/meeting", voice, str(runs)],
                env={
                    **os.environ, "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": "0",
                    "LOCAL_WORLD_SIZE": str(count), "PYTHONPATH": str(ROOT),
                },
                stdout=subprocess.PIPE,
            )
            for rank in range(count)
        ]  # fmt: skip
        told = [process.communicate()[0] for process in processes]
    return dict(json.loads(told[0]))


def take_part(meet: str, voice: str, runs: int) -> None:
    torch.set_num_threads(1)
    ranks = join(DistributedSpec(), torch.device("cpu"), f"file://{meet}")
    told = collectives(ranks, voice, runs)
    ranks.leave()
    print(json.dumps(told))


def session(settings: Profile, count: int) -> dict[str, object]:
    """Medians over a session's updates but the first, which loads what is loaded at first use."""
    phases: list[dict[str, float]] = []
    at: list[float] = []

    def hear(event: m.Event) -> None:
        if isinstance(event, m.UpdateFinished):
            phases.append(event.stats.seconds)
            at.append(time.perf_counter())
        if isinstance(event, m.SessionEnded) and event.error:
            raise SystemExit(event.error)

    with tempfile.TemporaryDirectory() as folder:
        spread = replace(settings, distributed=DistributedSpec(count, "gloo"), runs=folder)
        run = Path(folder) / "run"
        for name in ("samples", "checkpoints"):
            (run / name).mkdir(parents=True)
        (run / "profile.json").write_text(json.dumps(journal.plain(spread)))
        open_session(spread, run, hear).run()
    median = {n: round(statistics.median(p[n] for p in phases[1:]), 3) for n in phases[0]}
    whole = [after - before for before, after in pairwise(at)]
    rest = [w - sum(p.values()) for w, p in zip(whole, phases[1:], strict=True)]
    return {
        "seconds_a_phase": median,
        "seconds_an_update": round(statistics.median(whole), 3),
        "outside_the_phases": round(statistics.median(rest), 3),
    }


def unevenness(settings: Profile, groups: int, counts: tuple[int, ...]) -> dict[str, float]:
    """Longest share of an update over the mean share, in frames, by number of ranks; a mean."""
    parts = assemble(settings, torch.device("cpu"))
    group, found = settings.rollout.group, {}
    for count in counts:
        longest = []
        for update in range(100):
            spoken = batch.prompts(settings, parts, update, groups * group * count)
            shares = [Ranks(rank, count).share(len(spoken), group) for rank in range(count)]
            frames = [sum(spoken[row].frames for row in share) for share in shares]
            longest.append(max(frames) / statistics.mean(frames))
        found[str(count)] = round(statistics.mean(longest), 3)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--meet"]:
        meet, voice, runs = sys.argv[2:]
        return take_part(meet, voice, int(runs))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "quickstart.toml")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    fixed = [
        "device.device=cpu", "device.threads=1", "evaluation.every=0",
        f"train.updates={options.updates}", f"train.save_every={options.updates + 1}",
    ]  # fmt: skip
    settings = profiles.load(options.profile, [*options.changes, *fixed])
    print(
        json.dumps(
            {
                "cores": os.cpu_count(),
                "load": [round(load, 1) for load in os.getloadavg()],
                "ranks": options.ranks,
                "collectives": measure_collectives(settings, options.ranks, options.runs),
                "alone": session(settings, 1),
                "together": session(settings, options.ranks),
                "longest_share_over_mean": {
                    f"{groups} groups a rank": unevenness(settings, groups, (2, 8, 64))
                    for groups in (1, 8)
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
