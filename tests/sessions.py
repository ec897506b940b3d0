"""Tiny sessions run in this process: begun, gone on with, and what they said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from engine import journal
from engine import messages as m
from engine import profile as profiles
from engine.reopening import reopen
from engine.session import Session

React = Callable[[m.Event, Session], None]


@dataclass
class Ran:
    """A session that has ended."""

    session: Session
    events: list[m.Event] = field(default_factory=list)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def folder(self) -> Path:
        return self.session.folder

    @property
    def ended(self) -> m.SessionEnded:
        """The last event, and the only one of its kind."""
        (end,) = self.of(m.SessionEnded)
        assert self.events[-1] is end
        return end

    @property
    def notices(self) -> str:
        return "\n".join(event.sentence for event in self.of(m.Noticed))

    @property
    def weights(self) -> dict[str, Tensor]:
        return self.session.voice.model.state_dict()


def ran(
    profile: profiles.Profile,
    folder: Path,
    react: React | None = None,
    before: m.Snapshot | None = None,
) -> Ran:
    def emit(event: m.Event) -> None:
        done.events.append(event)
        if react:
            react(event, done.session)

    done = Ran(Session(profile, folder, emit, before))
    done.session.run()
    return done


def begun(profile: Path, folder: Path, *changes: str, react: React | None = None) -> Ran:
    """A new session in a new folder, from a profile's file."""
    settings = profiles.load(profile, changes)
    for name in ("samples", "checkpoints"):
        (folder / name).mkdir(parents=True)
    (folder / "profile.json").write_text(json.dumps(journal.plain(settings)))
    return ran(settings, folder, react)


def gone_on(folder: Path, *changes: str, react: React | None = None) -> Ran:
    """The session that goes on in a folder."""
    settings, before = reopen(folder, changes)
    return ran(settings, folder, react, before)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())
