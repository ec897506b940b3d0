"""How a sentence is to be said: the settings, what may be typed for each, one press of an arrow.

Standard library only; knows no widget and no voice but what its facts say.
"""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

OWN = "own"
MOST_TIMESTEPS = 1000
LARGEST_SEED = 2**32 - 1
PACE = (0.25, 4.0)


@dataclass(frozen=True, slots=True)
class VoiceFacts:
    """What a screen knows of a voice."""

    source: str
    speakers: tuple[str, ...]
    timesteps: int
    """Of its own chain."""
    sample_rate: int
    """Hz"""
    eta: float | None = None
    """Of its own sampler; None: ancestral."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a sentence's sound follows from, but the voice."""

    timesteps: int | None = None
    """None: the voice's own."""
    eta: float | None = None
    """DDIM's noise share, 0 to 1; None: the voice's own sampler."""
    pace: float = 1.0
    """Above 1 is slower."""
    speaker: str = ""
    """Empty: the first."""
    seed: int = 0
    """Of the noise."""
    scores: bool = True
    """Whether the clip is scored after it is spoken."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings: its name, and what can be done with its value."""

    name: str
    read: Callable[[str, tuple[str, ...]], Any]
    """What was typed, the speakers -> the value; ValueError, one sentence."""
    turned: Callable[[Any, int, VoiceFacts | None], Any]
    """Value, +1 or -1, the voice -> the value after one press of an arrow."""
    told: Callable[[Any, VoiceFacts | None], str]


def read_timesteps(text: str, speakers: tuple[str, ...] = ()) -> int | None:
    if text in ("", OWN):
        return None
    count = whole(text, f"timesteps must be a whole number or {OWN}, not {text!r}")
    if not 1 <= count <= MOST_TIMESTEPS:
        raise ValueError(f"timesteps must lie between 1 and {MOST_TIMESTEPS}, not at {count}")
    return count


def read_eta(text: str, speakers: tuple[str, ...] = ()) -> float | None:
    if text in ("", OWN):
        return None
    return within("eta", text, 0.0, 1.0, f" or {OWN}")


def read_pace(text: str, speakers: tuple[str, ...] = ()) -> float:
    return within("pace", text, *PACE)


def read_seed(text: str, speakers: tuple[str, ...] = ()) -> int:
    seed = whole(text, f"seed must be a whole number, not {text!r}")
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must lie between 0 and {LARGEST_SEED}, not at {seed}")
    return seed


def read_speaker(text: str, speakers: tuple[str, ...] = ()) -> str:
    """The speaker's name as the voice spells it."""
    if text in speakers:
        return text
    folded = {name.casefold(): name for name in speakers}
    if text.casefold() in folded:
        return folded[text.casefold()]
    near = difflib.get_close_matches(text.casefold(), folded, n=1, cutoff=0.3)
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"there is {speakers[0]!r}"
    raise ValueError(f"there is no speaker {text!r}; {hint}")


def read_scores(text: str, speakers: tuple[str, ...] = ()) -> bool:
    if text.lower() not in ("on", "off"):
        raise ValueError(f"scores are on or off, not {text!r}")
    return text.lower() == "on"


def whole(text: str, otherwise: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(otherwise) from None


def within(name: str, text: str, low: float, high: float, also: str = "") -> float:
    """The number that a text is, where it lies between two bounds."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a number{also}, not {text!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must lie between {low:g} and {high:g}, not at {value:g}")
    return value


def turned_timesteps(value: int | None, by: int, facts: VoiceFacts | None) -> int | None:
    """From own to the numbers around it, and by one from there."""
    start = value if value is not None else facts.timesteps if facts else 10
    return min(max(start + by, 1), MOST_TIMESTEPS)


def turned_eta(value: float | None, by: int, facts: VoiceFacts | None) -> float | None:
    """own, 0, 0.1 ... 1: a ring would jump, so it ends at both ends."""
    if value is None:
        return 0.0 if by > 0 else None
    if value <= 0 and by < 0:
        return None
    return min(max(round(value + 0.1 * by, 3), 0.0), 1.0)


def turned_pace(value: float, by: int, facts: VoiceFacts | None) -> float:
    return min(max(round(value + 0.05 * by, 3), PACE[0]), PACE[1])


def turned_speaker(value: str, by: int, facts: VoiceFacts | None) -> str:
    names = facts.speakers if facts else ()
    if not names:
        return value
    at = names.index(value) if value in names else 0
    return names[(at + by) % len(names)]


def turned_seed(value: int, by: int, facts: VoiceFacts | None) -> int:
    return min(max(value + by, 0), LARGEST_SEED)


def told_timesteps(value: int | None, facts: VoiceFacts | None) -> str:
    if value is not None:
        return str(value)
    return f"{OWN} ({facts.timesteps})" if facts else OWN


def told_eta(value: float | None, facts: VoiceFacts | None) -> str:
    if value is not None:
        return f"{value:g}"
    if facts is None:
        return OWN
    return f"{OWN} (ancestral)" if facts.eta is None else f"{OWN} ({facts.eta:g})"


def told_speaker(value: str, facts: VoiceFacts | None) -> str:
    return value or (facts.speakers[0] if facts else "first")


SETTINGS: tuple[Setting, ...] = (
    Setting("timesteps", read_timesteps, turned_timesteps, told_timesteps),
    Setting("eta", read_eta, turned_eta, told_eta),
    Setting("pace", read_pace, turned_pace, lambda value, facts: f"{value:g}"),
    Setting("speaker", read_speaker, turned_speaker, told_speaker),
    Setting("seed", read_seed, turned_seed, lambda value, facts: str(value)),
    Setting(
        "scores",
        read_scores,
        lambda value, by, facts: not value,
        lambda value, facts: "on" if value else "off",
    ),
)


def with_value(settings: Settings, name: str, value: Any) -> Settings:
    return replace(settings, **{name: value})


def new_seed(settings: Settings) -> Settings:
    """Another seed, small enough to be read aloud."""
    fresh = random.SystemRandom().randrange(10_000)
    return replace(settings, seed=fresh if fresh != settings.seed else fresh + 1)


def brief(settings: Settings, facts: VoiceFacts | None) -> str:
    """The settings in few words: 10 t, seed 3; what stands at its usual value is left out."""
    count = settings.timesteps or (facts.timesteps if facts else None)
    parts = [f"{count} t" if count else ""]
    parts.append(f"eta {settings.eta:g}" if settings.eta is not None else "")
    parts.append(f"pace {settings.pace:g}" if settings.pace != 1.0 else "")
    several = facts is not None and len(facts.speakers) > 1
    parts.append(settings.speaker if several else "")
    parts.append(f"seed {settings.seed}")
    return " · ".join(part for part in parts if part)
