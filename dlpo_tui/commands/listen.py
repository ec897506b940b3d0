"""`dlpo-tui listen`: a voice says a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui.console import err, one_sentence, tell


def listen(
    checkpoint: Annotated[str, typer.Argument(help="A safetensors voice, or: bundled.")],
    text: Annotated[str, typer.Option(help="What to say.")] = "",
    out: Annotated[Path | None, typer.Option(help="WAV or FLAC to write.")] = None,
    speaker: Annotated[str, typer.Option(help="Name; the voice's first if left out.")] = "",
    steps: Annotated[
        int | None,
        typer.Option(help="Denoising timesteps; the voice's own if left out.", min=1, max=1000),
    ] = None,
    pace: Annotated[float, typer.Option(help="Above 1 is slower.", min=0.25, max=4.0)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """Let a voice say a sentence: into a file with --out, else through the sound device."""
    from rich.progress import Progress

    with one_sentence():
        if not text:
            raise ValueError("say what to speak: --text 'A sentence.'")
        from engine import audio
        from engine import checkpoint as voices
        from engine.diffusion.schedule import build
        from engine.files import check_target
        from engine.own_schedule import schedule_for
        from engine.synthesis import speak, utter

        if out is not None and out.suffix.lower() not in audio.FORMATS:
            raise ValueError(f"{out} must end in {' or '.join(audio.FORMATS)}")
        if out is not None:
            check_target(out)
        voice = voices.load(checkpoint)
        schedule = build(schedule_for(voice, steps))
        prompts = utter(voice.model, [text], voice.speaker(speaker), pace)
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("speaking", total=schedule.timesteps)
            (wave,) = speak(
                voice, schedule, prompts, seed,
                between=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
        rate = voice.card.config.sample_rate
        if out is not None:
            audio.write(out, wave, rate)
            tell(f"{len(wave) / rate:.2f} s of {voice.source} in {out}")
            return
        from dlpo_tui.sound import play_and_wait

        play_and_wait(wave.numpy(), rate)
