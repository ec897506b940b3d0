"""The command line: one function a command. Nothing here loads torch before it is needed."""

from __future__ import annotations

import enum
import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from engine import messages as m
from engine import profile as profiles

if TYPE_CHECKING:
    from engine.profile import Profile

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Fine-tune WaveGrad 2 text-to-speech by reinforcement learning, live in a terminal.",
)
err = Console(stderr=True, highlight=False)


def tell(text: str) -> None:
    """One line on stderr; never markup, never wrapped (a path stays one word to copy)."""
    err.print(text, markup=False, soft_wrap=True)


class Exit(enum.IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


@contextmanager
def one_sentence() -> Iterator[None]:
    """Bad input ends in one sentence on stderr and exit code 2; an interrupt in 130."""
    try:
        yield
    except KeyboardInterrupt:
        tell("interrupted")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except ValueError as error:  # every error of ours about input is one
        tell(f"dlpo-tui: {error}")
        raise typer.Exit(Exit.USAGE) from None
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        tell(f"dlpo-tui: {error.strerror or error}{where}")
        raise typer.Exit(Exit.USAGE) from None


Changes = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the profile.")
]


@app.command()
def run(
    profile: Annotated[Path, typer.Argument(help="TOML, such as profiles/quickstart.toml.")],
    headless: Annotated[bool, typer.Option(help="Plain lines instead of the screen.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Every event as a line of JSON on stdout (headless).")
    ] = False,
    changes: Changes = [],  # noqa: B006 (typer reads the default, nobody writes it)
) -> None:
    """Fine-tune a voice: a session."""
    with one_sentence():
        settings = profiles.load(profile, changes)
        folder = open_folder(settings)
        plain = headless or as_json
        if not plain and not (sys.stdin.isatty() and sys.stderr.isatty()):
            tell("no terminal here: plain lines, as with --headless")
            plain = True
        code = headless_run(settings, folder, as_json) if plain else screen_run(settings, folder)
    raise typer.Exit(code)


def open_folder(settings: Profile) -> Path:
    """The new run's folder, its resolved profile and its log file."""
    import tomli_w

    from engine import journal

    folder = journal.create(settings, tomli_w.dumps(journal.plain(settings)), datetime.now())
    handler = logging.FileHandler(folder / "session.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    return folder


def screen_run(settings: Profile, folder: Path) -> int:
    """The session under the screen, in its own thread."""
    from dlpo_tui.app import run_app
    from dlpo_tui.bridge import Bridge, SessionLike

    def open_session(emit: m.Emit) -> SessionLike:
        from engine.session import Session

        return Session(settings, folder, emit)

    bridge = Bridge(open_session)
    code = run_app(bridge, folder)
    if code == Exit.FAILED and not (bridge.now.ended and bridge.now.ended.error):
        tell(f"dlpo-tui: the screen failed; why is in {folder / 'session.log'}")
    farewell(bridge.now, folder)
    return code


def headless_run(settings: Profile, folder: Path, as_json: bool) -> int:
    """The session in this thread, its events as lines; an interrupt stops it in good order."""
    from dlpo_tui.lines import Lines
    from engine.session import Session

    lines = Lines(err if as_json else Console(highlight=False, soft_wrap=True), quiet=as_json)
    ended: list[m.SessionEnded] = []

    def emit(event: m.Event) -> None:
        if as_json:
            sys.stdout.write(json.dumps(m.to_json(event), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        lines.show(event)
        if isinstance(event, m.SessionEnded):
            ended.append(event)

    session = Session(settings, folder, emit)
    interrupted = stop_on_interrupt(session.commands.put)
    session.run()
    farewell(lines.now, folder)
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.FAILED if ended and ended[0].reason == "failed" else Exit.DONE


def stop_on_interrupt(send: m.Send) -> list[bool]:
    """The first Ctrl-C asks the session to stop and save, a second one ends at once."""
    interrupted: list[bool] = []

    def handler(signum: int, frame: object) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(True)
        tell("stopping and saving; once more to end at once")
        send(m.Stop())

    signal.signal(signal.SIGINT, handler)
    return interrupted


def farewell(now: m.Snapshot, folder: Path) -> None:
    """After the screen: what there is now, and what to do with it."""
    if now.ended is not None and now.ended.error:
        tell(f"dlpo-tui: the session failed: {now.ended.error}")
    tell(f"run    {folder}")
    if now.checkpoint:
        tell(f"listen dlpo-tui listen {folder / now.checkpoint} --text '...' --out clip.wav")


@app.command()
def listen(
    checkpoint: Annotated[str, typer.Argument(help="A safetensors voice, or: bundled.")],
    text: Annotated[str, typer.Option(help="What to say.")] = "",
    out: Annotated[Path | None, typer.Option(help="WAV or FLAC to write.")] = None,
    speaker: Annotated[str, typer.Option(help="Name; the voice's first if left out.")] = "",
    steps: Annotated[int, typer.Option(help="Denoising timesteps.", min=1, max=1000)] = 10,
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
        from engine.profile import ScheduleSpec
        from engine.synthesis import speak, utter

        if out is not None and out.suffix.lower() not in audio.FORMATS:
            raise ValueError(f"{out} must end in {' or '.join(audio.FORMATS)}")
        voice = voices.load(checkpoint)
        told = {**voice.card.about.get("schedule", {}), "timesteps": steps}
        schedule = build(profiles.build(ScheduleSpec, told, checkpoint))
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


@app.command()
def prepare(
    corpus: Annotated[Path, typer.Argument(help="Folder with metadata.csv and wavs/.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; prepared/NAME if left out.")
    ] = None,
    speaker: Annotated[str | None, typer.Option(help="Name of who speaks.")] = None,
    textgrids: Annotated[
        Path | None, typer.Option(help="Folder of MFA TextGrids; else pocketsphinx aligns.")
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(help="Clips held back; 2 % of them, at least 8, if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """Turn a corpus into phones, durations and audio ready to train on; resumable."""
    from dataclasses import asdict

    with one_sentence():
        from engine import prepare as preparation

        target = out or Path("prepared") / corpus.resolve().name
        with progress_bar("aligning") as advance:
            report = preparation.prepare(
                corpus, target, speaker=speaker, held_out=held_out, textgrids=textgrids,
                on_progress=advance,
            )  # fmt: skip
        tell(report.summary())
        if as_json:
            typer.echo(json.dumps(asdict(report)))


@contextmanager
def progress_bar(what: str) -> Iterator[m.Progressing]:
    """A bar on stderr; yields what to call with (done, total, name)."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn(), TextColumn("{task.fields[at]}", markup=False))  # fmt: skip
    hidden = not err.is_terminal  # in a log the bar would be nothing but an empty line
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None, at="")
        yield lambda done, total, at: bar.update(task, completed=done, total=total, at=at)


@app.command()
def pretrain(
    corpora: Annotated[list[Path], typer.Argument(help="Prepared corpora; one speaker each.")],
    profile: Annotated[Path, typer.Argument(help="TOML, such as profiles/pretrain-narrow.toml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; pretrained/NAME if left out.")
    ] = None,
    changes: Changes = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Progress as JSON lines.")] = False,
) -> None:
    """Train a base voice from prepared corpora; goes on where it stopped."""
    from dataclasses import asdict

    with one_sentence():
        settings = profiles.load_pretrain(profile, changes)
        from engine.data import open_corpora
        from engine.pretrain import Progress, Trainer

        folder = out or Path("pretrained") / settings.name
        trainer = Trainer(settings, open_corpora(corpora), folder)
        if trainer.resume():
            tell(f"going on at optimizer step {trainer.step}")

        def report(now: Progress) -> None:
            if as_json:
                typer.echo(json.dumps(asdict(now)))
            elif now.held_out is not None or now.step % 50 == 0:
                held = f"  held-out {now.held_out:.4f}" if now.held_out is not None else ""
                tell(
                    f"step {now.step:6d}  {now.minutes:6.1f} min  noise {now.noise_loss:.4f}  "
                    f"mel {now.mel_loss:.3f}  duration {now.duration_loss:.4f}  "
                    f"lr {now.learning_rate:.1e}  {now.audio_seconds_per_second:.1f} s/s{held}"
                )

        path = trainer.run(report)
        tell(f"voice {path}")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
