"""An idle screen is silent: over SSH and in tmux every byte is a repaint."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import repaint


@pytest.mark.parametrize("scene", ["running", "finished"])
def test_a_screen_on_which_nothing_happens_writes_nothing(scene: str) -> None:
    assert repaint.written(scene, settle=1.0, seconds=3.0) == 0
