from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.rewards import fetching, registry


def quiet(done: int, total: int) -> None:
    del done, total


def test_what_can_be_fetched_is_what_may_be_missing_and_each_states_its_licence() -> None:
    assert fetching.FETCHERS.keys() == registry.WEIGHTS_MISSING.keys() == fetching.LICENCES.keys()
    assert "CC BY-NC-SA 4.0" in fetching.LICENCES["nisqa"]
    assert "not for commercial" in fetching.LICENCES["nisqa"]


def test_a_model_without_a_file_of_its_own_has_nothing_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^distillmos has no weights to fetch; .*: nisqa, utmos"):
        fetching.fetch("distillmos", None, quiet)
    with pytest.raises(ValueError, match="'nisca'; did you mean 'nisqa'"):
        fetching.check_fetchable("nisca")


def test_weights_that_could_not_be_used_are_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(ValueError, match=r"torchmetrics, .*pip install 'dlpo-tui\[judges\]'"):
        fetching.fetch("nisqa", tmp_path / "nisqa.tar", quiet)
