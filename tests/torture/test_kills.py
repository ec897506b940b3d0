"""The kill campaign in short; `make torture` is the whole of it."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.xdist_group("kills")  # one unbroken session for all


@pytest.fixture(scope="module")
def kills() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kills", Path(__file__).with_name("kills.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kills"] = module  # where a dataclass looks up its names
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def whole(kills: ModuleType, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return kills.unbroken(tmp_path_factory.mktemp("kills") / "unbroken")


def test_a_session_killed_and_killed_again_ends_as_one_that_never_was(
    kills: ModuleType, whole, tmp_path: Path
) -> None:
    tally = kills.Tally()
    kills.Chain(tmp_path / "chain", whole, random.Random("5"), tally).go(2)
    assert tally.counts["kills"] == 2
    assert tally.clean, tally.report()


def test_the_campaign_notices_what_differs(kills: ModuleType, whole, tmp_path: Path) -> None:
    """A copy of the unbroken run is clean; less one clip, one event and one state, it is not."""
    tally = kills.Tally()
    chain = kills.Chain(tmp_path / "chain", whole, random.Random(0), tally)
    chain.folder = Path(shutil.copytree(whole.folder, tmp_path / "copy"))
    chain.compare()
    assert tally.clean, tally.report()
    next((chain.folder / "samples").iterdir()).unlink()
    text = (chain.folder / "events.jsonl").read_bytes()
    lines = text.splitlines(keepends=True)
    chain.journal = text
    last = max(i for i, line in enumerate(lines) if b'"UpdateFinished"' in line)
    (chain.folder / "events.jsonl").write_bytes(b"".join(lines[:last] + lines[last + 1 :]))
    kills.saved(chain.folder)[0].unlink()
    chain.compare()
    wrong = {what for what in kills.WRONG if tally.counts[what]}
    assert wrong == {"lost events", "weights differing", "folds differing", "clips differing"}
