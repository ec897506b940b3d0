"""`dlpo-tui config`: where the user's settings lie, what holds, and a file to begin with."""

from __future__ import annotations

import locale
from dataclasses import replace
from typing import Annotated

import typer

from dlpo_tui import config
from dlpo_tui.console import err, one_sentence, tell
from engine.visible import visible

app = typer.Typer(no_args_is_help=True, help="Your settings: theme, sound, keys.")
SCREENS = ("run", "replay", "listen", "compare")


def settle(
    context: typer.Context,
    ascii_only: Annotated[
        bool, typer.Option("--ascii", help="ASCII on the screens, instead of braille and boxes.")
    ] = False,
) -> None:
    """Fine-tune WaveGrad 2 text-to-speech by reinforcement learning, live in a terminal."""
    if context.invoked_subcommand not in SCREENS:
        return
    with one_sentence():
        settings = config.load(config.path())
        few = err.color_system in ("standard", "windows")
        theme = settings.theme or ("sixteen" if few else "")
        plain = settings.ascii or ascii_only or "utf" not in locale.getencoding().lower()
        config.use(replace(settings, theme=theme, ascii=plain))


@app.command()
def path() -> None:
    """Say where the settings lie."""
    typer.echo(visible(str(config.path())))


@app.command()
def show() -> None:
    """Say which settings hold, and the name of every key."""
    with one_sentence():
        settings = config.load(config.path())
        from dlpo_tui.keys import KEYS

        typer.echo(f'theme = "{settings.theme or "calm"}"')
        typer.echo(f"ascii = {str(settings.ascii).lower()}")
        typer.echo(f'\n[sound]\ndevice = "{visible(settings.device)}"')
        typer.echo(f"volume = {settings.volume}\n\n[keys]")
        for key in KEYS:
            if key.action:
                keys = visible(settings.keys.get(key.name, key.keys))
                typer.echo(f'{key.name} = "{keys}"' + (f"  # {key.help}" if key.help else ""))


@app.command()
def init() -> None:
    """Write a commented file of settings, unless there is one."""
    with one_sentence():
        from engine.files import replacing

        file = config.path()
        if file.exists():
            raise ValueError(f"{file} is there already; change it with an editor")
        with replacing(file) as temporary:
            temporary.write_text(config.TEMPLATE, "utf-8")
        tell(f"settings {file}")
