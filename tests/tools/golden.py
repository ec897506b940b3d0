"""Writes one small file of each format as this program writes it now: tests/data/golden/.

    PYTHONPATH=. python tests/tools/golden.py

To be run after a format's version was raised, and the file committed; what is there is never
written again. tests/test_golden.py then reads what every version wrote.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from pathlib import Path

import torch

from engine import checkpoint, journal, resume
from engine import messages as m
from engine.checkpoint import Card
from engine.model.config import ModelConfig
from engine.model.wavegrad2 import WaveGrad2
from engine.reopening import saved
from engine.resume import State

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
INTERVAL = m.Interval(3.0, 2.5, 3.5, 8)
STATS = m.UpdateStats(
    -0.01, INTERVAL, 0.4, None, 1.0, 0.1, 0.0, 2.0, 1, 0, 0.25, {"rollout": 1.0}, 0.5, 1e9
)
CLIP = m.Clip(
    1, 0, "rollout", "Fête.\u2028Two.", "anna", 0, 0.5, "samples/update-000001-00.flac",
    {"mos": 3.2, "wer": None}, 3.2, -0.5,
)  # fmt: skip
EVENTS: list[m.Event] = [
    m.PhaseEntered(0, "loading"),
    m.SessionStarted(
        "quick", "runs/quick", "dlpo", 9, m.Knobs(alpha=2.0),
        (m.Column("mos", "MOS", True, 1.0, 5.0),), (m.Column("wer", "share", False),),
        "bundled", "cpu", "fp32", 10, (9, 8), 22050,
        "distillmos for utmos", "other, update 3",
    ),
    m.Noticed(0, "warning", "a stand-in"),
    m.EvaluationFinished(0, {"mos": INTERVAL, "wer": None}, 4.5),
    m.ClipsScored(1, (CLIP,)),
    m.UpdateFinished(1, STATS),
    m.ClipRendered(1, 0, "samples/update-000001-00-start.flac", {"mos": None}, 3.1),
    m.KnobsChanged(1, "user", {"alpha": 2.0}, {"alpha": 2.5}, m.Knobs(alpha=2.5)),
    m.CommandRefused(1, "there is no knob 'gamma'", ""),
    m.AlarmRaised(1, "the reward rose while a judge got worse"),
    m.CheckpointSaved(1, "checkpoints/update-000001.safetensors", "by hand"),
    m.UpdateFinished(2, STATS),
    m.SessionResumed(1, 9, m.Knobs(alpha=2.5)),
    m.UpdateFinished(2, STATS),
]  # fmt: skip
if hasattr(m, "RolledBack"):  # the first version had none
    EVENTS += [
        m.MicrobatchHalved(2, "rollout", 4, "the memory did not suffice"),
        m.RolledBack(1, 2, "back from update 2 to 1"),
        m.KnobsChanged(
            1, "session", {"learning_rate": 1e-5}, {"learning_rate": 5e-6},
            m.Knobs(alpha=2.5, learning_rate=5e-6),
        ),
    ]  # fmt: skip
if hasattr(m, "MicrobatchMeasured"):  # since the third
    EVENTS.append(m.MicrobatchMeasured(1, "optimise", 6, "an update takes 6 clips at a time"))
EVENTS.append(m.SessionEnded(1, "failed", "the disk is full"))

CONFIG = ModelConfig(
    symbols=151, encoder_channels=4, encoder_kernel=3, encoder_layers=1, speaker_channels=2,
    duration_lstm=2, range_lstm=2, hop=300, sample_rate=22050, u_pre=2, u_out=(2, 2, 2, 2, 2),
    u_factors=(5, 5, 3, 2, 2), u_dilations=((1, 2, 4, 8),) * 3 + ((1, 2, 1, 2),) * 2, d_pre=2,
    d_out=(2, 2, 2, 2), d_dilations=((1, 2, 4),) * 4, window_frames=4,
)  # fmt: skip


def voice() -> WaveGrad2:
    """Weights that are known, and that compress."""
    model = WaveGrad2(CONFIG).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((torch.arange(weight.numel()) % 7).view(weight.shape) / 100)
    return model


def state() -> State:
    return State(
        7, {"w": torch.arange(3.0)}, {"0.step": torch.tensor(3.0), "0.exp_avg": torch.ones(3)},
        {"Fête.": [0.1, 1 / 3]}, 2, torch.tensor([[float("nan"), 1.0]]),
        {"training prompts": "abc"},
    )  # fmt: skip


def put(source: Path, name: str) -> None:
    """Compresses a file into place; what stands there stays."""
    target = GOLDEN / f"{name}.gz"
    if target.exists():
        print(f"{target.name} stands already")
        return
    target.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    print(f"{target.name}: {target.stat().st_size} bytes")


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    book = journal.Journal(folder)
    for event in EVENTS:
        book.write(event)
    book.close()
    put(folder / "events.jsonl", f"journal-{journal.FORMAT_VERSION}.jsonl")
    resume.write(folder, state())
    put(saved(folder)[0], f"state-{resume.FORMAT_VERSION}.safetensors")
    model = voice()
    checkpoint.save(folder / "voice.safetensors", model, Card(CONFIG, ("anna",), {"update": 7}))
    put(folder / "voice.safetensors", f"voice-{checkpoint.VERSION}.safetensors")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
