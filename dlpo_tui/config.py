"""The user's settings: a TOML file that only its user and `config init` write.

Loads no screen before there are keys to look up.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

THEMES = ("calm", "paper", "clear", "sixteen")
LOUDEST = 150
TEMPLATE = """\
# Settings of dlpo-tui's screens. What is left out, or commented out, is as shown.

# theme = "calm"        # calm (dark), paper (light), clear (for any colour vision), sixteen
# ascii = false         # true: no braille, boxes or arrows; by itself where there is no UTF-8

[sound]
# device = ""           # an output device by name, or a part of it; D on the screen lists them
# volume = 100          # per cent, 0 to 150

[keys]
# Another key for what a key does; commas part several. `dlpo-tui config show` lists all.
# pause = "P"
# alpha = "ctrl+a"
# charts.page-next = "ctrl+n"
"""


class ConfigError(ValueError):
    """A settings file that cannot be; one sentence."""


@dataclass(frozen=True, slots=True)
class Config:
    theme: str = ""
    """Empty: calm, or sixteen where the terminal has no more colours."""
    ascii: bool = False
    device: str = ""
    volume: int = 100
    keys: Mapping[str, str] = field(default_factory=dict)
    """Name of a key -> Textual's names of the keys, separated by commas."""


in_use = Config()
"""What the screens of this process go by."""


def use(config: Config) -> None:
    """From here on screens and their keys go by these settings."""
    global in_use
    in_use = config
    if config.keys:
        from dlpo_tui import keys

        keys.remap(config.keys)


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the file lies, whether or not it is there."""
    if named := environment.get("DLPO_TUI_CONFIG"):
        return Path(named)
    import platformdirs

    return platformdirs.user_config_path("dlpo-tui") / "config.toml"


def load(file: Path) -> Config:
    """The settings of a file; the defaults where there is none.

    Errors: ConfigError.
    """
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    try:
        return read(table)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def read(table: dict[str, Any]) -> Config:
    known(table, ("theme", "ascii", "sound", "keys"), "")
    sound = section(table, "sound")
    known(sound, ("device", "volume"), "sound.")
    theme, volume = table.get("theme", ""), sound.get("volume", 100)
    if theme and theme not in THEMES:
        near = get_close_matches(str(theme), THEMES, 1)
        mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(THEMES)}"
        raise ConfigError(f"there is no theme {theme!r}; {mend}")
    if not isinstance(table.get("ascii", False), bool):
        raise ConfigError(f"ascii must be true or false, not {table['ascii']!r}")
    if not isinstance(sound.get("device", ""), str):
        raise ConfigError(f"sound.device must be a name, not {sound['device']!r}")
    if isinstance(volume, bool) or not isinstance(volume, int) or not 0 <= volume <= LOUDEST:
        raise ConfigError(f"sound.volume must lie between 0 and {LOUDEST}, not at {volume!r}")
    wanted = flat(section(table, "keys"))
    if wanted:
        from dlpo_tui import keymap

        wanted = keymap.checked(wanted)
    return Config(theme, table.get("ascii", False), sound.get("device", ""), volume, wanted)


def section(table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{name} must be a table, [{name}], not {found!r}")
    return found


def known(table: Mapping[str, Any], names: tuple[str, ...], before: str) -> None:
    """Refuses a setting that there is none of."""
    for name in table:
        if name not in names:
            near = get_close_matches(name, names, 1)
            mend = f"did you mean {before}{near[0]}?" if near else f"there are {', '.join(names)}"
            raise ConfigError(f"there is no setting {before}{name}; {mend}")


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Dotted names, which TOML reads as tables, as names again."""
    found: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        elif isinstance(value, str):
            found[before + name] = value
        else:
            raise ConfigError(f'keys.{before}{name} must be a key, such as "p", not {value!r}')
    return found
