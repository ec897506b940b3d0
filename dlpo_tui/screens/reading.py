"""Pages to read: the help, made from the table of keys, and the whole log."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from dlpo_tui import formats
from dlpo_tui.keys import KEYS, Place, bindings
from engine.messages import Line

HEADINGS: dict[Place, str] = {
    "session": "The session",
    "clips": "In the clips",
    "asking": "In the filter, and in a snapshot's name",
    "knobs": "In the knobs",
    "typing": "While typing a value",
    "charts": "Charts",
    "choosing": "In the list of charts",
}
SIGNS = (
    ("▲", "knob", "a knob was changed"),
    ("┴", "checkpoint", "a checkpoint was saved"),
    ("!", "alarm", "the reward rose while a judge fell"),
    ("●", "points", "an evaluation; its clips in the table"),
)


class Page(ModalScreen[None]):
    """A titled box that scrolls."""

    CSS_PATH = "panels.tcss"
    BINDINGS = [  # noqa: RUF012 (Textual's own way)
        *bindings("reading"),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]
    title_told = ""

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="page"):
            yield Label(self.title_told, id="title")
            with VerticalScroll():
                yield Static(self.content())
            yield Label("esc back", id="told")

    def content(self) -> Any:
        """Something that rich can draw."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


class Help(Page):
    """Every key by place."""

    title_told = "Keys"

    def content(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        for place, heading in HEADINGS.items():
            table.add_row("", Text(heading, "bold"))
            for key in KEYS:
                if key.where == place and key.help and key.shown:
                    table.add_row(Text(key.told, "bold"), Text(key.help))
            table.add_row("", "")
        table.add_row("", Text("On the curves", "bold"))
        for sign, _, told in SIGNS:
            table.add_row(sign, told)
        return table


class Log(Page):
    """Every line of the log, as of now, the newest first."""

    title_told = "Log"

    def __init__(self, log: tuple[Line, ...]) -> None:
        super().__init__()
        self.log_lines = log

    def content(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        colours = self.app.theme_variables
        inks = {"info": "", "warning": colours["warning"], "error": colours["error"]}
        for line in reversed(self.log_lines):
            told = Text(formats.plain(line.text), inks[line.level])
            table.add_row(Text(str(line.update), "dim"), told)
        return table
