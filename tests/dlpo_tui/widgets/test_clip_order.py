"""The order of clips, and those that stand out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import scenes

from dlpo_tui.widgets.clip_order import Order, arranged, best, following, most_changed, names
from engine.messages import Clip, ClipsScored, Snapshot

DICE = random.Random(3)
CLIPS = tuple(clip for update in range(1, 7) for clip in scenes.clips_of(update, DICE))
STARTED = scenes.STARTED


def rows(name: str, reverse: bool = False) -> list[Clip]:
    return arranged(CLIPS, Order(name, reverse), lambda clip: True, STARTED)


def test_newest_first_and_the_other_way() -> None:
    assert rows("update") == list(reversed(CLIPS))
    assert rows("update", True) == list(CLIPS)


@pytest.mark.parametrize(
    ("name", "falls"),
    [
        ("reward", True),
        ("advantage", True),
        ("distillmos", True),
        ("wer", False),
        ("seconds", True),
    ],
)
def test_the_best_come_first_what_is_missing_last(name: str, falls: bool) -> None:
    def read(clip: Clip) -> float | None:
        return clip.scores[name] if name in clip.scores else getattr(clip, name)

    for reverse in (False, True):
        values = [read(clip) for clip in rows(name, reverse)]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=falls != reverse)
        assert all(value is None for value in values[len(known) :])
        assert len(values) == len(CLIPS)
        assert Order(name, reverse).falls(STARTED) is (falls != reverse)


def test_words_go_by_the_alphabet() -> None:
    told = [clip.prompt.lower() for clip in rows("prompt")]
    assert told == sorted(told)
    assert not Order("speaker").falls(STARTED)


def test_equals_keep_the_newest_first() -> None:
    assert rows("speaker") == list(reversed(CLIPS))
    same = [clip for clip in rows("seconds") if clip.index == 0]
    assert [clip.update for clip in same] == sorted((c.update for c in same), reverse=True)


def test_the_filter_comes_first() -> None:
    few = arranged(CLIPS, Order("reward"), lambda clip: clip.update == 2, STARTED)
    assert {clip.update for clip in few} == {2}


def test_every_column_comes_in_turn() -> None:
    order, seen = Order(), []
    for _ in names(STARTED):
        seen.append(order.name)
        order = following(order, STARTED)
    assert order == Order()
    assert seen == [
        *("update", "prompt", "speaker", "seconds", "reward"),
        *("distillmos", "wer", "cer", "loudness", "advantage"),
    ]
    assert following(Order("gone"), STARTED) == Order()


def test_best_and_worst_go_by_the_reward() -> None:
    rewards = [clip.reward for clip in CLIPS if clip.reward is not None]
    found = best(CLIPS), best(CLIPS, worst=True)
    assert [clip.reward for clip in found if clip] == [max(rewards), min(rewards)]
    assert best([]) is None
    assert best([replace(CLIPS[0], reward=None)]) is None


def evaluated(*updates: int) -> Snapshot:
    return scenes.fold([STARTED, *(ClipsScored(u, scenes.evaluation_clips(u)) for u in updates)])


def test_the_most_changed_may_have_got_worse() -> None:
    now = evaluated(0, 10, 20)
    found = most_changed(now.clips, now)
    assert found is not None
    assert (found[0].update, found[0].index) == (20, 3)
    assert found[1] == pytest.approx(0.8)
    second = [clip for clip in now.clips if clip.index == 1]
    found = most_changed(second, now)
    assert found is not None
    assert found[1] == pytest.approx(-0.4)


def test_without_a_reward_the_first_score_is_compared() -> None:
    now = evaluated(0, 10)
    bare = [replace(clip, reward=None) for clip in now.clips]
    found = most_changed(bare, replace(now, first=tuple(bare[:4])))
    assert found is not None
    assert found[1] == pytest.approx(0.4)


def test_rollouts_and_other_prompts_are_compared_with_nothing() -> None:
    now = evaluated(0)
    assert most_changed((*CLIPS, *now.clips), now) is None
    other = replace(scenes.evaluation_clips(10)[0], prompt="Another.")
    assert most_changed([other], now) is None
