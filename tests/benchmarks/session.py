"""Seconds, real-time factor and memory of a session, as JSON: `make bench`.

Informational: figures differ by machine, so no test compares them with anything.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from engine import checkpoint
from engine import messages as m
from engine import profile as profiles
from engine.diffusion.schedule import build
from engine.own_schedule import resolve
from engine.session import Session
from engine.synthesis import speak, utter

ROOT = Path(__file__).parents[2]
SENTENCE = "The harbour was quiet, and the boats came home before the storm."


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def real_time_factor(settings: profiles.Profile, voice_path: str, runs: int) -> dict[str, float]:
    """Compute time of a sentence over its length, 10 timesteps, batch 1; below 1 is faster."""
    voice = checkpoint.load(voice_path)
    schedule = build(resolve(settings.schedule, voice))
    prompts = utter(voice.model, [SENTENCE], 0, 1.0)
    seconds = prompts[0].seconds(voice.card.config.sample_rate)
    speak(voice, schedule, prompts, 0)
    taken = []
    for seed in range(runs):
        began = time.perf_counter()
        speak(voice, schedule, prompts, seed)
        taken.append(time.perf_counter() - began)
    return {
        "timesteps": schedule.timesteps,
        "audio_seconds": round(seconds, 2),
        "median": round(statistics.median(taken) / seconds, 3),
        "best": round(min(taken) / seconds, 3),
        "worst": round(max(taken) / seconds, 3),
        "runs": runs,
    }


def updates(settings: profiles.Profile, count: int) -> dict[str, object]:
    """A real session of `count` updates: seconds a phase, updates a minute, peak memory."""
    seconds: list[dict[str, float]] = []
    audio: list[float] = []
    first_clips: list[float] = []
    memory = {"before": peak_mib()}
    began = time.perf_counter()

    def hear(event: m.Event) -> None:
        if isinstance(event, m.ClipsScored):
            first_clips.append(time.perf_counter() - began)
            if event.clips[0].kind == "rollout":
                audio.append(sum(clip.seconds for clip in event.clips))
        if isinstance(event, m.UpdateFinished):
            seconds.append(event.stats.seconds)
        if isinstance(event, m.SessionEnded) and event.error:
            raise SystemExit(event.error)

    short = replace(settings, train=replace(settings.train, updates=count, save_every=count))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("samples", "checkpoints"):
            (Path(folder) / name).mkdir()
        Session(short, Path(folder), hear).run()
    phases = {
        name: round(statistics.median(row[name] for row in seconds), 2) for name in seconds[0]
    }
    whole = statistics.median(sum(row.values()) for row in seconds)
    return {
        "updates": count,
        "rollouts": settings.rollout.batch,
        "seconds_a_phase": phases,
        "updates_a_minute": round(60 / whole, 2),
        "audio_seconds_a_second": round(statistics.median(audio) / whole, 2),
        "first_scored_clips_after_seconds": round(first_clips[0], 1),
        "peak_memory_mib": {"before": round(memory["before"]), "after": round(peak_mib())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "quickstart.toml")
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    settings = profiles.load(options.profile)
    report = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "voice": settings.voice.checkpoint,
        "real_time_factor": real_time_factor(settings, settings.voice.checkpoint, options.runs),
        "session": updates(settings, options.updates),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
