"""`dlpo-tui pretrain`: supervised training of a base voice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dlpo_tui.console import Changes, one_sentence, tell
from engine import profile as profiles


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
