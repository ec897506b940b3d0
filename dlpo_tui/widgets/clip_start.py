"""The same prompt and noise at the session's start: where it lies, how it scored; draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dlpo_tui.widgets.clip_order import first_of
from engine.messages import Clip, Snapshot


@dataclass(frozen=True, slots=True)
class Start:
    """What there is of a clip's start; empty where nothing is known of it."""

    path: str = ""
    """Relative to the run's folder; empty: there is no file, or none yet."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    reward: float | None = None
    awaited: bool = False
    """It was asked for and has not come."""

    def value(self, name: str) -> float | None:
        """A score; of "reward", the weighted sum."""
        return self.reward if name == "reward" else self.scores.get(name)


def start_of(clip: Clip | None, now: Snapshot, awaited: tuple[int, int] | None = None) -> Start:
    """Of an evaluation's clip that of update 0; of a rollout's what the session rendered.

    `awaited`: update and index of the rollout that is being rendered.
    """
    if clip is None:
        return Start()
    if clip.kind == "evaluation":
        first = first_of(clip, now)
        if first is None or first.update == clip.update:
            return Start()
        return Start(first.path, first.scores, first.reward)
    name = (clip.update, clip.index)
    for rendered in now.rendered:
        if (rendered.update, rendered.index) == name:
            return Start(rendered.path, rendered.scores, rendered.reward)
    return Start(awaited=name == awaited)
