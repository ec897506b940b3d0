"""`dlpo-tui run`: a session, on the screen or as lines."""

from __future__ import annotations

import json
import logging
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dlpo_tui.console import Changes, Exit, err, one_sentence, tell
from engine import messages as m
from engine import profile as profiles

if TYPE_CHECKING:
    from engine.profile import Profile


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
