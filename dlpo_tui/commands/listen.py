"""`dlpo-tui listen`: a voice says a sentence, or many on a screen."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlpo_tui.console import Exit, err, one_sentence, tell
from dlpo_tui.voice_files import require_file

if TYPE_CHECKING:
    from dlpo_tui.speech_settings import Settings


def listen(
    checkpoint: Annotated[str, typer.Argument(help="A safetensors voice, or: bundled.")],
    text: Annotated[str, typer.Option(help="What to say; left out: a screen to type in.")] = "",
    out: Annotated[Path | None, typer.Option(help="WAV or FLAC to write.")] = None,
    against: Annotated[
        str, typer.Option(metavar="CHECKPOINT", help="On the screen, another voice beside it.")
    ] = "",
    speaker: Annotated[str, typer.Option(help="Name; the voice's first if left out.")] = "",
    steps: Annotated[
        int | None,
        typer.Option(help="Denoising timesteps; the voice's own if left out.", min=1, max=1000),
    ] = None,
    eta: Annotated[
        float | None,
        typer.Option(help="DDIM's noise share; the voice's own sampler if left out.", min=0, max=1),
    ] = None,
    pace: Annotated[float, typer.Option(help="Above 1 is slower.", min=0.25, max=4.0)] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise.", min=0, max=2**32 - 1)] = 0,
) -> None:
    """Type a sentence, hear it; or with --text say one, into a file with --out."""
    with one_sentence():
        from dlpo_tui.speech_settings import Settings

        settings = Settings(steps, eta, pace, speaker, seed)
        if text:
            if against:
                raise ValueError("--against is for the screen: leave --text out, or run it twice")
            say_one(checkpoint, text, out, settings)
            return
        if out is not None or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ValueError("say what to speak: --text 'A sentence.'")
        code = screen(tuple(name for name in (checkpoint, against) if name), settings)
    raise typer.Exit(code)


def screen(sources: tuple[str, ...], settings: Settings) -> int:
    """The screen over a worker; the clips of a sitting lie in a folder that goes with it."""
    from dlpo_tui.listening import run_listen
    from dlpo_tui.speaking import Speaking
    from dlpo_tui.studio import VoiceStudio

    for source in sources:
        require_file(source)
    folder = Path(tempfile.mkdtemp(prefix="dlpo-tui-listen-"))
    try:
        speaking = Speaking(lambda tell: VoiceStudio(sources, folder, tell, settings.speaker))
        why = run_listen(speaking, sources, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not why:
        return Exit.DONE
    tell(f"dlpo-tui: {why}")
    ended = speaking.now.ended
    return Exit.USAGE if ended is not None and ended.refused else Exit.FAILED


def say_one(checkpoint: str, text: str, out: Path | None, settings: Settings) -> None:
    """One sentence without a screen: into a file, else through the sound device."""
    from rich.progress import Progress

    from engine import audio
    from engine import checkpoint as voices
    from engine.diffusion.schedule import build
    from engine.files import check_target
    from engine.synthesis import speak, utter

    if out is not None and out.suffix.lower() not in audio.FORMATS:
        raise ValueError(f"{out} must end in {' or '.join(audio.FORMATS)}")
    if out is not None:
        check_target(out)
    from dlpo_tui.studio import chain

    voice = voices.load(checkpoint)
    schedule = build(chain(voice, settings))
    prompts = utter(voice.model, [text], voice.speaker(settings.speaker), settings.pace)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("speaking", total=schedule.timesteps)
        (wave,) = speak(
            voice, schedule, prompts, settings.seed,
            between=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    rate = voice.card.config.sample_rate
    if out is not None:
        audio.write(out, wave, rate)
        tell(f"{len(wave) / rate:.2f} s of {voice.source} in {out}")
        return
    from dlpo_tui.sound import play_and_wait

    play_and_wait(wave.numpy(), rate)
