from __future__ import annotations

from pathlib import Path

import pytest

from engine import messages as m
from engine import ratio_check
from tests.sessions import Ran, begun
from tests.voices import write_profile, write_voice

pytestmark = pytest.mark.usefixtures("restored_threads")


def run(folder: Path) -> Ran:
    profile = write_profile(folder, write_voice(folder / "voice.safetensors"))
    return begun(profile, folder / "run", "train.updates=1")


def test_the_ratio_is_checked_before_the_first_look(tmp_path: Path) -> None:
    ran = run(tmp_path)
    told = [e for e in ran.of(m.Noticed) if "ratio is 1 before the first update" in e.sentence]
    assert len(told) == 1
    look = next(e for e in ran.of(m.PhaseEntered) if e.phase == "evaluate")
    assert ran.events.index(told[0]) < ran.events.index(look)


@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_ratio_that_is_not_one_ends_the_session_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    monkeypatch.setattr(ratio_check, "ratio_error", lambda *args: error)
    ran = run(tmp_path)
    assert ran.ended.reason == "failed"
    assert "the probability ratio is not 1 before the first update" in ran.ended.error
    assert ran.of(m.UpdateFinished) == []
