"""The first line of the screen: what it keeps at every width."""

from __future__ import annotations

from dataclasses import replace

import pytest
import scenes
from conftest import Stager

from engine.messages import PhaseEntered, UpdateFinished


@pytest.mark.parametrize(
    ("width", "alarm", "facts"),
    [
        (60, False, "  dlpo · cpu · fp32 · 1.2 GB "),
        (60, True, "  cpu · fp32 "),
        (80, False, "  dlpo · bundled · cpu · fp32 · 1.2 GB "),
        (80, True, "  dlpo · cpu · fp32 · 1.2 GB "),
        (120, True, "  dlpo · bundled · cpu · fp32 · 1.2 GB "),
    ],
)
async def test_device_precision_and_memory_stay_longest(
    stage: Stager, width: int, alarm: bool, facts: str
) -> None:
    async with stage(scenes.running(30 if alarm else 20), size=(width, 24)) as at:
        assert facts in at.lines()[0]
        assert "…" not in at.lines()[0]
        assert ("! alarm at 30" in at.lines()[0]) == alarm


async def test_a_badge_leaves_room_for_the_device(stage: Stager) -> None:
    async with stage([*scenes.running(), PhaseEntered(40, "paused")], size=(80, 24)) as at:
        assert "  cpu · fp32 " in at.lines()[0]
        assert at.lines()[0].endswith(" PAUSED  ")


async def test_unknown_memory_is_left_out(stage: Stager) -> None:
    events = [
        replace(e, stats=replace(e.stats, memory_bytes=None))
        if isinstance(e, UpdateFinished)
        else e
        for e in scenes.running(3)
    ]
    async with stage(events) as at:
        assert "cpu · fp32  " in at.lines()[0]
