"""How runs stand, from the ends of their journals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine import messages as m
from engine import run_states
from engine.journal import Journal
from engine.run_states import look, runs, updates_of
from tests.audience import Played

STATS = m.UpdateStats(
    loss=0.1, reward=m.Interval(3.25, 3.0, 3.5, 8), penalty=None, kl=None, ratio=1.0, clip_high=0.0,
    clip_low=0.0, grad_norm=1.0, failed=0, skipped=0, clamped=0.0, seconds={},
)  # fmt: skip
NO_REWARD = m.UpdateStats(**{**{n: getattr(STATS, n) for n in STATS.__slots__}, "reward": None})
PROFILE = (
    '[rollout]\nupdates = 7\n\n[train]\nalgorithm = "dlpo"\nupdates = 20\n\n[knobs]\nalpha = 1.0\n'
)


def written(folder: Path, *events: m.Event) -> Path:
    """A run that no process is at."""
    folder.mkdir(parents=True)
    (folder / "profile.toml").write_text(PROFILE)
    journal = Journal(folder)
    for event in events:
        journal.write(event)
    journal.close()
    return folder


UPDATED = (m.PhaseEntered(0, "rollout"), m.UpdateFinished(1, STATS))


@pytest.mark.parametrize(
    ("events", "state", "update"),
    [
        ((), "crashed", 0),
        (UPDATED, "crashed", 1),
        ((*UPDATED, m.PhaseEntered(1, "paused")), "crashed", 1),
        ((*UPDATED, m.SessionEnded(1, "finished")), "finished", 1),
        ((*UPDATED, m.SessionEnded(1, "stopped")), "stopped", 1),
        ((*UPDATED, m.SessionEnded(1, "failed", "the GPU is gone")), "failed", 1),
        ((*UPDATED, m.SessionEnded(1, "stopped"), m.PhaseEntered(0, "loading")), "crashed", 1),
        ((*UPDATED, m.SessionResumed(0, 20, m.Knobs())), "crashed", 0),
    ],
)
def test_a_run_that_is_over(
    tmp_path: Path, events: tuple[m.Event, ...], state: str, update: int
) -> None:
    run = look(written(tmp_path / "run", *events))
    assert (run.state, run.update, run.updates) == (state, update, 20)
    assert run.reward == (3.25 if events else None)
    assert run.error == ("the GPU is gone" if state == "failed" else "")
    assert not run.served


def test_a_run_at_work(tmp_path: Path) -> None:
    written(tmp_path / "run", *UPDATED)
    journal = Journal(tmp_path / "run")
    assert look(tmp_path / "run").state == "running"
    journal.write(m.PhaseEntered(1, "paused"))
    assert look(tmp_path / "run").state == "paused"
    journal.write(m.PhaseEntered(1, "rollout"))
    assert look(tmp_path / "run").state == "running"
    assert not look(tmp_path / "run").served
    journal.close()
    assert look(tmp_path / "run").state == "crashed"


def test_a_run_that_is_served_tells_who_is_there(tmp_path: Path) -> None:
    played = Played(tmp_path / "run")
    run = look(tmp_path / "run")
    assert (run.state, run.served, run.attached) == ("running", True, ())
    played.end()


def test_a_run_that_is_served_before_it_has_a_journal_is_running(tmp_path: Path) -> None:
    from engine.address import Claim

    (tmp_path / "profile.toml").write_text(PROFILE)
    claim = Claim(tmp_path)
    assert look(tmp_path).state == "running"
    claim.close()


def test_an_update_is_found_behind_a_long_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_states, "FIRST_BYTES", 64)
    long = [m.Noticed(3, "info", f"line {n}\u2028 of many") for n in range(500)]
    run = written(tmp_path / "run", m.UpdateFinished(3, STATS), *long)
    assert (look(run).update, look(run).reward) == (3, 3.25)
    with (run / "events.jsonl").open("a") as torn:
        torn.write('{"kind": "UpdateFin')
    assert look(run).update == 3


def test_an_update_whose_clips_all_failed_has_no_reward(tmp_path: Path) -> None:
    run = look(
        written(tmp_path / "run", m.UpdateFinished(1, STATS), m.UpdateFinished(2, NO_REWARD))
    )
    assert (run.update, run.reward) == (2, None)


def test_the_last_written_comes_first_and_those_at_work_before_all(tmp_path: Path) -> None:
    for age, name in enumerate(("newest", "older", "oldest")):
        written(tmp_path / name, *UPDATED, m.SessionEnded(1, "finished"))
        os.utime(tmp_path / name / "events.jsonl", (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "oldest")
    assert [run.name for run in runs(tmp_path)] == ["oldest", "newest", "older"]
    journal.close()
    assert [run.name for run in runs(tmp_path)] == ["newest", "older", "oldest"]
    assert runs(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "text", "updates"),
    [
        ("profile.toml", PROFILE, 20),
        ("profile.toml", "train.updates = 30\n", 30),
        ("profile.toml", "[rollout]\nupdates = 7\n", None),
        ("profile.toml", "no toml", None),
        ("profile.json", json.dumps({"train": {"updates": 40}}), 40),
        ("other", "", None),
    ],
)
def test_how_many_updates_there_are_to_be(
    tmp_path: Path, name: str, text: str, updates: int | None
) -> None:
    (tmp_path / name).write_text(text)
    assert updates_of(tmp_path) == updates


def test_what_the_profile_in_a_run_says_is_found_without_reading_all_of_it(tmp_path: Path) -> None:
    import tomli_w

    from engine import journal
    from engine import profile as profiles

    settings = profiles.load(Path(__file__).parents[2] / "profiles" / "quickstart.toml")
    text = tomli_w.dumps(journal.plain(settings))
    found = run_states.UPDATES.search(text)
    assert found is not None
    assert int(found[1]) == settings.train.updates
