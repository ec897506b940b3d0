"""The command line: a table of commands, each in its own file. Nothing here loads torch."""

from __future__ import annotations

import typer

from dlpo_tui.commands import convert, listen, prepare, pretrain, run

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Fine-tune WaveGrad 2 text-to-speech by reinforcement learning, live in a terminal.",
)
for command in (run.run, listen.listen, convert.convert, prepare.prepare, pretrain.pretrain):
    app.command()(command)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
