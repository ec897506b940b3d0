"""A WaveGrad 2 so small that a whole session trains it in about a second."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from engine import checkpoint
from engine.checkpoint import Card
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2

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
