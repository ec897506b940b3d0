from __future__ import annotations

from dlpo_tui.children import Outcome
from dlpo_tui.study_lines import StudyLines
from engine import messages as m


def stats(reward: float | None = 3.0) -> m.UpdateStats:
    interval = None if reward is None else m.Interval(reward, reward, reward, 1)
    return m.UpdateStats(0.0, interval, None, None, 1.0, 0.0, 0.0, 1.0, 0, 0, 0.0, {})


class Told:
    def __init__(self, **updates: int) -> None:
        self.seconds = 0.0
        self.lines: list[str] = []
        self.bar: list[tuple[int, int, str]] = []
        self.now = StudyLines(
            updates, self.lines.append, lambda *now: self.bar.append(now), lambda: self.seconds
        )


def test_a_log_has_the_first_update_each_tenth_and_the_end() -> None:
    told = Told(a=40, b=40)
    told.now.hear("a", m.PhaseEntered(0, "loading"))
    told.now.hear("a", m.PhaseEntered(0, "rollout"))
    for update in range(1, 41):
        told.seconds += 30
        told.now.hear("a", m.UpdateFinished(update, stats()))
    told.now.left("a", Outcome(True))
    assert told.lines[:3] == [
        "a  begins",
        "a  update 1 of 40  reward 3.00  about 40 min left",
        "a  update 4 of 40  reward 3.00  about 38 min left",
    ]
    assert len(told.lines) == 1 + 1 + 10 + 1
    assert told.lines[-1] == "a  finished  (1 of 2 runs)"
    assert told.bar[-1] == (40, 80, "")


def test_a_bar_counts_what_all_runs_have_and_says_who_is_at_what() -> None:
    told = Told(a=2, b=3)
    for run, phase in (("a", "rollout"), ("b", "loading"), ("a", "score")):
        told.now.hear(run, m.PhaseEntered(0, phase))
    told.now.hear("b", m.PhaseProgressed(0, "loading", 1, 2))
    told.now.hear("a", m.UpdateFinished(1, stats()))
    assert told.bar[-1] == (1, 5, "a score, b loading")


def test_what_was_there_already_is_no_speed() -> None:
    told = Told(a=10)
    told.now.hear("a", m.PhaseEntered(0, "loading"))
    told.now.hear("a", m.SessionResumed(8, 10, m.Knobs()))
    told.seconds = 60.0
    told.now.hear("a", m.UpdateFinished(9, stats(None)))
    assert told.lines[1:] == [
        "a  goes on after update 8",
        "a  update 9 of 10  about 60 s left",
    ]


def test_warnings_alarms_and_failures_are_told() -> None:
    told = Told(a=2, b=2, c=2)
    told.now.hear("a", m.Noticed(0, "info", "all is well"))
    told.now.hear("a", m.Noticed(0, "warning", "distillmos stands in for utmos"))
    told.now.hear("a", m.AlarmRaised(1, "the reward rose"))
    told.now.hear("a", m.MicrobatchHalved(1, "rollout", 2, "the memory did not suffice"))
    told.now.hear("a", m.RolledBack(0, 1, "back from update 1 to 0"))
    told.now.left("a", Outcome(False, "the disk is full"))
    told.now.left("b", Outcome(False))
    assert told.lines == [
        "a  distillmos stands in for utmos",
        "a  update 1: the reward rose",
        "a  the memory did not suffice",
        "a  back from update 1 to 0",
        "a  failed: the disk is full  (1 of 3 runs)",
        "b  stopped",
    ]
