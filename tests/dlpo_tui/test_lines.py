from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dlpo_tui.lines import Lines, interval
from engine.messages import (
    AlarmRaised,
    CheckpointSaved,
    CommandRefused,
    EvaluationFinished,
    Event,
    Interval,
    Knobs,
    KnobsChanged,
    MicrobatchHalved,
    Noticed,
    PhaseEntered,
    PhaseProgressed,
    RolledBack,
    SessionEnded,
    SessionStarted,
    UpdateFinished,
    UpdateStats,
)

STARTED = SessionStarted(
    "a", "runs/a", "dlpo", 2, Knobs(), (), (), "bundled", "cpu", "fp32", 4, (3, 2), 22050
)
STATS = UpdateStats(
    loss=-0.0123,
    reward=Interval(3.25, 3.0, 3.5, 8),
    penalty=0.4567,
    kl=None,
    ratio=1.0002,
    ratio_spread=0.0131,
    clip_high=0.125,
    clip_low=0.0,
    grad_norm=2.5,
    failed=0,
    skipped=0,
    clamped=0.0,
    seconds={"rollout": 1.0, "score": 0.5, "optimise": 2.0},
)


def shown(*events: Event, quiet: bool = False, width: int = 200) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, soft_wrap=True)
    lines = Lines(console, quiet)
    for event in events:
        lines.show(event)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (STARTED, "update    0   dlpo on cpu, fp32; voice: bundled"),
        (PhaseEntered(0, "loading"), "loading the voice and the score models"),
        (PhaseEntered(3, "paused"), "update    3  paused"),
        (
            UpdateFinished(3, STATS),
            "update    3  reward 3.250 ±0.250  loss -0.0123  penalty 0.4567  "
            "ratio ±0.013  clip +12% -0%  grad 2.5  (3.5 s)",
        ),
        (
            EvaluationFinished(2, {"mos": Interval(3.0, 2.5, 3.5, 8), "wer": None}, 4.25),
            "update    2  held-out  mos 3.000 ±0.500  wer -  (4.2 s)",
        ),
        (
            KnobsChanged(1, "anna", {"alpha": 1.0}, {"alpha": 2.0}, Knobs(alpha=2.0)),
            "update    1   alpha 1 → 2 (anna)",
        ),
        (CheckpointSaved(2, "checkpoints/a.safetensors"), "update    2   saved checkpoints/a.saf"),
        (AlarmRaised(2, "fooled"), "update    2 ! fooled"),
        (CommandRefused(2, "no"), "update    2 ! no"),
        (RolledBack(2, 5, "back from update 5 to 2"), "update    2 ! back from update 5 to 2"),
        (MicrobatchHalved(2, "rollout", 1, "no room"), "update    2 ! no room"),
        (Noticed(2, "warning", "a stand-in"), "update    2 ! a stand-in"),
        (Noticed(2, "info", "the ratio is 1"), "update    2   the ratio is 1"),
        (SessionEnded(2, "finished"), "update    2   finished"),
        (SessionEnded(2, "failed", "the disk is full"), "update    2 ! the disk is full"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_event_that_a_reader_would_miss_is_one_line(event: Event, line: str) -> None:
    (only,) = shown(event)
    assert only.startswith(line)


@pytest.mark.parametrize("event", [PhaseEntered(1, "rollout"), PhaseProgressed(1, "rollout", 1, 4)])
def test_what_passes_is_not_a_line(event: Event) -> None:
    assert shown(event) == []


def test_failures_and_what_was_computed_are_told() -> None:
    stats = replace(STATS, reward=None, penalty=None, kl=0.002, failed=8, skipped=1)
    (line,) = shown(UpdateFinished(1, stats))
    assert "reward -" in line
    assert "penalty" not in line
    assert "kl 0.002" in line
    assert "failed 8" in line
    assert "weights left alone" in line


def test_what_looks_like_markup_is_printed_as_it_is() -> None:
    sentence = "[bold]no[/] :smile: [/nothing]"
    assert shown(Noticed(0, "info", sentence)) == [f"update    0   {sentence}"]


def test_long_lines_are_not_broken() -> None:
    assert len(shown(Noticed(0, "info", "word " * 100), width=40)) == 1


def test_quiet_prints_nothing_but_keeps_the_fold() -> None:
    out = io.StringIO()
    lines = Lines(Console(file=out), quiet=True)
    for event in (STARTED, UpdateFinished(1, STATS), SessionEnded(1, "finished")):
        lines.show(event)
    assert out.getvalue() == ""
    assert lines.now.update == 1
    assert lines.now.ended == SessionEnded(1, "finished")


def test_lines_still_come_when_the_log_is_full() -> None:
    many = [Noticed(i, "info", f"line {i}") for i in range(600)]
    assert len(shown(*many)) == 600


def test_an_interval_is_its_mean_and_half_its_width() -> None:
    assert interval(Interval(3.0, 2.5, 3.5, 8)) == "3.000 ±0.500"
    assert interval(None) == "-"
