"""The panel of knobs: what is typed, what is turned, what is still pending."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import Stager
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui.widgets.knobs import turned
from engine.messages import (
    KNOB_RANGES,
    CommandRefused,
    Knobs,
    KnobsChanged,
    SessionEnded,
    SetKnobs,
    check_knobs,
)

SIZES = pytest.mark.parametrize("size", [(60, 20), (120, 40)])


@SIZES
async def test_a_word_is_no_value(stage: Stager, size: tuple[int, int]) -> None:
    async with stage(size=size) as at:
        await at.press("a", "enter", "a", "b", "c", "enter")
        assert "must be a number, not 'abc'" in at.text()
        assert "alpha" in at.text()
        assert at.app.run_screen.knobs.typed == "abc"
        await at.press("backspace", "backspace", "backspace", "2", "enter")
        assert "must be" not in at.text()
        assert at.commands() == [SetKnobs({"alpha": 2.0})]


@SIZES
@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("5000", "must lie between 0 and 1000, not at 5000"),
        ("-1", "must lie between 0 and 1000, not at -1"),
        ("nan", "must be a finite number, not nan"),
        ("inf", "must be a finite number, not inf"),
        ("", "must be a number, not ''"),
    ],
)
async def test_a_value_out_of_range_is_said_whole(
    stage: Stager, size: tuple[int, int], typed: str, told: str
) -> None:
    async with stage(size=size) as at:
        keys = ["minus" if c == "-" else c for c in typed]
        await at.press("b", "enter", *keys, "enter")
        panel = [line[:38] if size[0] == 120 else line for line in at.lines()]
        assert told in " ".join(" ".join(panel).split())
        assert at.commands() == []


async def test_a_digit_begins_a_value(stage: Stager) -> None:
    async with stage() as at:
        await at.press("b", "0", "full_stop", "5", "enter")
        assert at.commands() == [SetKnobs({"beta": 0.5})]


async def test_a_value_can_be_pasted_with_a_decimal_comma(stage: Stager) -> None:
    async with stage() as at:
        await at.press("a")
        from textual.events import Paste

        at.app.run_screen.knobs.post_message(Paste("1,5\n"))
        await at.press("enter")
        assert at.commands() == [SetKnobs({"alpha": 1.5})]


async def test_escape_keeps_the_value(stage: Stager) -> None:
    async with stage() as at:
        await at.press("a", "9", "escape")
        panel = at.app.run_screen.knobs
        assert panel.typed is None
        assert panel.has_focus
        assert at.commands() == []


async def test_while_typing_other_keys_do_not_act(stage: Stager) -> None:
    async with stage() as at:
        await at.press("a", "enter", *"spenxq?", "space")
        assert at.app.screen is at.app.run_screen
        assert at.lines()[-1].split() == ["enter", "set", "esc", "keep"]
        assert at.commands() == []


async def test_tab_gives_typing_up(stage: Stager) -> None:
    async with stage() as at:
        await at.press("a", "9", "tab")
        assert at.app.focused is not None
        assert at.app.focused.id == "clips"
        assert at.app.run_screen.knobs.typed is None


async def test_arrows_multiply_and_divide_from_the_pending_value(stage: Stager) -> None:
    async with stage() as at:
        await at.press("a", "right", "right", "left", "down", "left", "up", "up", "plus")
        assert at.commands() == [
            SetKnobs({"alpha": 1.25}),
            SetKnobs({"alpha": 1.56}),
            SetKnobs({"alpha": 1.25}),
            SetKnobs({"beta": 1.0}),
            SetKnobs({"max_grad_norm": 1.25}),
        ]


async def test_a_change_is_pending_until_the_session_says_so(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("a", "right")
        assert "1.25 pending" in at.text()
        knobs = Knobs(alpha=1.25, beta=1.25)
        await at.happen(KnobsChanged(40, "user", {"alpha": 1.0}, {"alpha": 1.25}, knobs))
        assert "pending" not in at.text()
        assert "at 40: alpha 1 → 1.25" in at.text()


async def test_one_row_marks_what_is_pending(stage: Stager) -> None:
    async with stage() as at:
        await at.press("a", "right")
        assert "alpha 1.25…" in at.text()


async def test_a_refused_change_is_given_up(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("a", "right")
        await at.happen(CommandRefused(40, "alpha is fixed in this run"))
        assert "pending" not in at.text()
        assert "alpha is fixed in this run" in at.text()


async def test_the_end_of_the_session_ends_what_is_pending(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("a", "right")
        await at.happen(SessionEnded(40, "stopped"))
        assert "pending" not in at.text()


@given(
    name=st.sampled_from(sorted(KNOB_RANGES)),
    share=st.floats(0, 1),
    by=st.sampled_from([-1, 1]),
)
def test_an_arrow_never_leaves_the_range(name: str, share: float, by: int) -> None:
    limits = KNOB_RANGES[name]
    value = limits.low + share * (limits.high - limits.low)
    assert check_knobs({name: turned(name, value, by)})


def test_zero_can_be_left_by_an_arrow() -> None:
    assert turned("alpha", 0.0, 1) == 0.01
    assert turned("alpha", 0.0, -1) == 0.0


def changed(old: dict[str, float], new: dict[str, float], who: str = "user") -> KnobsChanged:
    knobs = replace(Knobs(beta=1.25), **new)
    return KnobsChanged(40, who, old, new, knobs)


async def test_u_walks_back_through_the_changes(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:  # at 15, beta was turned from 1 to 1.25
        await at.press("a", "right", "escape", "u")
        assert "undone: alpha 1.25 → 1, from the next update on" in at.text()
        await at.happen(changed({"alpha": 1.0}, {"alpha": 1.25}))
        await at.happen(changed({"alpha": 1.25}, {"alpha": 1.0}, "undo"))
        assert "pending" not in at.text()
        await at.press("u")
        assert "undone: beta 1.25 → 1, from the next update on" in at.text()
        assert "1 pending" in at.text()
        await at.press("u")
        assert "no knob was turned: there is nothing to undo" in at.text()
        assert at.commands() == [
            SetKnobs({"alpha": 1.25}),
            SetKnobs({"alpha": 1.0}, "undo"),
            SetKnobs({"beta": 1.0}, "undo"),
        ]


async def test_u_undoes_what_another_terminal_turned(stage: Stager) -> None:
    async with stage() as at:
        await at.happen(changed({"learning_rate": 1e-5}, {"learning_rate": 1e-4}, "somebody"))
        await at.press("b", "u")
        assert at.commands() == [SetKnobs({"learning_rate": 1e-5}, "undo")]


async def test_a_refused_change_is_none_to_undo(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        await at.press("a", "right")
        await at.happen(CommandRefused(40, "alpha is fixed in this run"))
        await at.press("u")
        assert "undone: beta" in at.text()


@SIZES
async def test_after_the_end_nothing_is_pending(stage: Stager, size: tuple[int, int]) -> None:
    async with stage("finished", size=size) as at:
        await at.press("a", "right")
        assert "pending" not in at.text()
        assert "…" not in " ".join(line for line in at.lines() if "alpha" in line)
        assert "the session has ended" in at.text()
        await at.press("2", "enter", "escape", "escape", "u")
        assert "pending" not in at.text()
        assert at.app.run_screen.knobs.pending == {}
        assert at.session.told == []
