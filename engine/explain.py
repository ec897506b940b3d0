"""What every key of a profile means: its type, default, choices and the string under its field.

Also which profiles there are. Standard library only; the meanings stand in the source of the
dataclasses themselves, so there is nothing here to keep in step.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from engine.messages import KNOB_RANGES, Knobs
from engine.profile import PretrainProfile, Profile, ProfileError

PROFILES = Path(__file__).parents[1] / "profiles"
FOLDERS = (Path("profiles"), Path("profiles/paper"), PROFILES, PROFILES / "paper")
"""Where profiles lie: beside the user, then beside the source."""

TAKES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
TAKES_MANY = {str: "texts", int: "whole numbers", float: "numbers"}


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    """Dotted, as --set takes it: train.updates."""
    takes: str
    """The kind of value, in words."""
    default: str
    """As TOML."""
    choices: tuple[str, ...]
    """Empty where any value of the kind may do."""
    meaning: str
    """One paragraph, with the unit."""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    """Empty: the keys before any [section]."""
    meaning: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A profile that lies somewhere."""

    name: str
    about: str
    """The file's first comment line; empty where it has none."""
    path: Path


def sections(kind: type[Profile] | type[PretrainProfile]) -> tuple[Section, ...]:
    """Every key of a profile of this kind, by section; the top level first."""
    default, hints = kind(), get_type_hints(kind)
    nested = [f.name for f in fields(kind) if is_dataclass(hints[f.name])]
    top = Section("", summary(kind), tuple(keys(default, "", nested)))
    parts = [
        Section(name, summary(hints[name]), tuple(keys(getattr(default, name), f"{name}.")))
        for name in nested
    ]
    return (top, *parts)


def keys(default: Any, prefix: str, without: Iterable[str] = ()) -> Iterable[Key]:
    """The keys of one dataclass, in the order of its fields."""
    hints, told = get_type_hints(type(default)), meanings(type(default))
    for field in fields(default):
        if field.name in without:
            continue
        meaning = told.get(field.name, "")
        if isinstance(default, Knobs):
            limits = KNOB_RANGES[field.name]
            meaning += f" From {limits.low:g} to {limits.high:g}."
        hint, value = hints[field.name], getattr(default, field.name)
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        yield Key(prefix + field.name, takes(hint), toml(value), choices, meaning)


def meanings(kind: type) -> dict[str, str]:
    """Field -> the string under it in the source, on one line; fields without one are left out."""
    body = definition(kind).body
    return {
        field.target.id: " ".join(under.value.value.split())
        for field, under in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(under, ast.Expr)
        and isinstance(under.value, ast.Constant)
        and isinstance(under.value.value, str)
    }


def summary(kind: type) -> str:
    """The first paragraph of a class's docstring in its source; empty where it has none."""
    told = ast.get_docstring(definition(kind)) or ""
    return " ".join(told.split("\n\n")[0].split())


def definition(kind: type) -> ast.ClassDef:
    """A class as it stands in its module's source."""
    (found,) = (n for n in classes(kind.__module__) if n.name == kind.__name__)
    return found


@cache
def classes(module: str) -> tuple[ast.ClassDef, ...]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return tuple(node for node in tree.body if isinstance(node, ast.ClassDef))


def takes(hint: Any) -> str:
    """A field's type -> the kind of value that TOML has for it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of"
    if origin is tuple:
        return f"list of {TAKES_MANY[args[0]]}"
    if origin is Mapping:
        return f"{TAKES_MANY[args[1]]} by name"
    return TAKES[hint]


def toml(value: Any) -> str:
    """A value as it is written in a profile."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {toml(v)}" for key, v in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(v) for v in value)}]"
    return repr(value)


def find(known: tuple[Section, ...], name: str) -> tuple[Section, ...]:
    """The part of the sections that a name means: a section, a dotted key, or a key's last word.

    Errors: ProfileError, which names the nearest key or section.
    """
    whole = tuple(section for section in known if section.name == name)
    if whole and name:
        return whole
    parts = tuple(
        Section(section.name, section.meaning, kept)
        for section in known
        if (kept := tuple(k for k in section.keys if name in (k.name, k.name.split(".")[-1])))
    )
    if parts:
        return parts
    every = [k.name for section in known for k in section.keys]
    names = [*every, *(section.name for section in known if section.name)]
    short = {n.split(".")[-1]: n for n in every}
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    near = near or [short[n] for n in difflib.get_close_matches(name, short, n=1, cutoff=0.5)]
    hint = f"did you mean {near[0]!r}?" if near else "without a KEY every one is explained"
    raise ProfileError(f"a profile has no key {name!r}; {hint}")


def kind_of(table: Mapping[str, Any]) -> type[Profile] | type[PretrainProfile]:
    """What a profile is for, by its top-level keys; a session where both would do."""
    session, pretraining = (
        sum(f.name in table for f in fields(kind)) for kind in (Profile, PretrainProfile)
    )
    return PretrainProfile if pretraining > session else Profile


def chosen(profile: Profile | PretrainProfile, table: Mapping[str, Any]) -> dict[str, str]:
    """Dotted key -> value as TOML, of the keys that a profile's table sets itself."""
    found: dict[str, str] = {}
    for section in sections(type(profile)):
        here: Any = table.get(section.name, {}) if section.name else table
        part = getattr(profile, section.name) if section.name else profile
        for key in section.keys:
            last = key.name.split(".")[-1]
            if last in here:
                found[key.name] = toml(getattr(part, last))
    return found


def listed(folders: Iterable[Path] = FOLDERS) -> tuple[Listed, ...]:
    """The profiles in these folders, each file once, by name within a folder."""
    found: dict[Path, Listed] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.resolve(), Listed(path.stem, first_comment(path), path))
    return tuple(found.values())


def first_comment(path: Path) -> str:
    """The first line that is a comment, without its sign and its colon."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    told = (line.strip() for line in lines)
    return next((line.strip("# :") for line in told if line.startswith("#")), "")
