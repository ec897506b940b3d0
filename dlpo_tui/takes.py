"""What crosses between the screen of `listen` and its worker: takes, events, and their fold.

Standard library only; a missing number is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from dlpo_tui.speech_settings import Settings, VoiceFacts
from engine.messages import Column

Side: TypeAlias = Literal["A", "B"]
"""The voice asked for, and the one beside it."""
SIDES: tuple[Side, ...] = ("A", "B")
State: TypeAlias = Literal["queued", "speaking", "spoken", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Take:
    """One voice's clip of a sentence."""

    path: Path
    """As the voice made it."""
    level: Path
    """As it is played: as loud as its counterpart where there is one, else the same file."""
    seconds: float
    scores: dict[str, float | None] = field(default_factory=dict)
    """By column, as far as they are known; None where a model failed."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence with its settings, and what became of it."""

    number: int
    """From 1 on, in the order in which they were asked for."""
    text: str
    settings: Settings
    state: State = "queued"
    side: Side = "A"
    """The voice at work on it."""
    progress: tuple[int, int] = (0, 0)
    """(done, total) timesteps of that voice."""
    takes: dict[Side, Take] = field(default_factory=dict)
    error: str = ""
    """One sentence, where it failed."""


# --- Events: what the worker says ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loading:
    """Something is being loaded; empty: nothing is."""

    what: str


@dataclass(frozen=True, slots=True)
class VoicesOpened:
    voices: tuple[VoiceFacts, ...]
    """One or two; both with the speakers that they share."""


@dataclass(frozen=True, slots=True)
class Asked:
    number: int
    text: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class TimestepDone:
    number: int
    side: Side
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Spoken:
    number: int
    takes: dict[Side, Take]


@dataclass(frozen=True, slots=True)
class Cancelled:
    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    number: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Scored:
    number: int
    side: Side
    columns: tuple[Column, ...]
    scores: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence that a person should read: a score model that is not here, a failed score."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker cannot go on."""

    sentence: str
    refused: bool = False
    """On its input: mended there, it may be asked for again."""


TakeEvent: TypeAlias = (
    Loading | VoicesOpened | Asked | TimestepDone | Spoken | Cancelled | Failed | Scored | Told
    | Ended
)  # fmt: skip


# --- Their fold ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listening:
    """What the screen draws."""

    voices: tuple[VoiceFacts, ...] = ()
    loading: str = "the program's libraries"
    utterances: tuple[Utterance, ...] = ()
    """In the order in which they were asked for."""
    columns: tuple[Column, ...] = ()
    """Of the scores that have come so far."""
    told: str = ""
    ended: Ended | None = None

    def find(self, number: int) -> Utterance | None:
        """The utterance of this number."""
        return self.utterances[number - 1] if 0 < number <= len(self.utterances) else None

    @property
    def working(self) -> Utterance | None:
        """The one that is being spoken."""
        return next((u for u in self.utterances if u.state == "speaking"), None)

    @property
    def waiting(self) -> int:
        return sum(u.state == "queued" for u in self.utterances)


def advance(now: Listening, event: TakeEvent) -> Listening:  # noqa: C901 (one arm an event)
    """What is to be drawn after `event`; pure."""
    match event:
        case Loading(what):
            return replace(now, loading=what)
        case VoicesOpened(voices):
            return replace(now, voices=voices, loading="")
        case Asked(number, text, settings):
            return replace(
                now, utterances=(*now.utterances, Utterance(number, text, settings)), told=""
            )
        case TimestepDone(number, side, done, total):
            return changed(now, number, state="speaking", side=side, progress=(done, total))
        case Spoken(number, takes):
            return changed(now, number, state="spoken", takes=takes)
        case Cancelled(number):
            return changed(now, number, state="cancelled")
        case Failed(number, sentence):
            return replace(changed(now, number, state="failed", error=sentence), told=sentence)
        case Scored(number, side, columns, scores):
            names = {column.name for column in now.columns}
            more = tuple(column for column in columns if column.name not in names)
            return replace(with_scores(now, number, side, scores), columns=now.columns + more)
        case Told(sentence):
            return replace(now, told=sentence)
        case Ended():
            return replace(now, ended=event, loading="", told=event.sentence)


def changed(now: Listening, number: int, **changes: object) -> Listening:
    """One utterance with other fields."""
    return replace(
        now,
        utterances=tuple(
            replace(u, **changes) if u.number == number else u  # type: ignore[arg-type]
            for u in now.utterances
        ),
    )


def with_scores(
    now: Listening, number: int, side: Side, scores: dict[str, float | None]
) -> Listening:
    """More scores of one take."""
    utterance = now.find(number)
    take = utterance.takes.get(side) if utterance else None
    if utterance is None or take is None:
        return now
    take = replace(take, scores={**take.scores, **scores})
    return changed(now, number, takes={**utterance.takes, side: take})
