"""A long page: two columns, wrapped, scrolled, drawn no further than it is seen."""

from __future__ import annotations

import pytest
from rich.text import Text
from textual.app import App, ComposeResult
from textual.selection import SELECT_ALL

from dlpo_tui.widgets.sheet import Row, Sheet


class Shown(App[None]):
    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.sheet = Sheet(rows)

    def compose(self) -> ComposeResult:
        yield self.sheet


def row(name: str, told: str) -> Row:
    return Row(Text(name), Text(told))


async def test_a_long_row_goes_on_below_itself() -> None:
    app = Shown([row("a", "one two three"), row("long", "4")])
    async with app.run_test(size=(14, 5)):
        assert app.sheet.plain() == ["   a  one two", "      three", "long  4"]


async def test_another_width_breaks_the_rows_anew() -> None:
    app = Shown([row("a", "one two three")])
    async with app.run_test(size=(14, 5)) as pilot:
        await pilot.resize_terminal(40, 5)
        await pilot.pause()
        assert app.sheet.plain() == ["a  one two three"]


async def test_without_names_there_is_one_column_and_a_word_too_long_is_cut_in_two() -> None:
    app = Shown([row("", "x" * 15)])
    async with app.run_test(size=(10, 5)):
        assert app.sheet.plain() == ["x" * 10, "x" * 5]


async def test_only_what_is_seen_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = Sheet.render_line

    def noted(self: Sheet, y: int) -> object:
        drawn.append(y + self.scroll_offset.y)
        return draw(self, y)

    monkeypatch.setattr(Sheet, "render_line", noted)
    app = Shown([row(str(n), "line") for n in range(1000)])
    async with app.run_test(size=(20, 5)) as pilot:
        await pilot.pause()
        assert set(drawn) == set(range(5))
        app.sheet.scroll_end(animate=False)
        await pilot.pause()
        assert max(drawn) == 999
        assert len(set(drawn)) <= 10


async def test_what_is_selected_can_be_copied() -> None:
    app = Shown([row("a", "one"), row("b", "two")])
    async with app.run_test(size=(20, 5)) as pilot:
        app.screen.selections = {app.sheet: SELECT_ALL}
        await pilot.pause()
        assert app.screen.get_selected_text() == "a  one\nb  two"
        ink = app.screen.get_component_rich_style("screen--selection")
        first = app.sheet.render_line(0)
        assert any(s.style and s.style.bgcolor == ink.bgcolor for s in first)


async def test_a_name_is_not_markup() -> None:
    app = Shown([row("[b]", "[red]no[/red]")])
    async with app.run_test(size=(30, 5)):
        assert app.sheet.plain() == ["[b]  [red]no[/red]"]
