"""Scores of a voice on the held-out sentences, each speaker, as JSON.

    python tests/benchmarks/voice.py [--voice FILE] [--recordings PREPARED ...]

These are the figures in the bundled voice's card. Prepared corpora add, for scale, the same
scores of recorded held-out speech.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from engine import checkpoint
from engine import profile as profiles
from engine.data import PreparedCorpus, read_prompts
from engine.diffusion.schedule import build
from engine.evaluation import evaluate, interval
from engine.rewards import registry
from engine.rewards.base import ScoreModel, Scores, score_clips
from engine.synthesis import utter

ROOT = Path(__file__).parents[2]
PROMPTS = ROOT / "engine" / "voices" / "prompts-evaluation.txt"
MODELS = ("distillmos", "intelligibility", "loudness")


def shown(scores: Scores) -> dict[str, object]:
    found = {c.name: interval(scores.values[:, i]) for i, c in enumerate(scores.columns)}
    return {
        name: {k: round(v, 4) for k, v in asdict(value).items()} if value else None
        for name, value in found.items()
    }


def recorded(corpus: PreparedCorpus, models: list[ScoreModel], most: int) -> dict[str, object]:
    clips = corpus.held_out[:most]
    waves = [corpus.wave(clip) for clip in clips]
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()))
    for row, wave in enumerate(waves):
        padded[row, : len(wave)] = wave
    return shown(score_clips(models, padded, lengths, 22050, [clip.text for clip in clips]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="bundled")
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--most", type=int, default=16, help="sentences, and recorded clips")
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "quickstart.toml")
    parser.add_argument("--recordings", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    settings = profiles.load(options.profile)
    voice = checkpoint.load(options.voice)
    models = [registry.load(name) for name in MODELS]
    schedule, seed = build(settings.schedule), settings.evaluation.seed
    texts = read_prompts(options.prompts)[: options.most]
    report: dict[str, object] = {
        "voice": options.voice,
        "timesteps": schedule.timesteps,
        "sentences": len(texts),
        "about": voice.card.about,
        "parameters": sum(p.numel() for p in voice.model.parameters()),
        "decoder_parameters": sum(p.numel() for p in voice.model.decoder.parameters()),
    }
    for speaker, name in enumerate(voice.card.speakers):
        prompts = utter(voice.model, texts, speaker, 1.0)
        report[name] = shown(evaluate(voice, schedule, prompts, models, seed, 4).scores)
    for folder in options.recordings:
        corpus = PreparedCorpus.open(folder)
        report[f"recordings of {corpus.speakers[0]}"] = recorded(corpus, models, options.most)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
