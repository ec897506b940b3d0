"""`dlpo-tui profiles`: which there are, whether one is fine, what each key means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from dlpo_tui import completion
from dlpo_tui.console import Changes, Console, one_sentence, tell
from engine.visible import visible

if TYPE_CHECKING:
    from engine.explain import Key, Section
    from engine.profile import PretrainProfile, Profile

app = typer.Typer(invoke_without_command=True)


@app.callback()
def show(context: typer.Context) -> None:
    """List the profiles, check one, or explain what a key means."""
    if context.invoked_subcommand is not None:
        return
    from engine.explain import listed

    console = Console()
    found = listed()
    if not found:
        tell("there is no profile in profiles/; dlpo-tui profiles explain says what one may hold")
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        line = Text.assemble((one.name.ljust(width), "bold"), "  ", (str(shown(one.path)), "dim"))
        console.print(line, soft_wrap=True)
        if one.about:
            console.print(indented(one.about, "dim"))


def shown(path: Path) -> Path:
    """The path as it is shortest to type from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


@app.command()
def check(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOML, such as profiles/quickstart.toml.", autocompletion=completion.profile
        ),
    ],
    changes: Changes = [],  # noqa: B006
) -> None:
    """Say whether a profile is fine, or what is not, in one sentence."""
    from engine.profile import Profile

    with one_sentence():
        settings, _ = load(file, changes)
        if isinstance(settings, Profile):
            check_names(settings, file)
        use = "a session" if isinstance(settings, Profile) else "pretraining"
        typer.echo(visible(f"ok: {file} is a profile of {use}"))


def load(file: Path, changes: list[str]) -> tuple[Profile | PretrainProfile, dict[str, object]]:
    """The profile, of whichever kind its keys say, and the table it was read from."""
    from engine import profile as profiles
    from engine.explain import kind_of

    table = profiles.read(file, changes)
    if kind_of(table) is profiles.PretrainProfile:
        return profiles.load_pretrain(file, changes), table
    return profiles.load(file, changes), table


def check_names(settings: Profile, file: Path) -> None:
    """The scores, whose names the registry knows and a profile's types do not."""
    from engine.profile import ProfileError
    from engine.rewards import registry

    judges = (*settings.judges.models, *settings.judges.optional)
    try:
        for name in settings.reward.fallback:
            registry.model_of(name)
        registry.check_disjoint(settings.reward.models, judges)
    except ValueError as error:
        raise ProfileError(f"{file.name}: {error}") from None


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(help="Such as train.updates, or a section: rollout. All if left out.")
    ] = "",
    pretrain: Annotated[bool, typer.Option(help="The keys of a pretraining profile.")] = False,
    of: Annotated[
        Path | None, typer.Option("--of", metavar="FILE", help="Also what this profile sets.")
    ] = None,
) -> None:
    """Say what each key of a profile means, its type, its default and its choices."""
    from engine.explain import chosen, find, sections
    from engine.profile import PretrainProfile, Profile

    with one_sentence():
        kind: type[Profile] | type[PretrainProfile] = PretrainProfile if pretrain else Profile
        set_there: dict[str, str] = {}
        if of is not None:
            settings, table = load(of, [])
            kind = type(settings)
            set_there = chosen(settings, table)
        known = sections(kind)
        draw(find(known, key) if key else known, set_there)


def draw(sections: tuple[Section, ...], set_there: dict[str, str]) -> None:
    """Every key as it would stand in a profile, with its meaning under it."""
    console = Console()
    for at, section in enumerate(sections):
        if at:
            console.print()
        if section.name:
            console.print(Text(f"[{section.name}]", "bold"))
        if section.meaning:
            console.print(Text(section.meaning, "italic"))
        for key in section.keys:
            console.print(head(key, set_there.get(key.name)))
            if key.choices:
                console.print(indented("one of: " + ", ".join(key.choices), "dim"))
            console.print(indented(key.meaning))


def head(key: Key, value: str | None) -> Text:
    """`updates = 20`, the kind of value, and the default where the value is another."""
    line = Text.assemble((key.name, "bold"), f" = {value or key.default}")
    if value is not None and value != key.default:
        line.stylize("green", len(key.name))
        line.append(f"  default {key.default}", "dim")
    return line.append("" if key.choices else f"  {key.takes}", "dim")


def indented(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style), (0, 0, 0, 4), expand=False)
