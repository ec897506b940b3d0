"""What the terminal and the sound device can do, as findings; opens neither."""

from __future__ import annotations

import locale
import os
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from engine.doctor import Finding

GLYPHS = "⣀⣤⣶⣿⠉⠑⢄⡠ ▁▂▃▄▅▆▇█ ━ ± – …"
"""Braille curves, block bars and signs, as the screen draws them."""
SMALLEST = (80, 24)
"""Columns and rows that the session screen is made for."""


def look(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    return [terminal(environment), glyphs(environment), sound(environment)]


def terminal(environment: Mapping[str, str]) -> Finding:
    """Size and colours, as the environment tells them."""
    from engine.doctor import Finding

    columns, rows = shutil.get_terminal_size()
    kind = environment.get("TERM", "")
    colours = Console(force_terminal=True, _environ=environment).color_system or "none"
    values = {
        "columns": columns, "rows": rows, "term": kind, "colours": colours,
        "colorterm": environment.get("COLORTERM", ""), "tty": sys.stdout.isatty(),
    }  # fmt: skip
    told = f"{columns} x {rows}, TERM {kind or 'unset'}, colours: {colours}"
    if kind in ("", "dumb", "unknown"):
        mend = "run with --headless here, or in a terminal that sets TERM, such as xterm-256color"
        return Finding("terminal", "note", told, mend, values=values)
    if columns < SMALLEST[0] or rows < SMALLEST[1]:
        mend = f"the screen wants {SMALLEST[0]} x {SMALLEST[1]}: enlarge the window, or --headless"
        return Finding("terminal", "note", told, mend, values=values)
    if colours not in ("truecolor", "256"):
        mend = "the charts' colours want 256: set TERM=xterm-256color, or COLORTERM=truecolor"
        return Finding("terminal", "note", told, mend, values=values)
    return Finding("terminal", "ok", told, values=values)


def glyphs(environment: Mapping[str, str]) -> Finding:
    """Whether the locale has the screen's signs; whether its font has them only a person sees."""
    from engine.doctor import Finding

    encoding = (sys.stdout.encoding or locale.getencoding()).lower()
    named = next((v for n in ("LC_ALL", "LC_CTYPE", "LANG") if (v := environment.get(n))), "unset")
    values = {"encoding": encoding, "locale": named, "sample": GLYPHS}
    if "utf" not in encoding:
        told, mend = f"encoding {encoding}", "set a UTF-8 locale, such as LANG=C.UTF-8"
        return Finding("glyphs", "note", told, mend, values=values)
    return Finding("glyphs", "ok", f"{GLYPHS}  (boxes here: another font)", values=values)


def sound(environment: Mapping[str, str]) -> Finding:
    """The default output device; without one, clips are heard from their files."""
    from engine.doctor import Finding

    remote = " over SSH" if environment.get("SSH_CONNECTION") else ""
    mode = "the screen says where each clip's file lies"
    values: dict[str, object] = {"mode": "saved file", "device": None, "remote": bool(remote)}
    try:
        import sounddevice

        device = sounddevice.query_devices(kind="output")
    except ModuleNotFoundError:
        told, mend = "sounddevice is not installed", "pip install sounddevice"
    except OSError:
        told = "no PortAudio library"
        mend = f"install it, such as by apt install libportaudio2; without it {mode}"
    except Exception as error:
        # PortAudioError, or whatever a driver raises: a session goes on without sound.
        told = f"no output device{remote} ({type(error).__name__})"
        mend = f"connect one, or select a default output; without it {mode}"
    else:
        values |= {"mode": "device", "device": device["name"]}
        return Finding("sound", "ok", f"{device['name']}{remote}", values=values)
    return Finding("sound", "note", f"saved file: {told}", mend, values=values)
