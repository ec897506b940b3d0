"""A user's keys: names of keys as people write them, checked against the table of keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from textual.keys import Keys, _character_to_key

from dlpo_tui.config import ConfigError
from dlpo_tui.keys import KEYS, Key, Place, pretty

TOGETHER: tuple[frozenset[Place], ...] = (
    frozenset({"session", "charts", "clips"}),
    frozenset({"session", "charts", "knobs"}),
    frozenset({"listen", "said"}),
    frozenset({"listen", "settings"}),
)
"""Places that hear a key at the same time: there, one key does one thing."""
HELD = ("ctrl", "shift", "alt")
FIXED = ("ctrl+c", "ctrl+q")
"""Ways out that no setting takes away."""


def checked(wanted: Mapping[str, str]) -> dict[str, str]:
    """The keys as Textual names them.

    Errors: ConfigError for a name, a key or a collision that cannot be.
    """
    names = {key.name: key for key in KEYS if key.action}
    found: dict[str, str] = {}
    for name, keys in wanted.items():
        if name not in names:
            near = get_close_matches(name, names, 1, 0.4)
            mend = f"did you mean {near[0]}?" if near else "`dlpo-tui config show` lists them"
            raise ConfigError(f"there is no key {name!r} to change; {mend}")
        found[name] = ",".join(normal(name, one) for one in split(keys))
    for name in found:
        collide(names[name], found)
    return found


def split(keys: str) -> list[str]:
    """The keys between commas; a comma alone is a key."""
    return [","] if keys.strip() == "," else [one.strip() for one in keys.split(",")]


def normal(name: str, key: str) -> str:
    """One key as Textual names it."""
    *held, last = (
        key.split("+") if key != "+" and not key.endswith("++") else [*key[:-2].split("+"), "+"]
    )
    held = [h for h in held if h]
    single = len(last) == 1 and last.isprintable()
    last = _character_to_key(last) if single else last.lower()
    told = "+".join([*held, last])
    named = re.fullmatch(r"[a-z]+(_[a-z]+)+|comma|minus|plus|slash|colon|at|semicolon", last)
    real = single or bool(named) or last in [k.value for k in Keys]
    if not last or not real or any(h not in HELD for h in held):
        raise ConfigError(
            f"keys.{name}: there is no key {key!r}; write it as p, P, f5, ctrl+p or space"
        )
    if told in FIXED:
        raise ConfigError(f"keys.{name}: {key} always leaves, and cannot be changed")
    return told


def collide(key: Key, found: Mapping[str, str]) -> None:
    """Refuses a key that would do two things in one place."""
    mine = found[key.name].split(",")
    reach = {key.where}.union(*(group for group in TOGETHER if key.where in group))
    for other in KEYS:
        if other.where not in reach or other is key or other.action == key.action:
            continue
        taken = found.get(other.name, other.keys).split(",")
        both = [one for one in mine if one in taken]
        if both:
            told = other.help or other.name
            raise ConfigError(
                f"keys.{key.name}: {pretty(both[0])} is {other.name} already ({told}); "
                "choose another, or move that one, too"
            )
