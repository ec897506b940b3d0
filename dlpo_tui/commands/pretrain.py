"""`dlpo-tui pretrain`: supervised training of a base voice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlpo_tui.console import Changes, one_sentence, tell

if TYPE_CHECKING:
    from engine.pretrain import Progress

EVERY = 50
"""Optimizer steps, or clips, between two lines."""


def pretrain(
    corpora: Annotated[list[Path], typer.Argument(help="Prepared corpora; one speaker each.")],
    profile: Annotated[Path, typer.Argument(help="TOML, such as profiles/pretrain-narrow.toml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; pretrained/NAME if left out.")
    ] = None,
    compact: Annotated[
        Path | None,
        typer.Option(
            help="Train nothing; write the folder's state to this small file instead, to go on "
            "from elsewhere: --set start=FILE."
        ),
    ] = None,
    changes: Changes = [],  # noqa: B006
    as_json: Annotated[bool, typer.Option("--json", help="Progress as JSON lines.")] = False,
) -> None:
    """Train a base voice from prepared corpora; goes on where it stopped."""
    from dataclasses import asdict

    from engine.profile import load_pretrain

    with one_sentence():
        settings = load_pretrain(profile, changes)
        from engine.data import open_corpora
        from engine.pretrain import Trainer

        folder = out or Path("pretrained") / settings.name
        trainer = Trainer(settings, open_corpora(corpora), folder)
        resumed = trainer.resume()
        if compact is not None:
            if not resumed:
                raise ValueError(
                    f"{folder} has no saved state to make {compact} of; train there first, or "
                    "name a training's folder (--out)"
                )
            tell(f"{trainer.compact(compact)}: {compact.stat().st_size / 1e6:.1f} MB")
            return
        if resumed:
            tell(f"going on at optimizer step {trainer.step}")

        def report(now: Progress) -> None:
            if as_json:
                typer.echo(json.dumps(asdict(now)))
            elif now.held_out is not None or now.left_out or at_a_line(now):
                tell(line(now))

        path = trainer.run(report)
        tell(f"voice {path}")


def at_a_line(now: Progress) -> bool:
    return now.step % EVERY == 0 or now.step == now.steps


def line(now: Progress) -> str:
    """One line of a training: its phase, how far it is, its losses, its speed."""
    speed = f"{now.audio_seconds_per_second:.1f} s/s"
    if now.loss is None:
        return f"{now.phase}  {now.step} of {now.steps} clips  {speed}"
    parts = "  ".join(f"{name} {value:.4f}" for name, value in now.losses.items())
    held = ""
    if now.held_out is not None:
        held = f"  held-out {now.held_out:.4f}"
    if now.held_out_spectral is not None:
        held += f"  spectral {now.held_out_spectral:.3f}"
    if now.held_out_envelope is not None:
        held += f"  envelope {now.held_out_envelope:.3f}"
    if now.held_out_bands:
        held += f"  ({', '.join(f'{k} {v:.3f}' for k, v in now.held_out_bands.items())})"
    if now.left_out:
        held += f"  {now.left_out} steps left out, not finite"
    return (
        f"{now.phase}  step {now.step:6d}  {now.minutes:6.1f} min  {parts}  "
        f"lr {now.learning_rate:.1e}  {speed}{held}"
    )
