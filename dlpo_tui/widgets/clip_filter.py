"""What is typed to filter the clips: words and comparisons; draws nothing."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from dlpo_tui import formats
from engine.messages import Clip, SessionStarted

NUMBERS: dict[str, Callable[[Clip], float | None]] = {
    "update": lambda clip: clip.update,
    "clip": lambda clip: clip.index,
    "seed": lambda clip: clip.seed,
    "seconds": lambda clip: clip.seconds,
    "reward": lambda clip: clip.reward,
    "advantage": lambda clip: clip.advantage,
}
"""What every clip has; its scores come on top, by their names."""
SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
SIGN = re.compile(r"\s*(<=|>=|!=|<|>|=)=?\s*")


@dataclass(frozen=True, slots=True)
class Comparison:
    name: str
    sign: str
    limit: float

    def __call__(self, clip: Clip) -> bool:
        """A number that is missing compares with nothing."""
        read = NUMBERS.get(self.name)
        value = read(clip) if read else clip.scores.get(self.name)
        return value is not None and SIGNS[self.sign](value, self.limit)


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    """In small letters."""

    def __call__(self, clip: Clip) -> bool:
        """True where it stands in the prompt, the speaker's name or the kind."""
        return any(self.text in told.lower() for told in (clip.prompt, clip.speaker, clip.kind))


@dataclass(frozen=True, slots=True)
class Filter:
    """Lets a clip pass that fits every part."""

    text: str = ""
    parts: tuple[Word | Comparison, ...] = ()

    def __call__(self, clip: Clip) -> bool:
        return all(part(clip) for part in self.parts)


def parsed(text: str, started: SessionStarted | None, half: bool = False) -> Filter:
    """The filter that a text asks for; ValueError, one sentence, for a comparison that is off.

    `half`: it is half typed, and such a comparison is left out.
    """
    names = [*NUMBERS]
    if started is not None:
        names += [column.name for column in (*started.rewards, *started.judges)]
    parts = []
    for term in SIGN.sub(r"\1", text).split():
        try:
            parts.append(part(term, names))
        except ValueError:
            if not half:
                raise
    return Filter(text.strip(), tuple(parts))


def part(term: str, names: list[str]) -> Word | Comparison:
    found = SIGN.search(term)
    if found is None:
        return Word(term.lower())
    told, sign, value = term[: found.start()], found.group(1), term[found.end() :]
    known = {name.lower(): name for name in reversed(names)}
    if told.lower() not in known:
        near = difflib.get_close_matches(told.lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(names)}"
        raise ValueError(f"there is no number {formats.plain(told)!r}: {hint}")
    try:
        limit = float(value.replace(",", "."))
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        like = f"such as {told}{sign}{'0.3' if sign != '=' else '1'}"
        raise ValueError(f"{told}{sign} wants a number, {like}, not {formats.plain(value)!r}")
    return Comparison(known[told.lower()], sign, limit)
