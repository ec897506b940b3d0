"""`dlpo-tui doctor`: what this machine has for a session, and how fast one would be."""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dlpo_tui.console import Console, Exit, one_sentence, progress_bar
from dlpo_tui.formats import duration

if TYPE_CHECKING:
    import torch

    from engine.checkpoint import Voice
    from engine.doctor import Finding
    from engine.profile import Profile

SLOW_SECONDS = 60.0
"""An update past this is a long wait for a first look."""


def doctor(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    seconds: Annotated[
        float, typer.Option(help="Length of the speed test; 0: none.", min=0, max=600)
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Say what this machine has for a session, what is missing and how to mend it."""
    with one_sentence():
        from dlpo_tui import surroundings
        from engine import doctor as examination
        from engine.device import choose_device
        from engine.profile import DeviceSpec, Profile

        chosen = choose_device(DeviceSpec(device=device))
        with progress_bar("looking") as advance:
            found = []
            for finding in examination.look(chosen, Path(Profile().runs)):
                found.append(finding)
                advance(len(found), len(found), finding.name)
        found += surroundings.look()
        broken = any(finding.broken for finding in found)
        if seconds and not broken:
            found += speed(chosen, seconds)
        if as_json:
            typer.echo(json.dumps(plain(found)))
        else:
            draw(found)
    raise typer.Exit(Exit.FAILED if broken else Exit.DONE)


def speed(device: torch.device, seconds: float) -> list[Finding]:
    """Measures the bundled voice under the scores that a quickstart session has."""
    from dataclasses import asdict

    from engine import checkpoint
    from engine import speed as clock
    from engine.device import choose_dtype
    from engine.doctor import Finding
    from engine.profile import DeviceSpec
    from engine.rewards import registry

    settings = quickstart()
    with progress_bar("measuring") as advance:
        advance(0, 1, "loading the voice and the score models")
        voice = checkpoint.load("bundled", device)
        voice.model.decoder.compute_dtype = choose_dtype(DeviceSpec(), device)
        wanted = (*settings.reward.models, *settings.judges.models)
        names = dict.fromkeys(map(registry.model_of, wanted))
        models = [registry.load(n, str(device)) for n in names if not registry.missing(n)]
        told = clock.measure(voice, models, seconds, advance)
    update = clock.estimate(told, settings, mean_seconds(voice), device.type == "cpu")
    factor, rate = told.real_time_factor, told.scored_clips_a_second
    slow = update.total > SLOW_SECONDS
    mend = "smaller updates: --set rollout.batch=4 --set rollout.group=4; or close other programs"
    return [
        Finding(
            "speed.voice", "ok",
            f"real-time factor {factor:.2f}, {told.timesteps} timesteps on {device}",
            values=asdict(told),
        ),
        Finding(
            "speed.scores", "ok" if rate else "note",
            f"{rate:.1f} clips a second by {', '.join(told.models)}" if rate else "no score model",
            "" if rate else "install distillmos", values={"clips_a_second": rate},
        ),
        Finding(
            "speed.update", "note" if slow else "ok",
            f"about {duration(update.total)} for one update of {settings.name}",
            mend if slow else "", values={"profile": settings.name, **asdict(update)},
        ),
    ]  # fmt: skip


def quickstart() -> Profile:
    """The quickstart profile; the defaults where it is not at hand."""
    from engine.explain import listed
    from engine.profile import Profile, load

    found = [one.path for one in listed() if one.name == "quickstart"]
    return load(found[0]) if found else Profile(name="the default profile")


def mean_seconds(voice: Voice) -> float:
    """Mean length of a clip of the bundled training prompts."""
    from engine.assembly import prompt_texts
    from engine.synthesis import utter

    rate = voice.card.config.sample_rate
    lengths = [
        u.seconds(rate) for u in utter(voice.model, prompt_texts("bundled", 0, "", []), 0, 1.0)
    ]
    return sum(lengths) / len(lengths)


def plain(found: list[Finding]) -> dict[str, Any]:
    """One object: whether all that is needed is here, and every check by its stable name."""
    return {
        "ok": not any(finding.broken for finding in found),
        "checks": {
            f.name: {
                "state": f.state, "told": f.told, "mend": f.mend, "needed": f.needed,
                "values": dict(f.values),
            }
            for f in found
        },
    }  # fmt: skip


def draw(found: list[Finding]) -> None:
    """The table, then for each that is not ok one line on how to mend it, whole to copy."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without our signs is told of, not died
    console = Console()
    grid = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in found:
        grid.add_row(Text(finding.state, look(finding)), finding.name, Text(finding.told))
    console.print(grid)
    ill = [finding for finding in found if finding.mend]
    if ill:
        console.print()
    for finding in ill:
        line = Text.assemble((finding.name, look(finding)), f": {finding.mend}")
        console.print(line, soft_wrap=True)


def look(finding: Finding) -> str:
    if finding.broken:
        return "red"
    return "green" if finding.state == "ok" else "yellow"
