"""What the soak's verdict makes of figures that grow, and of some that do not."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.journal import Journal
from engine.thinning import MOST
from tests.tools.golden import EVENTS


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", Path(__file__).with_name("soak.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


def samples(**growing: float) -> list[dict[str, float]]:
    """Forty samples 250 updates apart; what is named grows by so much with each."""
    steady = {
        "rss_mib": 500.0, "handles": 12, "threads": 9, "states": 2, "rollout_clips": 400,
        "history": 1500, "evaluations": 500, "clips": 2000, "replay_seconds": 0.5,
    }  # fmt: skip
    rows = []
    for at in range(1, 41):
        row = {name: value + growing.get(name, 0.0) * at for name, value in steady.items()}
        journal = 3000.0 * 250 * at * (1 + growing.get("journal", 0.0) * at)
        rows.append({"update": 250 * at, "journal_bytes": journal, **row})
    return rows


def test_what_does_not_grow_is_fine(soak: ModuleType) -> None:
    told = soak.verdict(samples())
    assert soak.fine(told), told
    assert told["rss_mib"]["per_10000_updates"] == 0.0


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("rss_mib", 0.5), ("handles", 0.1), ("threads", 1), ("states", 1), ("history", MOST / 30),
        ("rollout_clips", 1), ("evaluations", MOST / 20), ("clips", 1), ("journal", 0.01),
    ],
)  # fmt: skip
def test_what_grows_is_found(soak: ModuleType, name: str, by: float) -> None:
    told = soak.verdict(samples(**{name: by}))
    assert not soak.fine(told)
    (wrong,) = (key for key, row in told.items() if any(v is False for v in row.values()))
    assert wrong.startswith(name)


def test_memory_is_not_judged_before_a_snapshot_is_full(soak: ModuleType) -> None:
    told = soak.verdict(samples(rss_mib=0.5)[:8])
    assert told["rss_mib"]["flat"] is None
    assert soak.fine(told)


def test_progress_is_counted_as_the_journal_grows(soak: ModuleType, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    progress = soak.Progress(journal.folder / "events.jsonl")
    assert progress.read() == 0
    for event in EVENTS[:-1]:
        journal.write(event)
    assert (progress.read(), progress.ended) == (3, False)
    journal.file.write('{"kind": "UpdateFin')
    journal.file.flush()
    assert progress.read() == 3
    journal.close()
    (tmp_path / "events.jsonl").write_text('{"kind": "SessionEnded"}\n')
    other = soak.Progress(tmp_path / "events.jsonl")
    other.read()
    assert other.ended


@pytest.mark.slow
def test_a_short_soak_runs(soak: ModuleType) -> None:
    said: list[str] = []
    soak.main(["--updates", "8", "--samples", "4"], said.append)
    report = json.loads(said[0])
    assert [row["update"] >= 2 for row in report["samples"]]
    assert report["samples"][-1]["threads"] > 1
