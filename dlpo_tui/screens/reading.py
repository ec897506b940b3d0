"""Pages to read: the help, made from the table of keys, and the whole log."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label

from dlpo_tui import formats
from dlpo_tui.keys import KEYS, Place, bindings
from dlpo_tui.widgets.sheet import Row, Sheet
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
    ("◂", "rollback", "the session went back here, with half the learning rate"),
    ("!", "alarm", "the reward rose while a judge fell"),
    ("●", "points", "an evaluation; its clips in the table"),
)


def keys_told(headings: Mapping[Place, str], without: tuple[str, ...] = ()) -> list[Row]:
    """Every key of these places, in order; `without`: beginnings of actions left out."""
    rows = []
    for place, heading in headings.items():
        rows.append(Row(Text(), Text(heading, "bold")))
        for key in KEYS:
            held_back = bool(without) and key.action.startswith(without)
            if key.where == place and key.help and key.shown and not held_back:
                rows.append(Row(Text(key.told, "bold"), Text(key.help)))
        rows.append(Row(Text(), Text()))
    return rows


def show_kept(app: App[None], name: str, page: Callable[[], Page]) -> None:
    """Shows a page that the app keeps under this name; made where it is not there yet."""
    if not app.is_screen_installed(name):
        app.install_screen(page(), name)
    app.push_screen(name)


def lay_out_kept(app: App[None], name: str, page: Callable[[], Page]) -> None:
    """Makes a page and lays it out unseen, so that it opens at once when it is asked for.

    To make one takes Textual some seven rounds of its loop, each of which waits for the
    interpreter beside a session that trains. Both calls change the stack at once: no key and no
    repaint comes in between.
    """
    if not app.is_screen_installed(name):
        show_kept(app, name, page)
        app.pop_screen()


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
            yield Sheet(self.content())
            yield Label("esc back", id="told")

    def content(self) -> list[Row]:
        """The page's rows, when it is opened."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.query_one(Sheet).focus()

    def on_screen_resume(self) -> None:
        """A page that was kept begins at its top; what it has drawn already is not drawn again."""
        self.query_one(Sheet).scroll_home(animate=False)

    def action_scroll(self, by: int) -> None:
        self.query_one(Sheet).scroll_relative(y=by, animate=False)


class Help(Page):
    """Every key by place."""

    title_told = "Keys"

    def content(self) -> list[Row]:
        rows = keys_told(HEADINGS)
        rows.append(Row(Text(), Text("On the curves", "bold")))
        return rows + [Row(Text(sign), Text(told)) for sign, _, told in SIGNS]


class Log(Page):
    """Every line of the log, as of its opening, the newest first."""

    title_told = "Log"

    def __init__(self, log: Callable[[], tuple[Line, ...]]) -> None:
        super().__init__()
        self.log_lines = log

    def on_screen_resume(self) -> None:
        self.query_one(Sheet).put(self.content())

    def content(self) -> list[Row]:
        colours = self.app.theme_variables
        inks = {"info": "", "warning": colours["warning"], "error": colours["error"]}
        return [
            Row(Text(str(line.update), "dim"), Text(formats.plain(line.text), inks[line.level]))
            for line in reversed(self.log_lines())
        ]
