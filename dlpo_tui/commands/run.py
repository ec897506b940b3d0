"""`dlpo-tui run`: a session, on the screen or as lines."""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlpo_tui import completion
from dlpo_tui.console import Changes, Console, Exit, err, one_sentence, tell
from dlpo_tui.endings import forget_terminal
from engine import plain_json
from engine.allocator import keep_memory
from engine.endings import heeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlpo_tui.bridge import SessionLike
    from engine.messages import Emit, Event, Send, SessionEnded, Snapshot
    from engine.profile import Profile


def run(
    profile: Annotated[
        Path | None,
        typer.Argument(
            help="TOML, such as profiles/quickstart.toml.", autocompletion=completion.profile
        ),
    ] = None,
    headless: Annotated[bool, typer.Option(help="Plain lines instead of the screen.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Every event as a line of JSON on stdout (headless).")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a run's folder as if unstopped.",
            autocompletion=completion.run,
        ),
    ] = None,
    branch: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="SNAPSHOT",
            help="A new run from a checkpoint, with its run's profile unless PROFILE is given.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option(help="In the background; dlpo-tui attach shows it, from any terminal.")
    ] = False,
    changes: Changes = [],  # noqa: B006 (typer reads the default, nobody writes it)
) -> None:
    """Fine-tune a voice: a session."""
    with one_sentence():
        if detach and (headless or as_json):
            raise ValueError("--detach prints no events: leave out --headless and --json")
        opening = open_run(profile, resume, branch, changes)
        if detach:
            detached_run(opening)
            return
        plain = headless or as_json
        if not plain and not (sys.stdin.isatty() and sys.stderr.isatty()):
            tell("no terminal here: plain lines, as with --headless")
            plain = True
        code = headless_run(opening, as_json) if plain else screen_run(opening)
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session starts with."""

    settings: Profile
    folder: Path
    before: Snapshot | None
    """The fold of the journal so far; None: a new run."""


def open_run(
    profile: Path | None, resume: Path | None, branch: Path | None, changes: list[str]
) -> Opening:
    """A new run's folder, or that of the run to go on with; its log file."""
    if resume is not None:
        if profile is not None or branch is not None:
            raise ValueError("--resume goes on with a run as it was: leave out PROFILE and --from")
        from engine.journal import check_free
        from engine.reopening import reopen

        settings, before = reopen(resume, changes)
        check_free(resume)  # before anything of it is written
        keep_profile(settings, resume)
        opening = Opening(settings, resume, before)
    elif branch is not None:
        from engine import resume as resuming

        opening = new_run(resuming.branch(branch, profile, changes))
    elif profile is not None:
        from engine.profile import load

        opening = new_run(load(profile, changes))
    else:
        raise ValueError(
            "name a profile, such as profiles/quickstart.toml, or go on with --resume RUN"
        )
    log_to(opening.folder)
    return opening


def new_run(settings: Profile) -> Opening:
    """The new run's folder with its resolved profile."""
    import tomli_w

    from engine import journal

    folder = journal.create(settings, tomli_w.dumps(journal.plain(settings)), datetime.now())
    return Opening(settings, folder, None)


def keep_profile(settings: Profile, folder: Path) -> None:
    """The resolved profile as the run goes on with it."""
    import tomli_w

    from engine import journal
    from engine.files import replacing

    with replacing(folder / "profile.toml") as temporary:
        temporary.write_text(tomli_w.dumps(journal.plain(settings)), encoding="utf-8")


def log_to(folder: Path) -> None:
    """What libraries print goes to the run's session.log."""
    from engine.files import own_file

    handler = logging.FileHandler(own_file(folder / "session.log"), encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)


def screen_run(opening: Opening) -> int:
    """The session under the screen, in its own thread."""
    from dlpo_tui.app import run_app
    from dlpo_tui.bridge import Bridge

    def open_here(emit: Emit) -> SessionLike:
        # Here, behind the first paint: both load torch.
        from engine import preflight
        from engine.launch import open_session

        if opening.before is None:
            preflight.check(opening.settings)
        return served(
            folder, emit, lambda both: open_session(opening.settings, folder, both, opening.before)
        )

    folder = opening.folder
    keep_memory()
    bridge = Bridge(open_here, opening.before, behind_first_paint=True)
    code = run_app(bridge, folder)
    if code == Exit.FAILED and not (bridge.now.ended and bridge.now.ended.error):
        tell(f"dlpo-tui: the screen failed; why is in {folder / 'session.log'}")
    farewell(bridge.now, opening)
    return Exit.USAGE if refused(bridge.now) else code


def served(folder: Path, emit: Emit, open_session: Callable[[Emit], SessionLike]) -> SessionLike:
    """The session; where a socket can be had, others may watch it, and this terminal steers."""
    from engine.attached import terminal_name
    from engine.serving import Served, Server

    try:
        server = Server(folder, owner=terminal_name())
    except (OSError, ValueError):  # a session needs no audience; its journal's lock has the say
        logging.getLogger(__name__).exception("nobody can attach")
        return open_session(emit)
    return Served(server, emit, open_session)


def detached_run(opening: Opening) -> None:
    """The session in a process of its own; ValueError, one sentence, where it does not start."""
    from dlpo_tui.detaching import Refused, detach

    folder = opening.folder
    try:
        detach(folder, resume=opening.before is not None)
    except Refused:
        if opening.before is None:
            from engine.journal import discard

            discard(folder)
        raise
    typer.echo(f"run    {folder}")
    typer.echo(f"attach dlpo-tui attach {folder}")


def headless_run(opening: Opening, as_json: bool) -> int:
    """The session in this thread, its events as lines; an interrupt stops it in good order."""
    from dlpo_tui.lines import Lines
    from engine.messages import SessionEnded, to_json

    keep_memory()
    with err.status("looking for what the profile names"):  # on a terminal only
        from engine import preflight
        from engine.launch import open_session

        try:
            if opening.before is None:
                preflight.check(opening.settings)
        except (ValueError, OSError):
            from engine.journal import discard

            discard(opening.folder)
            raise
    console = err if as_json else Console(soft_wrap=True)
    lines = Lines(console, quiet=as_json, before=opening.before)
    ended: list[SessionEnded] = []

    def emit(event: Event) -> None:
        if as_json:
            sys.stdout.write(plain_json.line(to_json(event)) + "\n")
            sys.stdout.flush()
        lines.show(event)
        if isinstance(event, SessionEnded):
            ended.append(event)

    session = open_session(opening.settings, opening.folder, emit, opening.before)
    interrupted = stop_on_interrupt(session.commands.put)
    session.run()
    farewell(lines.now, opening)
    if interrupted:
        return Exit.INTERRUPTED
    if refused(lines.now):
        return Exit.USAGE
    return Exit.FAILED if ended and ended[0].reason == "failed" else Exit.DONE


def stop_on_interrupt(send: Send) -> list[bool]:
    """The first Ctrl-C asks the session to stop and save, a second one ends at once.

    A wish to end from outside (SIGTERM), or a terminal that is closed (SIGHUP), is the first; with
    the terminal, the words go, too.
    """
    from engine.messages import Stop

    interrupted: list[bool] = []

    def handler(signum: int, frame: object) -> None:
        if interrupted:
            raise KeyboardInterrupt
        interrupted.append(True)
        if signum == signal.SIGHUP:
            forget_terminal()
        tell("stopping and saving; once more to end at once")
        send(Stop())

    for number in (signal.SIGINT, *heeded()):
        signal.signal(number, handler)
    return interrupted


def refused(now: Snapshot) -> bool:
    """Whether the session ended on bad input before anything began."""
    return now.ended is not None and now.ended.refused


def farewell(now: Snapshot, opening: Opening) -> None:
    """After the screen: what there is now, and what to do with it; a refused run leaves nothing."""
    folder = opening.folder
    if now.ended is not None and now.ended.refused:
        tell(f"dlpo-tui: {now.ended.error}")
        if opening.before is None:
            from engine.journal import discard

            discard(folder)
        return
    if now.ended is not None and now.ended.error:
        tell(f"dlpo-tui: the session failed: {now.ended.error}")
    tell(f"run    {folder}")
    if now.ended is not None and now.ended.reason != "finished" and now.update:
        tell(f"go on  dlpo-tui run --resume {folder}")
    if now.checkpoint:
        tell(f"listen dlpo-tui listen {folder / now.checkpoint}")
    if now.clips:
        tell(f"see    dlpo-tui replay {folder}")
