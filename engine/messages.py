"""What crosses the thread: events out of the engine, commands into it, and their fold.

Standard library only, every field JSON-serialisable: importing this module must never
load torch, so that the terminal starts at once. A missing number is None, never NaN.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from engine.thinning import thinned

Phase: TypeAlias = Literal[
    "loading", "rollout", "score", "optimise", "evaluate", "save", "render", "paused", "ended"
]
Reason: TypeAlias = Literal["finished", "stopped", "failed"]

KEPT_CLIPS = 2000
"""Clips a snapshot holds; older ones stay in the journal."""
KEPT_LINES = 500
"""Log lines a snapshot holds."""
T = typing.TypeVar("T")

MOST = 10**100
"""No whole number of a message lies beyond it, on either side; a float can hold it."""
KEPT_MARKS = 1000
"""Marks of saved checkpoints and of alarms a snapshot holds; those of knobs stay, all of them."""


# --- Knobs ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Knobs:
    """Everything a person may turn while a session runs; applied between updates."""

    alpha: float = 1.0
    """Weight of the reward's advantage; in rwr the inverse temperature. Unitless."""
    beta: float = 1.0
    """Weight of the penalty: the model's own training loss l (dlpo, onlydl), or the KL to the
    starting voice (dpok, klinr). Unitless."""
    learning_rate: float = 1e-5
    """Step size of the optimiser (AdamW)."""
    clip_range: float = 0.1
    """PPO clip on the probability ratio, as |ratio - 1|, in the ratio form's unit."""
    max_grad_norm: float = 1.0
    """The gradient is scaled down to this Euclidean norm."""


@dataclass(frozen=True, slots=True)
class KnobRange:
    low: float
    high: float
    factor: float
    """One arrow key multiplies or divides by this."""


KNOB_RANGES: dict[str, KnobRange] = {
    "alpha": KnobRange(0.0, 1000.0, 1.25),
    "beta": KnobRange(0.0, 1000.0, 1.25),
    "learning_rate": KnobRange(0.0, 1.0, 1.25),
    "clip_range": KnobRange(1e-6, 1.0, 1.25),
    "max_grad_norm": KnobRange(1e-6, 1e6, 1.25),
}


def check_knobs(changes: dict[str, Any]) -> dict[str, float]:
    """Returns the changes as floats; ValueError, one sentence, for a name or value that is off."""
    checked: dict[str, float] = {}
    for name, value in changes.items():
        if name not in KNOB_RANGES:
            raise ValueError(f"there is no knob {name!r}; the knobs are {', '.join(KNOB_RANGES)}")
        limits = KNOB_RANGES[name]
        number = math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):  # a whole number past every float
                number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{name} must be a finite number, not {value!r}")
        if not limits.low <= number <= limits.high:
            raise ValueError(
                f"{name} must lie between {limits.low:g} and {limits.high:g}, not at {number:g}"
            )
        checked[name] = number
    return checked


# --- What events carry ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """One score of one model: what a chart or a table needs to draw it."""

    name: str
    """Such as distillmos, wer, loudness."""
    unit: str
    """Such as MOS, share, LUFS."""
    higher_is_better: bool | None = True
    """None: neither direction is an improvement by itself, as with loudness."""
    low: float | None = None
    """Where the axis starts, where the unit has an end."""
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over prompts or clips with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Clip:
    """One finished clip and every number about it."""

    update: int
    index: int
    """Place in its batch, 0 to B - 1."""
    kind: Literal["rollout", "evaluation"]
    prompt: str
    speaker: str
    seed: int
    """The session's seed; with `update` and `index` it names the noise."""
    seconds: float
    path: str
    """Of the audio file, relative to the run's folder; empty if none was written."""
    scores: dict[str, float | None]
    """Every reward and judge by column; None where the model failed."""
    reward: float | None = None
    """What the policy is trained on, the sum or ensemble; None where a score of it failed."""
    advantage: float | None = None
    """None for failures and for evaluation clips, which train nothing."""


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """Means over one update, ready to plot; no tensors."""

    loss: float
    """The algorithm's loss, mean over K x B."""
    reward: Interval | None
    """None when every clip failed."""
    penalty: float | None
    """The model's own training loss l (L1 or L2 on the noise); None where not computed."""
    kl: float | None
    """KL(policy || reference), nats summed over a clip; None where not computed."""
    ratio: float
    """Mean probability ratio; 1 before the first optimizer step of an update."""
    clip_high: float
    """Share of (timestep, rollout) pairs whose ratio stood above 1 + clip_range."""
    clip_low: float
    """Share below 1 - clip_range."""
    grad_norm: float
    """Before clipping."""
    failed: int
    """Clips masked because a reward failed."""
    skipped: int
    """Optimizer steps left out, or taken back, because a loss, a gradient, a weight or every clip
    was not finite."""
    clamped: float
    """Share of audio samples whose x_0 estimate met the clamp at [-1, 1]."""
    seconds: dict[str, float]
    """Wall time of rollout, score, optimise."""
    ratio_spread: float | None = None
    """Standard deviation of the log probability ratio over (timestep, rollout) pairs, nats in the
    ratio form's unit; None where no pair was computed."""
    memory_bytes: float | None = None
    """Most memory held so far: by the process on a CPU, by the device's allocator on CUDA; None
    where unknown."""


# --- Events: past tense; something has happened --------------------------------


@dataclass(frozen=True, slots=True)
class SessionStarted:
    run: str
    """The run's name."""
    folder: str
    """The run's folder."""
    algorithm: str
    updates: int
    knobs: Knobs
    rewards: tuple[Column, ...]
    judges: tuple[Column, ...]
    voice: str
    """Where the starting weights came from."""
    device: str
    precision: str
    timesteps: int
    """T, of the sampling chain."""
    kept: tuple[int, ...]
    """Timesteps that may be trained: {t : sigma_t >= sigma_min} within the window."""
    sample_rate: int
    """Hz"""
    stand_in: str = ""
    """Which score rewards in the place of the one the profile asks for, such as "distillmos for
    utmos"; empty: the one that was asked for."""
    parent: str = ""
    """The snapshot of another run that this one branched off; empty: none."""


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """The session goes on after `update`; what came later was lost and comes again."""

    update: int
    updates: int
    """How many there are to be in all."""
    knobs: Knobs


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The session goes on after `update`, from the weights of then; what came later ran away."""

    update: int
    reached: int
    """Updates that had been finished."""
    sentence: str


@dataclass(frozen=True, slots=True)
class MicrobatchHalved:
    """The memory did not suffice; what was under way begins again, fewer rows at a time."""

    update: int
    phase: Phase
    size: int
    """Rows of the phase's microbatches from now on."""
    sentence: str


@dataclass(frozen=True, slots=True)
class MicrobatchMeasured:
    """So many rows of a phase fit the memory at a time; measured where the profile left it open."""

    update: int
    phase: Phase
    size: int
    sentence: str


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    update: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class PhaseProgressed:
    update: int
    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ClipsScored:
    update: int
    clips: tuple[Clip, ...]


@dataclass(frozen=True, slots=True)
class ClipRendered:
    """A rollout as the starting voice speaks it: the same prompt, the same noise."""

    update: int
    """Of the rollout, with `index`."""
    index: int
    path: str
    """Of the audio file, relative to the run's folder."""
    scores: dict[str, float | None]
    """By the models that score rollouts; None where one failed."""
    reward: float | None = None
    """Sum or ensemble; None where a score of it failed."""


@dataclass(frozen=True, slots=True)
class UpdateFinished:
    update: int
    stats: UpdateStats


@dataclass(frozen=True, slots=True)
class EvaluationFinished:
    """Fixed prompts, fixed noise: reward and judges, comparable over the whole session."""

    update: int
    scores: dict[str, Interval | None]
    """By column, an ensemble's as "reward"; None where every clip failed."""
    seconds: float
    """Wall time."""


@dataclass(frozen=True, slots=True)
class KnobsChanged:
    update: int
    who: str
    old: dict[str, float]
    new: dict[str, float]
    knobs: Knobs
    """All of them, after the change."""


@dataclass(frozen=True, slots=True)
class CommandRefused:
    update: int
    sentence: str
    command: str = ""
    """Kind of the command, such as RenderStart; empty: a change of knobs."""


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    update: int
    path: str
    """Relative to the run's folder."""
    label: str = ""


@dataclass(frozen=True, slots=True)
class AlarmRaised:
    """The reward rises while a judge falls or the level runs away: it may have been fooled."""

    update: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something a person should know: a stand-in, a failed clip, a skipped step."""

    update: int
    level: Literal["info", "warning"]
    sentence: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    update: int
    reason: Reason
    error: str = ""
    """One sentence, where the reason is failed."""
    refused: bool = False
    """It failed on its input before anything began: mended there, it may be asked for again."""


Event: TypeAlias = (
    SessionStarted
    | SessionResumed
    | RolledBack
    | MicrobatchHalved
    | MicrobatchMeasured
    | PhaseEntered
    | PhaseProgressed
    | ClipsScored
    | ClipRendered
    | UpdateFinished
    | EvaluationFinished
    | KnobsChanged
    | CommandRefused
    | CheckpointSaved
    | AlarmRaised
    | Noticed
    | SessionEnded
)


# --- Commands: imperative; something is asked for ------------------------------


@dataclass(frozen=True, slots=True)
class SetKnobs:
    changes: dict[str, float]
    who: str = "user"


@dataclass(frozen=True, slots=True)
class Pause: ...


@dataclass(frozen=True, slots=True)
class Resume: ...


@dataclass(frozen=True, slots=True)
class SingleUpdate:
    """One update, then pause."""


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    label: str = ""


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Score the fixed prompts now."""


@dataclass(frozen=True, slots=True)
class RenderStart:
    """Speak a rollout again with the weights the session started from, by the same noise."""

    update: int
    index: int


@dataclass(frozen=True, slots=True)
class Stop:
    save: bool = True
    """Write a checkpoint of the last whole update before ending."""


Emit: TypeAlias = Callable[["Event"], None]
Send: TypeAlias = Callable[["Command"], None]
Progressing: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, what is at work)."""
Command: TypeAlias = (
    SetKnobs | Pause | Resume | SingleUpdate | SaveCheckpoint | Evaluate | RenderStart | Stop
)


# --- Snapshot: the fold of all events; what a screen draws ---------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to mark on every curve at an update."""

    update: int
    kind: Literal["knob", "checkpoint", "alarm", "rollback"]
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log."""

    update: int
    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    started: SessionStarted | None = None
    update: int = 0
    """Finished updates."""
    phase: Phase = "loading"
    progress: tuple[int, int] = (0, 0)
    """(done, total) within the phase; (0, 0) where unknown."""
    paused: bool = False
    knobs: Knobs = field(default_factory=Knobs)
    history: tuple[tuple[int, UpdateStats], ...] = ()
    """(update, stats), ascending; of a long session's past the extremes alone (`thinned`)."""
    evaluations: tuple[tuple[int, dict[str, Interval | None]], ...] = ()
    """(update, scores by column), ascending, thinned alike; update 0 is the start."""
    clips: tuple[Clip, ...] = ()
    """The latest KEPT_CLIPS, oldest first."""
    first: tuple[Clip, ...] = ()
    """The evaluation clips of update 0, which all later ones are compared with."""
    rendered: tuple[ClipRendered, ...] = ()
    """What the starting voice spoke again, oldest first."""
    turns: tuple[KnobsChanged, ...] = ()
    """Every change of knobs, oldest first."""
    marks: tuple[Mark, ...] = ()
    setbacks: tuple[RolledBack, ...] = ()
    """Since the session last got past where it had been."""
    microbatches: tuple[MicrobatchHalved | MicrobatchMeasured, ...] = ()
    """The last of each phase."""
    log: tuple[Line, ...] = ()
    """The latest KEPT_LINES, oldest first."""
    checkpoint: str = ""
    ended: SessionEnded | None = None


def advance(now: Snapshot, event: Event) -> Snapshot:  # noqa: C901 (one arm an event)
    """Returns the snapshot after `event`; pure, so live, attached and replayed views agree."""
    match event:
        case SessionStarted():
            return logged(
                replace(now, started=event, knobs=event.knobs),
                0,
                f"{event.algorithm} on {event.device}, {event.precision}; voice: {event.voice}",
            )
        case SessionResumed():
            return logged(resumed(now, event), event.update, "resumed")
        case RolledBack(update, _, sentence):
            now = replace(rewound(now, update), setbacks=(*now.setbacks, event))
            now = marked(now, Mark(update, "rollback", sentence))
            return logged(now, update, sentence, "warning")
        case MicrobatchHalved(update, _, _, sentence):
            return logged(sized(now, event), update, sentence, "warning")
        case MicrobatchMeasured(update, _, _, sentence):
            return logged(sized(now, event), update, sentence)
        case PhaseEntered(_, phase):
            return replace(now, phase=phase, progress=(0, 0), paused=phase == "paused")
        case PhaseProgressed(_, phase, done, total):
            return replace(now, phase=phase, progress=(done, total))
        case ClipsScored(_, clips):
            start = tuple(c for c in clips if c.kind == "evaluation" and c.update == 0)
            kept = without(now.clips, clips)[-KEPT_CLIPS:]
            return replace(now, clips=kept, first=start or now.first)
        case ClipRendered(update, index):
            before = (r for r in now.rendered if (r.update, r.index) != (update, index))
            return replace(now, rendered=(*before, event))
        case UpdateFinished(update, stats):
            return finished(now, update, stats)
        case EvaluationFinished(update, scores):
            old_scores = (e for e in now.evaluations if e[0] != update)
            return replace(now, evaluations=thinned((*old_scores, (update, scores)), leading))
        case KnobsChanged(update, who, old, new, knobs):
            told = ", ".join(f"{k} {old.get(k, 0.0):g} → {v:g}" for k, v in new.items())
            now = replace(now, knobs=knobs, turns=(*now.turns, event))
            return logged(marked(now, Mark(update, "knob", told)), update, f"{told} ({who})")
        case CommandRefused(update, sentence):
            return logged(now, update, sentence, "warning")
        case CheckpointSaved(update, path, label):
            now = marked(replace(now, checkpoint=path), Mark(update, "checkpoint", label or path))
            return logged(now, update, f"saved {path}")
        case AlarmRaised(update, sentence):
            now = marked(now, Mark(update, "alarm", sentence))
            return logged(now, update, sentence, "warning")
        case Noticed(update, level, sentence):
            return logged(now, update, sentence, level)
        case SessionEnded(update, reason, error):
            now = replace(now, phase="ended", paused=False, progress=(0, 0), ended=event)
            return logged(now, update, error or reason, "error" if error else "info")


def sized(now: Snapshot, event: MicrobatchHalved | MicrobatchMeasured) -> Snapshot:
    others = (one for one in now.microbatches if one.phase != event.phase)
    return replace(now, microbatches=(*others, event))


def without(old: tuple[Clip, ...], clips: tuple[Clip, ...]) -> tuple[Clip, ...]:
    """Both, and of a clip that comes again only the new one; `old` ascends by update."""
    first = min((clip.update for clip in clips), default=0)
    at = bisect_left(old, first, key=lambda clip: clip.update)
    again = {(c.kind, c.update, c.index) for c in clips}
    rest = (c for c in old[at:] if (c.kind, c.update, c.index) not in again)
    return (*old[:at], *rest, *clips)


def finished(now: Snapshot, update: int, stats: UpdateStats) -> Snapshot:
    """The snapshot after an update; a good one past where the session had been ends a setback."""
    got_past = not stats.skipped and all(update > one.reached for one in now.setbacks)
    history = thinned((*now.history, (update, stats)), rewarded, sloped)
    setbacks = () if got_past else now.setbacks
    return replace(now, update=update, history=history, setbacks=setbacks)


def rewarded(stats: UpdateStats) -> float | None:
    return stats.reward.mean if stats.reward else None


def sloped(stats: UpdateStats) -> float | None:
    return stats.grad_norm


def leading(scores: dict[str, Interval | None]) -> float | None:
    """The first column's mean, of those that have one."""
    return next((score.mean for score in scores.values() if score), None)


def marked(now: Snapshot, mark: Mark) -> Snapshot:
    """The snapshot with one mark more; what a resumed session says again is marked once."""
    if mark.kind == "knob":  # a change that is made again is another change
        return replace(now, marks=(*now.marks, mark))
    at = bisect_left(now.marks, mark.update, key=lambda one: one.update)
    marks = [*now.marks[:at], *(one for one in now.marks[at:] if one != mark), mark]
    alike = [at for at, one in enumerate(marks) if one.kind == mark.kind]
    if len(alike) > KEPT_MARKS:
        del marks[alike[0]]
    return replace(now, marks=tuple(marks))


def resumed(now: Snapshot, event: SessionResumed) -> Snapshot:
    """The snapshot as it was after `event.update`, without what was lost since."""
    started = now.started and replace(now.started, updates=event.updates)
    back = rewound(now, event.update)
    return replace(back, started=started, phase="loading", knobs=event.knobs, ended=None)


def rewound(now: Snapshot, kept: int) -> Snapshot:
    """The snapshot without what came after update `kept`; the knobs stay as they stand."""
    return replace(
        now,
        update=kept,
        progress=(0, 0),
        paused=False,
        history=tuple(h for h in now.history if h[0] <= kept),
        evaluations=tuple(e for e in now.evaluations if e[0] <= kept),
        clips=tuple(c for c in now.clips if c.update <= kept),
        rendered=tuple(r for r in now.rendered if r.update <= kept),
        turns=tuple(turn for turn in now.turns if turn.update <= kept),
        marks=tuple(mark for mark in now.marks if mark.update <= kept),
    )


def logged(
    now: Snapshot, update: int, text: str, level: Literal["info", "warning", "error"] = "info"
) -> Snapshot:
    return replace(now, log=(*now.log, Line(update, level, text))[-KEPT_LINES:])


# --- JSON -----------------------------------------------------------------------

KINDS: dict[str, type] = {kind.__name__: kind for kind in (*get_args(Event), *get_args(Command))}


def to_json(message: Event | Command) -> dict[str, Any]:
    """The message as JSON data; its class name under "kind"."""
    return {"kind": type(message).__name__, **asdict(message)}


def from_json(data: dict[str, Any]) -> Event | Command:
    """The inverse of `to_json`; ValueError, one sentence, for what is no message."""
    name = data.get("kind") if isinstance(data, dict) else None
    kind = KINDS.get(str(name))
    if kind is None:
        raise ValueError(f"{name!r} is no event or command")
    message: Event | Command = revived(kind, {k: v for k, v in data.items() if k != "kind"})
    return message


def revived(kind: type[T], data: dict[str, Any]) -> T:
    """A dataclass from JSON data, every field as its hint promises; ValueError, one sentence."""
    try:
        return typing.cast("T", revive(kind, data))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a broken {kind.__name__}: {error}") from None


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """A dataclass's type hints, worked out once: it is slow, and a journal holds thousands."""
    return get_type_hints(kind)


def revive(hint: Any, data: Any) -> Any:
    """JSON data -> the value its type hint promises (dataclasses, tuples, dicts, unions).

    TypeError or KeyError where it is not of that type: what a screen draws, it draws unasked.
    """
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        hints = hints_of(typing.cast("type", hint))
        rows = of(dict, data)
        return typing.cast("type", hint)(**{k: revive(hints[k], v) for k, v in rows.items()})
    if origin is tuple:
        items = data if type(data) is tuple else of(list, data)
        return tuple(revive(args[0], item) for item in items)
    if origin is dict:
        return {k: revive(args[1], v) for k, v in of(dict, data).items()}
    if origin in (types.UnionType, typing.Union):
        if data is None:
            return None
        return revive(next(a for a in args if a is not type(None)), data)
    if origin is Literal:
        if not isinstance(data, str) or data not in args:
            raise TypeError(f"{str(data)[:40]!r} is none of {', '.join(args)}")
        return data
    if hint is float:
        return number(data)
    if hint is int and not -MOST <= of(int, data) <= MOST:
        raise TypeError("a whole number too large to count with")
    return of(hint, data)


def of(kind: type[T], data: Any) -> T:
    """The data itself; TypeError where it is not of exactly this type."""
    if type(data) is not kind:
        raise TypeError(f"{type(data).__name__} where {kind.__name__} belongs")
    return data


def number(data: Any) -> float:
    """A finite number, as it is; TypeError for any other value."""
    if type(data) is not int and type(data) is not float:
        raise TypeError(f"{type(data).__name__} where a number belongs")
    fine = math.isfinite(data) if type(data) is float else -MOST <= data <= MOST
    if not fine:
        raise TypeError("a number that is not finite")
    return data
