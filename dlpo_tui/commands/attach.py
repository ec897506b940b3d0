"""`dlpo-tui attach`: the screen on a session that runs in another process, or its lines."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlpo_tui import completion
from dlpo_tui.console import Console, Exit, err, one_sentence, tell
from dlpo_tui.endings import forget_terminal
from engine import plain_json
from engine.endings import heeded

if TYPE_CHECKING:
    from engine.attached import Attachment
    from engine.messages import Event, Snapshot

RUNS = Path("runs")


def attach(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="A run's folder; the newest that is at work if left out.",
            autocompletion=completion.run,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option(help="Do not ask for the knobs.")] = False,
    socket: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A session's socket, such as one that SSH forwards."),
    ] = None,
    headless: Annotated[bool, typer.Option(help="Plain lines instead of the screen.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Every event as a line of JSON on stdout (headless).")
    ] = False,
) -> None:
    """Look at a session in another process, and steer it; leaving does not stop it."""
    with one_sentence():
        plain = headless or as_json
        if not plain and not (sys.stdin.isatty() and sys.stderr.isatty()):
            tell("no terminal here: plain lines, as with --headless")
            plain = True
        attachment = connected(run, socket, watch or plain)
        code = lines(attachment, as_json) if plain else screen(attachment)
    raise typer.Exit(code)


def connected(run: Path | None, socket: Path | None, watch: bool) -> Attachment:
    """The connection to the session; ValueError, one sentence, where there is none to be had."""
    from engine.attached import Attachment, terminal_name

    if socket is not None:
        if run is not None:
            raise ValueError("name a run or --socket PATH, not both")
        attachment = Attachment(socket, None, terminal_name(), watch)
    else:
        folder = run or newest()
        attachment = Attachment(socket_of(folder), folder, terminal_name(), watch)
    attachment.open()
    return attachment


def newest() -> Path:
    """The run at work that wrote last; ValueError, one sentence, where none is."""
    from engine.run_states import runs

    served = [run.folder for run in runs(RUNS) if run.served]
    if not served:
        raise ValueError(
            f"no session under {RUNS}/ is at work behind a socket; "
            "dlpo-tui run PROFILE --detach starts one, dlpo-tui runs lists what there is"
        )
    return served[0]


def socket_of(folder: Path) -> Path:
    """Where the session of a run listens; ValueError, one sentence, where none does."""
    from dlpo_tui.commands.replay import no_journal
    from engine import address
    from engine.run_states import is_run, look

    if not folder.is_dir() or not is_run(folder):
        raise ValueError(no_journal(folder))
    note = address.read(folder)
    if note is not None and address.alive(folder):
        return Path(note.socket)
    state = look(folder)
    if state.state in ("running", "paused"):
        raise ValueError(f"{folder} is at work in another process, but serves nobody")
    told = f"{folder} is not at work: its session {state.state} after {state.update} updates"
    if state.state == "finished":
        raise ValueError(f"{told}; dlpo-tui replay {folder} shows it")
    raise ValueError(f"{told}; dlpo-tui run --resume {folder} --detach goes on")


def lines(attachment: Attachment, as_json: bool) -> int:
    """The session's events as lines, those of the past first; an interrupt leaves it as it is."""
    from dlpo_tui.lines import Lines
    from engine.messages import to_json

    console = err if as_json else Console(soft_wrap=True)
    told = Lines(console, quiet=as_json)
    left: list[int] = []

    def emit(event: Event) -> None:
        if as_json:
            sys.stdout.write(plain_json.line(to_json(event)) + "\n")
            sys.stdout.flush()
        told.show(event)

    def leave(number: int, frame: object) -> None:
        left.append(number)
        if number == signal.SIGHUP:
            forget_terminal()
        attachment.leave()

    attachment.emit = emit
    for number in (signal.SIGINT, *heeded()):
        signal.signal(number, leave)
    attachment.run()
    farewell(attachment, told.now)
    if left:
        return Exit.INTERRUPTED if left[0] == signal.SIGINT else Exit.DONE
    return Exit.FAILED if told.now.ended and told.now.ended.reason == "failed" else Exit.DONE


def screen(attachment: Attachment) -> int:
    """The session's screen; clips of a run that lies elsewhere are fetched into a folder."""
    from dlpo_tui.attached_app import AttachedApp, bridged
    from dlpo_tui.sound import speaker
    from dlpo_tui.themed import run_quietly

    sound, here = speaker(), attachment.folder
    with tempfile.TemporaryDirectory(prefix="dlpo-tui-clips-") as clips:
        attachment.store = Path(clips)
        bridge = bridged(attachment)
        log_path = here / "session.log" if here else None
        app = AttachedApp(bridge, attachment, sound, here or Path(clips), here is None, log_path)
        why = run_quietly(app, "attach", sound)
        bridge.drain()
        now = bridge.now  # what the bridge makes of a session that is left is no end of it
        attachment.leave()
        bridge.join(1.0)
    farewell(attachment, now)
    if why:
        tell(f"dlpo-tui: the screen failed; {why}")
    failed = now.ended is not None and now.ended.reason == "failed"
    return Exit.FAILED if why or failed else Exit.DONE


def farewell(attachment: Attachment, now: Snapshot) -> None:
    """What became of the session, and how to come back."""
    run = attachment.folder or f"--socket {attachment.path}"
    if now.ended is None:
        tell(f"the session goes on; dlpo-tui attach {run} comes back")
        return
    done = f"{now.update} update{'' if now.update == 1 else 's'}"
    tell(
        f"the session {now.ended.reason} after {done}"
        + (now.ended.error and f": {now.ended.error}")
    )
    if attachment.folder:
        tell(f"run    {attachment.folder}")
    if now.checkpoint and attachment.folder:
        tell(f"listen dlpo-tui listen {attachment.folder / now.checkpoint}")
