"""The small profiles as shipped, with their real voice, reward and judges, cut to one update."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine import audio, checkpoint, journal
from engine import messages as m
from engine import profile as profiles
from engine.diffusion.schedule import build
from engine.own_schedule import schedule_for
from engine.session import Session
from engine.synthesis import speak, utter
from engine.types import HOP

PROFILES = Path(__file__).parents[1] / "profiles"
SMALL = ("quickstart", "dlpo-small")
CUTS = (
    "train.updates=1",
    "rollout.batch=2",
    "rollout.group=2",
    "voice.pace=0.5",
    "evaluation.prompts=2",
    "device.device=cpu",
    "device.threads=1",
)


pytestmark = pytest.mark.xdist_group("end to end")  # one session for all


@pytest.fixture(scope="module", params=SMALL)
def ran(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Path, list[m.Event]]]:
    """The run's folder and what its session emitted."""
    threads = torch.get_num_threads()
    folder = tmp_path_factory.mktemp(request.param)
    profile = profiles.load(PROFILES / f"{request.param}.toml", CUTS)
    events: list[m.Event] = []
    Session(profile, folder, events.append).run()
    yield folder, events
    torch.set_num_threads(threads)


def of(events: list[m.Event], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def test_it_finishes_and_says_with_what(ran: tuple[Path, list[m.Event]]) -> None:
    _, events = ran
    (ended,) = of(events, m.SessionEnded)
    assert (ended.reason, ended.error, ended.update) == ("finished", "", 1)
    (started,) = of(events, m.SessionStarted)
    assert started.voice == "bundled"
    assert [column.name for column in started.rewards] == ["distillmos"]
    assert [column.name for column in started.judges] == ["wer", "cer", "loudness", "clipping"]
    assert not [e for e in of(events, m.Noticed) if e.level == "warning"]


def test_every_score_is_real_and_in_its_range(ran: tuple[Path, list[m.Event]]) -> None:
    _, events = ran
    clips = [clip for event in of(events, m.ClipsScored) for clip in event.clips]
    assert [clip.kind for clip in clips] == ["evaluation"] * 2 + ["rollout"] * 2 + [
        "evaluation"
    ] * 2
    for clip in clips:
        assert 1.0 <= clip.scores["distillmos"] <= 5.0
        assert clip.scores["wer"] >= 0.0
        assert clip.scores["cer"] >= 0.0
        assert -60.0 < clip.scores["loudness"] < 0.0
        assert 0.0 <= clip.scores["clipping"] <= 1.0
    one, other = (clip for clip in clips if clip.kind == "rollout")
    assert one.prompt == other.prompt
    assert one.reward == one.scores["distillmos"]
    assert one.reward != other.reward  # the two rollouts of the group are two clips
    assert (one.advantage > 0) == (one.reward > other.reward)
    assert one.advantage == pytest.approx(-other.advantage, abs=1e-4)


def test_the_clips_can_be_heard(ran: tuple[Path, list[m.Event]]) -> None:
    folder, events = ran
    for event in of(events, m.ClipsScored):
        for clip in event.clips:
            wave, rate = audio.read(folder / clip.path)
            assert rate == 22050
            assert len(wave) == round(clip.seconds * rate)
            assert len(wave) % HOP == 0
            assert 0.2 < clip.seconds <= 4.0
            assert float(wave.std()) > 1e-3


def test_the_update_starts_from_a_ratio_of_one_and_moves_the_policy_a_little(
    ran: tuple[Path, list[m.Event]],
) -> None:
    _, events = ran
    (finished,) = of(events, m.UpdateFinished)
    stats = finished.stats
    assert any("ratio is 1 before the first update" in e.sentence for e in of(events, m.Noticed))
    assert stats.ratio == pytest.approx(1.0, abs=m.Knobs().clip_range)
    assert stats.failed == stats.skipped == 0
    assert 0.0 < stats.penalty < 2.0
    assert stats.grad_norm > 0.0


def test_the_journal_replays_to_what_was_seen_live(ran: tuple[Path, list[m.Event]]) -> None:
    folder, events = ran
    live = m.Snapshot()
    for event in events:
        live = m.advance(live, event)
    assert journal.replay(folder) == live
    for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines():
        assert json.loads(line)["at"]


def test_the_checkpoint_is_a_voice_that_has_changed_and_speaks(
    ran: tuple[Path, list[m.Event]],
) -> None:
    folder, events = ran
    (saved,) = of(events, m.CheckpointSaved)
    voice, bundled = checkpoint.load(folder / saved.path), checkpoint.load("bundled")
    assert voice.card.about["parent"] == "bundled"
    assert voice.card.config == bundled.card.config
    assert voice.card.speakers == bundled.card.speakers
    after, before = (v.model.state_dict() for v in (voice, bundled))
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert all(key.startswith("decoder.") for key in moved)
    (clip,) = speak(voice, build(schedule_for(voice)), utter(voice.model, ["No."], 0, 1.0), 0)
    assert float(clip.std()) > 1e-3
