"""The command line: a table of commands, each in its own file. Nothing here loads torch."""

from __future__ import annotations

import typer

from dlpo_tui.commands import (
    attach,
    compare,
    config,
    convert,
    doctor,
    export_pairs,
    fetch,
    listen,
    prepare,
    pretrain,
    profiles,
    replay,
    report,
    run,
    runs,
    study,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Fine-tune WaveGrad 2 text-to-speech by reinforcement learning, live in a terminal.",
)
for command in (
    run.run,
    attach.attach,
    runs.runs,
    study.study,
    replay.replay,
    report.report,
    listen.listen,
    compare.compare,
    export_pairs.export_pairs,
    convert.convert,
    fetch.fetch,
    prepare.prepare,
    pretrain.pretrain,
    doctor.doctor,
):
    app.command()(command)
app.add_typer(profiles.app, name="profiles")
app.add_typer(config.app, name="config")
app.callback()(config.settle)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
