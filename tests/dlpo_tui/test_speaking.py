"""The worker of `listen`: an order of work, ways out, and nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studios import TIMESTEPS, Desk

from dlpo_tui.speaking import Speaking
from dlpo_tui.speech_settings import Settings
from dlpo_tui.takes import Listening

QUIET = Settings(scores=False)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def speaking(desk: Desk) -> Iterator[Speaking]:
    made = Speaking(lambda tell: desk)
    made.start()
    yield made
    desk.gate.set()
    assert made.close(30)


def until(speaking: Speaking, so: Callable[[Listening], bool]) -> Listening:
    """Drains until what is to be drawn is so."""
    waited = threading.Event()
    for _ in range(3000):
        speaking.drain()
        if so(speaking.now):
            return speaking.now
        waited.wait(0.01)
    raise AssertionError(speaking.now)


def idle(now: Listening) -> bool:
    """Everything that was asked for is said and scored."""
    return all(
        u.state in ("cancelled", "failed")
        or (u.takes and (not u.settings.scores or len(u.takes["A"].scores) == 3))
        for u in now.utterances
    )


def test_a_sentence_becomes_a_take_with_its_scores(speaking: Speaking) -> None:
    assert speaking.say("Go on.", Settings(seed=4)) == 1
    now = until(speaking, lambda now: bool(now.utterances) and idle(now))
    (said,) = now.utterances
    assert (said.text, said.settings.seed, said.state) == ("Go on.", 4, "spoken")
    assert said.takes["A"].path.is_file()
    assert said.takes["A"].scores == {"loudness": 2.5, "clipping": 2.5, "distillmos": 2.5}
    assert [column.name for column in now.columns] == ["loudness", "clipping", "distillmos"]
    assert now.loading == ""


def test_the_next_sentence_is_said_before_the_first_is_scored(
    speaking: Speaking, desk: Desk
) -> None:
    desk.gate.clear()
    speaking.say("One.", Settings())
    assert desk.at_gate.wait(30)
    speaking.say("Two.", QUIET)
    desk.gate.set()
    until(speaking, lambda now: len(now.utterances) == 2 and idle(now))
    assert desk.done == [
        "said One.",
        "said Two.",
        "scored One. by loudness",
        "scored One. by distillmos",
    ]


def test_progress_is_told_per_timestep(speaking: Speaking, desk: Desk) -> None:
    desk.gate.clear()
    speaking.say("One.", QUIET)
    assert desk.at_gate.wait(30)
    now = until(speaking, lambda now: now.working is not None)
    assert now.working is not None
    assert now.working.progress == (0, TIMESTEPS)
    speaking.say("Two.", QUIET)
    speaking.drain()
    assert speaking.now.waiting == 1


def test_what_is_being_said_can_be_given_up_and_the_next_is_said(
    speaking: Speaking, desk: Desk
) -> None:
    desk.gate.clear()
    speaking.say("One.", QUIET)
    speaking.say("Two.", QUIET)
    speaking.say("Three.", QUIET)
    assert desk.at_gate.wait(30)
    assert speaking.cancel()
    assert speaking.cancel(), "the first that waits"
    desk.gate.set()
    now = until(speaking, lambda now: len(now.utterances) == 3 and idle(now))
    assert [u.state for u in now.utterances] == ["cancelled", "cancelled", "spoken"]
    assert not speaking.cancel()


def test_a_sentence_that_cannot_be_said_is_one_sentence(speaking: Speaking, desk: Desk) -> None:
    desk.broken = lambda text: ValueError("there is no word in it") if text == "?" else None
    speaking.say("?", QUIET)
    speaking.say("Go on.", QUIET)
    now = until(speaking, lambda now: len(now.utterances) == 2 and idle(now))
    assert now.utterances[0].error == "there is no word in it"
    assert now.utterances[1].state == "spoken"
    assert now.told == "there is no word in it"


def test_a_score_model_that_breaks_is_left_out_and_the_others_go_on(
    speaking: Speaking, desk: Desk
) -> None:
    desk.broken = lambda what: RuntimeError("it is gone") if what == "loudness" else None
    speaking.say("One.", Settings())
    until(speaking, lambda now: any("distillmos" in u.takes["A"].scores for u in now.utterances
                                    if u.takes))  # fmt: skip
    assert speaking.now.told == "loudness is left out from here on: it is gone"
    speaking.say("Two.", Settings())
    until(speaking, lambda now: len(now.utterances) == 2 and bool(now.utterances[1].takes)
          and "distillmos" in now.utterances[1].takes["A"].scores)  # fmt: skip
    assert not any("loudness" in told for told in desk.done)


def test_a_clip_that_a_model_cannot_score_has_none_and_says_why(
    speaking: Speaking, desk: Desk
) -> None:
    desk.failure = "loudness failed on clip 1 of 1: it is silent."
    speaking.say("One.", Settings())
    now = until(speaking, lambda now: bool(now.utterances) and idle(now))
    assert set(now.utterances[0].takes["A"].scores.values()) == {None}
    assert now.told == desk.failure


def test_models_that_are_not_here_are_told(speaking: Speaking, desk: Desk) -> None:
    desk.missing = ["nisqa needs a package"]
    speaking.say("One.", Settings())
    until(speaking, lambda now: now.told == "left out: nisqa needs a package")


def test_scores_that_are_not_wanted_any_more_are_dropped(speaking: Speaking, desk: Desk) -> None:
    def forget(what: str) -> None:
        if what == "loudness":
            speaking.forget_scores()

    desk.broken = forget
    speaking.say("One.", Settings())
    until(speaking, lambda now: bool(now.columns))
    speaking.say("Two.", QUIET)
    until(speaking, lambda now: len(now.utterances) == 2 and bool(now.utterances[1].takes))
    assert desk.done == ["said One.", "scored One. by loudness", "said Two."]


@pytest.mark.parametrize(
    ("error", "told", "refused"),
    [
        (ValueError("there is no checkpoint x"), "there is no checkpoint x", True),
        (RuntimeError("CUDA is gone"), "CUDA is gone", False),
        (SystemExit(3), "SystemExit: 3", False),
    ],
)
def test_what_cannot_be_opened_ends_it_in_one_sentence(
    error: BaseException, told: str, refused: bool
) -> None:
    def open_studio(tell: Callable[[str], None]) -> Desk:
        tell("torch")
        raise error

    speaking = Speaking(open_studio)
    speaking.start()
    now = until(speaking, lambda now: now.ended is not None)
    assert now.ended is not None
    assert (now.ended.sentence, now.ended.refused) == (told, refused)
    assert speaking.close(10)


def test_what_was_asked_for_while_loading_is_said_afterwards(desk: Desk) -> None:
    may_open = threading.Event()

    def open_studio(tell: Callable[[str], None]) -> Desk:
        tell("bundled")
        assert may_open.wait(30)
        return desk

    speaking = Speaking(open_studio)
    speaking.say("Early.", QUIET)
    speaking.start()
    speaking.start()
    until(speaking, lambda now: now.loading == "bundled")
    may_open.set()
    now = until(speaking, lambda now: bool(now.utterances) and idle(now))
    assert now.voices == desk.voices
    assert speaking.close(10)


def test_closing_leaves_what_is_being_said(speaking: Speaking, desk: Desk) -> None:
    desk.gate.clear()
    speaking.say("One.", Settings())
    speaking.say("Two.", Settings())
    assert desk.at_gate.wait(30)
    assert not speaking.close(0.01)
    desk.gate.set()
    assert speaking.close(30)
    assert desk.done == []


def test_a_worker_that_never_began_closes(desk: Desk) -> None:
    assert Speaking(lambda tell: desk).close(1)
