"""The second line of the screen: what it holds at every width."""

from __future__ import annotations

from dataclasses import replace

import pytest
import scenes
from conftest import Stager

from engine.messages import PhaseEntered, PhaseProgressed, SessionEnded

STANDING_IN = replace(scenes.STARTED, stand_in="distillmos for utmos")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
async def test_a_stand_in_is_said_for_as_long_as_it_rewards(stage: Stager, width: int) -> None:
    running = [STANDING_IN, PhaseEntered(0, "rollout"), PhaseProgressed(0, "rollout", 3, 10)]
    for events in (running, [*scenes.running(3), *running], [*running, SessionEnded(0, "stopped")]):
        async with stage(events, size=(width, 24)) as at:
            told = at.lines()[1]
        assert "distillmos for utmos" in told
        assert "…" not in told


async def test_without_a_stand_in_nothing_is_said(stage: Stager) -> None:
    async with stage("running") as at:
        assert " for " not in at.lines()[1]
