"""The weights that are separate files, by score model: on which terms, and what brings them.

The only place from which anything is downloaded, and only when a user asks for it. Loads
neither torch nor a model before `fetch` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.rewards.registry import SCORE_MODELS, package_missing, unknown_name

if TYPE_CHECKING:
    from engine.rewards.weights import Progress

    Fetcher = Callable[[Path | None, Progress], Path]


def _fetch_nisqa(source: Path | None, on_progress: Progress) -> Path:
    from engine.rewards import nisqa

    return nisqa.fetch(source, on_progress)


def _fetch_utmos(source: Path | None, on_progress: Progress) -> Path:
    from engine.rewards import utmos_weights

    return utmos_weights.fetch(source, on_progress)


def _fetch_whisper(source: Path | None, on_progress: Progress) -> Path:
    from engine.rewards import whisper

    return whisper.fetch(source, on_progress)


FETCHERS: dict[str, Fetcher] = {
    "nisqa": _fetch_nisqa,
    "utmos": _fetch_utmos,
    "whisper": _fetch_whisper,
}
"""Model name -> what brings its weights, from a file or the network, and returns where."""

LICENCES: dict[str, str] = {
    "nisqa": "NISQA's weights are CC BY-NC-SA 4.0 (Gabriel Mittag, TU Berlin): not for commercial "
    "use, and to be passed on under the same licence only",
    "utmos": "UTMOS22-strong's weights are MIT (Saruwatari and Koyama laboratory, converted by "
    "tarepan)",
    "whisper": "Whisper's weights are MIT (OpenAI, converted by Systran)",
}
"""Model name -> on which terms its weights come."""


def fetch(name: str, source: Path | None, on_progress: Progress) -> Path:
    """Brings a model's weights to where it looks for them; returns where.

    `source` is a file that its user has already; without one it is downloaded.

    Raises:
        ValueError: no model of this name has weights to fetch; or a package of its is not
            installed; or the weights cannot be had or kept.
    """
    check_fetchable(name)
    if why := package_missing(name):
        raise ValueError(why)
    return FETCHERS[name](source, on_progress)


def check_fetchable(name: str) -> None:
    """Raises ValueError where there is nothing to fetch under this name."""
    if name in SCORE_MODELS and name not in FETCHERS:
        raise ValueError(f"{name} has no weights to fetch; those that have: {', '.join(FETCHERS)}.")
    if name not in FETCHERS:
        raise unknown_name("score model to fetch", name, FETCHERS)
