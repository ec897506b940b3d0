from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.study import plan
from engine.study.plan import Study
from tests.voices import write_methods, write_voice

MakeStudy = Callable[..., Study]


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    """A folder of three methods from a tiny voice: base, ddpo and dlpo."""
    return write_methods(
        tmp_path, write_voice(tmp_path / "voice.safetensors", ("anna", "kathleen"))
    )


@pytest.fixture
def make(tmp_path: Path, profiles: Path) -> MakeStudy:
    def study(*changes: str, seeds: tuple[int, ...] = (0, 1), out: str = "out") -> Study:
        return Study(tmp_path / out, plan.load_methods([profiles], changes), seeds)

    return study
