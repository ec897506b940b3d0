"""The noise schedule a voice speaks by: what its own card says, for so many timesteps.

A card's `about` may hold `schedule`, the one that the voice was trained on, and `schedules`, the
best that were found for it, by number of timesteps. Knows no session and no command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine import profile as profiles
from engine.checkpoint import Voice
from engine.diffusion.schedule import MANUAL_8
from engine.profile import Profile, ProfileError, ScheduleSpec

FIXED = ("manual8", "betas")
"""Kinds of schedules whose number of timesteps is not free."""


def schedule_for(voice: Voice, timesteps: int | None = None) -> ScheduleSpec:
    """The voice's schedule of so many timesteps, or its own number of them; never of kind "voice".

    The card's `schedule` where it has that many timesteps; else the entry of `schedules`; else
    `schedule` again, with its timesteps replaced unless its kind is FIXED; else the default.

    Errors: ProfileError, one sentence, for a card that says what is no schedule.
    """
    found = voice.card.about.get("schedules", {})
    own = voice.card.about.get("schedule")
    spec = read(voice, own) if own is not None else None
    if spec is not None and timesteps in (None, chain_length(spec)):
        return spec
    wanted = timesteps or ScheduleSpec().timesteps
    if not isinstance(found, Mapping):
        raise ProfileError(f"the card of {voice.source} has schedules that are no table")
    if str(wanted) in found:
        return read(voice, found[str(wanted)])
    if spec is None:
        spec = ScheduleSpec("respaced")
    return spec if spec.kind in FIXED else checked(voice, replace(spec, timesteps=wanted))


def resolve(spec: ScheduleSpec, voice: Voice) -> ScheduleSpec:
    """A profile's schedule, with "voice" replaced by what it stands for."""
    return schedule_for(voice, spec.timesteps) if spec.kind == "voice" else spec


def chain_length(spec: ScheduleSpec) -> int:
    """T of the chain that `build` makes of it."""
    lengths = {"manual8": len(MANUAL_8), "betas": len(spec.betas)}
    return lengths.get(spec.kind, spec.timesteps)


def read(voice: Voice, told: Any) -> ScheduleSpec:
    """A schedule as a card holds it; one that names no kind is respaced."""
    if not isinstance(told, Mapping):
        raise ProfileError(f"the card of {voice.source} has a schedule that is no table")
    spec = profiles.build(ScheduleSpec, told, voice.source)
    return checked(voice, replace(spec, kind="respaced") if spec.kind == "voice" else spec)


def checked(voice: Voice, spec: ScheduleSpec) -> ScheduleSpec:
    return profiles.check(Profile(schedule=spec), voice.source).schedule
