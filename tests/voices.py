"""A WaveGrad 2 so small that a whole session takes a second; and what such a session needs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn

from engine import checkpoint
from engine.checkpoint import Card
from engine.data import Clip
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.text import phonemise, to_ids
from engine.types import HOP

SPEECH = Path(__file__).parent / "data" / "speech"
SPOKEN = {
    "arctic_a0102_1592746203": "He will follow us soon.",
    "arctic_a0242_1592711518": "I saw it when she rolled.",
    "arctic_a0351_1592708910": "It was more like sugar.",
}
SECONDS_A_SYMBOL = 0.02


def tiny_config(speakers: int = 1) -> ModelConfig:
    return ModelConfig(
        symbols=151,
        encoder_channels=16,
        encoder_kernel=5,
        encoder_layers=1,
        speaker_channels=2,
        duration_lstm=8,
        range_lstm=8,
        hop=300,
        sample_rate=22050,
        u_pre=8,
        u_out=(8, 8, 8, 8, 8),
        u_factors=(5, 5, 3, 2, 2),
        u_dilations=((1, 2, 4, 8),) * 3 + ((1, 2, 1, 2),) * 2,
        d_pre=4,
        d_out=(4, 4, 4, 4),
        d_dilations=((1, 2, 4),) * 4,
        speakers=speakers,
        window_frames=12,
    )


def tiny_model(speakers: int = 1, seed: int = 0) -> WaveGrad2:
    """Random weights but for the durations: about SECONDS_A_SYMBOL each, a little uneven."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WaveGrad2(tiny_config(speakers))
    predictor = model.resampling.duration_predictor
    units = predictor.lstm.hidden_size
    with torch.no_grad():
        # The first unit of each direction stands near tanh(1) / 2 = 0.38; only it is read.
        for name, value in predictor.lstm.named_parameters():
            if "_l1" in name and "bias_ih" in name:
                value[0], value[2 * units] = 6.0, 6.0  # input gate and cell open
                value[units] = -6.0  # nothing is remembered
        (linear,) = (m for m in predictor.fc if isinstance(m, nn.Linear))
        linear.weight.mul_(0.02)
        linear.weight[0, 0] = linear.weight[0, units] = SECONDS_A_SYMBOL / 2 / 0.38
    return model.eval()


def write_voice(path: Path, speakers: tuple[str, ...] = ("anna",), seed: int = 0) -> Path:
    model = tiny_model(len(speakers), seed)
    checkpoint.save(path, model, Card(model.config, speakers, {"made": "for a test"}))
    return path


def write_corpus(folder: Path, speaker: str = "kathleen") -> Path:
    """A prepared corpus of the three recorded clips, the last held out; all phones equally long."""
    rows, audio, start = [], [], 0
    for number, (name, text) in enumerate(SPOKEN.items()):
        samples, _ = soundfile.read(SPEECH / f"{name}.flac", dtype="int16")
        phones = phonemise(text)
        frames = [len(samples) // HOP // len(phones)] * len(phones)
        length = HOP * sum(frames)
        clip = Clip(
            id=name,
            text=text,
            speaker=speaker,
            phones=tuple(phones),
            ids=tuple(to_ids(phones)),
            frames=tuple(frames),
            audio_start=start,
            audio_length=length,
            gain_db=0.0,
            held_out=number == len(SPOKEN) - 1,
        )
        rows.append({k: v for k, v in asdict(clip).items() if k != "speaker_id"})
        audio.append(samples[:length])
        start += length
    folder.mkdir(parents=True)
    np.concatenate(audio).astype("<i2").tofile(folder / "audio.i16")
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_profile(folder: Path, voice: Path) -> Path:
    """A whole session in about a second: clips of 0.1 s, 3 timesteps, loudness as the reward."""
    (folder / "train.txt").write_text("Go on.\nWait.\nNo.\n")
    (folder / "evaluation.txt").write_text("Yes.\nWait.\nNow.\n")
    path = folder / "tiny.toml"
    path.write_text(
        f"""
name = "tiny"
runs = "{folder}/runs"
voice.checkpoint = "{voice}"
prompts = {{ train = "{folder}/train.txt", evaluation = "{folder}/evaluation.txt" }}
schedule.timesteps = 3
rollout = {{ batch = 4, group = 2, window = 2, kept = 1, microbatch = 4 }}
train = {{ updates = 2, save_every = 1 }}
reward.models = {{ loudness = 1.0 }}
judges.models = []
evaluation = {{ every = 1, prompts = 2 }}
device = {{ device = "cpu", threads = 1 }}
knobs.learning_rate = 1e-3
"""
    )
    return path


def write_methods(folder: Path, voice: Path) -> Path:
    """A folder of three profiles that a study compares: base, which learns nothing, ddpo, dlpo."""
    text = write_profile(folder, voice).read_text()
    methods = folder / "methods"
    methods.mkdir()
    rates = {"base": 0.0, "ddpo": 1e-3, "dlpo": 1e-3}
    for name, rate in rates.items():
        algorithm = name if name != "base" else "dlpo"
        changed = text.replace('name = "tiny"', f'name = "{name}"')
        changed = changed.replace("train = { ", f'train = {{ algorithm = "{algorithm}", ')
        (methods / f"{name}.toml").write_text(
            changed.replace("learning_rate = 1e-3", f"learning_rate = {rate}")
        )
    return methods
