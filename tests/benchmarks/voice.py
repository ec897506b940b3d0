"""Scores of a voice on sentences nobody trained on, each speaker, as JSON; for its card.

    python tests/benchmarks/voice.py [--voice FILE] [--steps 6 10 25 50] [--recordings PREPARED ...]

JSON on stdout; on stderr what is going on and, at the end, the card's table in Markdown. Each
number of timesteps is spoken by the schedule that the voice's card has for it. Prepared corpora
add, for scale, the same scores of recorded held-out speech. A score model that cannot be had
here is left out, and a line says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from progress import Lines, say

from engine import checkpoint
from engine.checkpoint import Voice
from engine.comparison import Counted, Meter
from engine.data import PreparedCorpus, read_prompts
from engine.device import set_threads
from engine.diffusion.schedule import build
from engine.evaluation import evaluate, interval
from engine.own_schedule import schedule_for
from engine.profile import DeviceSpec
from engine.rewards import registry
from engine.rewards.base import ScoreModel, Scores, score_clips
from engine.synthesis import Utterance, speak, utter

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "engine" / "voices" / "sentences-50.txt"
MODELS = ("distillmos", "intelligibility", "loudness", "nisqa", "dnsmos")
SHOWN = {
    "distillmos": ("DistillMOS", 2),
    "nisqa": ("NISQA", 2),
    "dnsmos": ("DNSMOS", 2),
    "wer": ("WER", 2),
    "cer": ("CER", 2),
    "loudness": ("loudness, LUFS", 1),
}
"""Score column -> its heading and decimals in the card's table."""


def load_models(names: Sequence[str]) -> list[ScoreModel]:
    """Those that can be had; a line on stderr for each that cannot."""
    models = []
    for name in names:
        if why := registry.missing(name):
            say(f"left out: {why}")
        else:
            models.append(registry.load(name))
    return models


def shown(scores: Scores) -> dict[str, Any]:
    found = {c.name: interval(scores.values[:, i]) for i, c in enumerate(scores.columns)}
    return {
        name: {k: round(v, 4) for k, v in asdict(value).items()} if value else None
        for name, value in found.items()
    }


def spoken(
    voice: Voice,
    prompts: list[Utterance],
    timesteps: int,
    models: Sequence[ScoreModel],
    meter: Meter,
    seed: int,
    who: str,
) -> dict[str, Any]:
    """One speaker by the schedule for so many timesteps: what it costs, and its scores."""
    spec = schedule_for(voice, timesteps)
    chain, who = build(spec), f"{who}, {timesteps} timesteps"
    meter.tell(0, f"{who}: speaks")
    began, ended = time.perf_counter(), []

    def between(done: int, total: int) -> None:
        meter.tell(len(prompts), f"{who}: speaks")
        ended.append(time.perf_counter())

    counted = [Counted(model, meter, who) for model in models]
    done = evaluate(voice, chain, prompts, counted, seed, 4, between)
    seconds = sum(u.seconds(voice.card.config.sample_rate) for u in prompts)
    return {
        "schedule": asdict(spec),
        "audio_seconds": round(seconds, 1),
        "real_time_factor": round((ended[-1] - began) / seconds, 3),
        "scores": shown(done.scores),
        "failures": list(done.scores.failures),
    }


def recorded(
    corpus: PreparedCorpus, models: Sequence[ScoreModel], most: int, meter: Meter
) -> dict[str, Any]:
    clips = corpus.held_out[:most]
    waves = [corpus.wave(clip) for clip in clips]
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in enumerate(waves):
        padded[row, : len(wave)] = wave
    counted = [Counted(model, meter, f"recordings of {corpus.speakers[0]}") for model in models]
    scores = score_clips(counted, padded, lengths, 22050, [clip.text for clip in clips])
    return {"clips": len(clips), "scores": shown(scores), "failures": list(scores.failures)}


def real_time_factor(voice: Voice, prompts: list[Utterance], runs: int = 3) -> dict[str, Any]:
    """One sentence at a time in 10 timesteps: compute time over length; below 1 is faster."""
    chain, sentence = build(schedule_for(voice, 10)), prompts[:1]
    seconds = sentence[0].seconds(voice.card.config.sample_rate)
    taken = []
    for seed in range(runs + 1):
        began = time.perf_counter()
        speak(voice, chain, sentence, seed)
        taken.append((time.perf_counter() - began) / seconds)
    del taken[0]  # the first one warms up
    return {
        "audio_seconds": round(seconds, 2),
        "timesteps": chain.timesteps,
        "median": round(statistics.median(taken), 3),
        "best": round(min(taken), 3),
        "worst": round(max(taken), 3),
        "runs": runs,
    }


def table(report: dict[str, Any]) -> list[str]:
    """The card's table: a row for each speaker and number of timesteps, then the recordings."""
    rows = [
        (name, steps, figures["scores"], f"{figures['real_time_factor']:.2f}")
        for name, by_steps in report["speakers"].items()
        for steps, figures in by_steps.items()
    ]
    rows += [
        (f"{name}, recorded", "–", figures["scores"], "–")
        for name, figures in report["recordings"].items()
    ]
    columns = [c for c in SHOWN if any(scores.get(c) for _, _, scores, _ in rows)]
    heads = ["speaker", "timesteps", *(SHOWN[c][0] for c in columns), "real-time factor"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, steps, scores, factor in rows:
        cells = [cell(scores.get(column), SHOWN[column][1]) for column in columns]
        lines.append(f"| {' | '.join([name, steps, *cells, factor])} |")
    return lines


def cell(value: dict[str, float] | None, decimals: int) -> str:
    """Mean and 95 % interval."""
    if value is None:
        return "–"
    mean, low, high = (f"{value[key]:.{decimals}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="bundled")
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--most", type=int, default=50, help="sentences, and recorded clips")
    parser.add_argument("--steps", type=int, nargs="+", default=[10], help="timesteps")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    options = parser.parse_args()
    set_threads(DeviceSpec(threads=options.threads))
    voice = checkpoint.load(options.voice)
    corpora = [PreparedCorpus.open(folder) for folder in options.recordings]
    models = load_models(options.models)
    texts = read_prompts(options.prompts)[: options.most]
    speakers = voice.card.speakers
    chains = sum(build(schedule_for(voice, steps)).timesteps for steps in options.steps)
    clips = sum(len(corpus.held_out[: options.most]) for corpus in corpora)
    total = len(speakers) * len(texts) * (chains + len(models) * len(options.steps))
    meter = Meter(total + clips * len(models), Lines())
    uttered = [utter(voice.model, texts, row, 1.0) for row in range(len(speakers))]
    report: dict[str, Any] = {
        "voice": options.voice,
        "prompts": options.prompts.name,
        "sentences": len(texts),
        "seed": options.seed,
        "about": voice.card.about,
        "parameters": sum(p.numel() for p in voice.model.parameters()),
        "decoder_parameters": sum(p.numel() for p in voice.model.decoder.parameters()),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "load": [round(x, 1) for x in os.getloadavg()],
        },
        "real_time_factor": real_time_factor(voice, uttered[0]),
        "speakers": {
            name: {
                str(steps): spoken(
                    voice, uttered[row], steps, models, meter, options.seed, name
                )
                for steps in options.steps
            }
            for row, name in enumerate(speakers)
        },
        "recordings": {
            corpus.speakers[0]: recorded(corpus, models, options.most, meter)
            for corpus in corpora
        },
    }  # fmt: skip
    print(json.dumps(report, indent=2))
    say("\n".join(["", *table(report)]))


if __name__ == "__main__":
    main()
