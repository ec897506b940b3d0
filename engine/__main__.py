"""The engine without a screen or its libraries: `python -m engine run|pretrain ...`.

For machines that have torch and little else. Events and progress go to stdout as JSON lines;
bad input ends in one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from engine import endings, plain_json
from engine import messages as m
from engine import profile as profiles
from engine.visible import visible


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m engine", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="a reinforcement learning session")
    run.add_argument("profile", type=Path, nargs="?")
    run.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run's folder")
    run.set_defaults(command=session)
    train = commands.add_parser("pretrain", help="supervised training of a base voice")
    train.add_argument("corpora", type=Path, nargs="+", help="prepared corpora")
    train.add_argument("profile", type=Path)
    train.add_argument("--out", type=Path)
    train.add_argument("--every", type=int, default=50, help="optimizer steps between lines")
    train.set_defaults(command=pretraining)
    for one in (run, train):
        one.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        code: int = options.command(options)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError) as error:
        print(visible(f"dlpo-tui: {error}"), file=sys.stderr)
        return 2
    return code


def say(data: dict[str, object]) -> None:
    print(plain_json.line(data), flush=True)


def session(options: argparse.Namespace) -> int:
    from engine import journal, preflight, worker
    from engine.allocator import keep_memory
    from engine.launch import open_session
    from engine.reopening import reopen

    if (options.profile is None) == (options.resume is None) and not worker.handed():
        raise ValueError("name a profile, or a run to go on with: --resume RUN")
    if worker.started():
        worker.vanish(worker.work(options.profile, options.resume, options.changes))
    before = None
    if options.resume is not None:
        settings, before = reopen(options.resume, options.changes)
        folder = options.resume
    else:
        settings = profiles.load(options.profile, options.changes)
        preflight.check(settings)
        # JSON, not TOML: what writes TOML need not be installed here.
        text = json.dumps(journal.plain(settings), indent=1)
        folder = journal.create(settings, text, datetime.now(), "profile.json")
    ends: list[m.SessionEnded] = []

    def hear(event: m.Event) -> None:
        say(m.to_json(event))
        if isinstance(event, m.SessionEnded):
            ends.append(event)

    keep_memory()
    opened = open_session(settings, folder, hear, before)
    endings.obey(opened.commands, endings.ENDINGS)
    opened.run()
    (end,) = ends
    if end.refused:
        if before is None:
            journal.discard(folder)
        raise ValueError(end.error)
    return int(end.reason == "failed")


def pretraining(options: argparse.Namespace) -> int:
    from engine.data import open_corpora
    from engine.pretrain import Progress, Trainer

    settings = profiles.load_pretrain(options.profile, options.changes)
    folder = options.out or Path("pretrained") / settings.name
    trainer = Trainer(settings, open_corpora(options.corpora), folder)
    if trainer.resume():
        say({"resumed_at": trainer.step})

    def report(now: Progress) -> None:
        if now.held_out is not None or now.step % options.every == 0:
            say(asdict(now))

    say({"voice": str(trainer.run(report))})
    return 0


if __name__ == "__main__":
    sys.exit(main())
