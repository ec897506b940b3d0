"""Clips of a voice to listen to, five a speaker, with what was said and what a recogniser heard.

    python tests/benchmarks/clips.py [--voice FILE] [--out FOLDER] [--format ogg|flac]

The sentences are taken by their place in the list, evenly, never by ear; one sentence is spoken
by one speaker. Writes the clips and a `transcripts.md` for them, JSON on stdout. The same voice,
list and seed give the same sound; an OGG file also holds a serial number, which is drawn anew.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import soundfile
import torch
from progress import Lines, say
from torch import Tensor

from engine import audio, checkpoint
from engine.checkpoint import Voice
from engine.data import read_prompts
from engine.device import set_threads
from engine.diffusion.schedule import build
from engine.files import replacing
from engine.own_schedule import schedule_for
from engine.profile import DeviceSpec
from engine.rewards.intelligibility import Intelligibility, error_rates
from engine.synthesis import speak, utter

VOICES = Path(__file__).parents[2] / "engine" / "voices"
OPUS_HZ = 24_000
"""Opus knows few rates; the lowest that holds what a voice of 22,050 Hz has."""


def chosen(texts: tuple[str, ...], speakers: int, each: int) -> list[tuple[str, ...]]:
    """`each` sentences for every speaker, evenly over the list, none twice."""
    count = speakers * each
    if count > len(texts):
        raise SystemExit(f"{count} clips need as many sentences, and the list has {len(texts)}")
    taken = [texts[i * len(texts) // count] for i in range(count)]
    return [tuple(taken[row::speakers]) for row in range(speakers)]


def write(path: Path, wave: Tensor, hz: int) -> None:
    """FLAC as everywhere, or Opus in an OGG file."""
    if path.suffix != ".ogg":
        audio.write(path, wave, hz)
        return
    samples = audio.resample(wave, hz, OPUS_HZ).clamp(-1, 1).numpy()
    with replacing(path) as temporary:
        soundfile.write(temporary, samples, OPUS_HZ, format="OGG", subtype="OPUS")


def clips(
    voice: Voice, sentences: list[tuple[str, ...]], timesteps: int | None, seed: int,
    folder: Path, suffix: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Speaks, writes, and listens to the written file; a row a clip."""
    chain, hz = build(schedule_for(voice, timesteps)), voice.card.config.sample_rate
    recogniser, lines = Intelligibility(), Lines()
    rows = []
    for speaker, texts in enumerate(sentences):
        name = voice.card.speakers[speaker]
        prompts = utter(voice.model, texts, speaker, 1.0)
        waves = speak(
            voice, chain, prompts, seed,
            between=lambda done, total, name=name: lines(done, total, f"{name} speaks"),
        )  # fmt: skip
        for number, (text, wave) in enumerate(zip(texts, waves, strict=True), start=1):
            stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
            path = folder / f"{stem}-{number}.{suffix}"
            write(path, wave, hz)
            heard = recogniser.transcribe(*audio.read(path))
            wer, cer = error_rates(text, heard)
            rows.append(
                {"file": path.name, "speaker": name, "seconds": round(len(wave) / hz, 2),
                 "text": text, "heard": heard, "wer": round(wer, 3), "cer": round(cer, 3)}
            )  # fmt: skip
    return rows


def transcripts(voice: Voice, timesteps: int, seed: int, rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Clips of the voice",
        "",
        f"Spoken in {timesteps} timesteps with seed {seed} by `{Path(voice.source).name}`; the "
        "sentences lie evenly in `sentences-50.txt`, none was chosen by ear. Heard: what "
        "Moonshine tiny makes of the file.",
        "",
        "| file | speaker | said | heard | CER |",
        "|---|---|---|---|---|",
        *(
            f"| `{r['file']}` | {r['speaker']} | {r['text']} | {r['heard']} | {r['cer']:.2f} |"
            for r in rows
        ),
    ]
    return "\n".join(lines) + "\n"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voice", default="bundled")
    parser.add_argument("--out", type=Path, default=VOICES / "clips")
    parser.add_argument("--prompts", type=Path, default=VOICES / "sentences-50.txt")
    parser.add_argument("--each", type=int, default=5, help="clips a speaker")
    parser.add_argument("--steps", type=int, default=None, help="timesteps; the voice's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=["ogg", "flac"], default="ogg")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    options = parser.parse_args()
    set_threads(DeviceSpec(threads=options.threads))
    voice = checkpoint.load(options.voice)
    spec = schedule_for(voice, options.steps)
    sentences = chosen(read_prompts(options.prompts), len(voice.card.speakers), options.each)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = clips(voice, sentences, options.steps, options.seed, options.out, options.format)
    told = transcripts(voice, build(spec).timesteps, options.seed, rows)
    with replacing(options.out / "transcripts.md") as temporary:
        temporary.write_text(told, encoding="utf-8")
    size = sum((options.out / row["file"]).stat().st_size for row in rows)
    report = {"voice": options.voice, "schedule": asdict(spec), "seed": options.seed,
              "bytes": size, "clips": rows}  # fmt: skip
    print(json.dumps(report, indent=2, ensure_ascii=False))
    say(f"{len(rows)} clips, {size / 1000:.0f} kB, in {options.out}")


if __name__ == "__main__":
    main()
