"""Every key, once: what it does, what the key bar calls it, what the help says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from textual.binding import Binding, BindingType

Place: TypeAlias = Literal["session", "charts", "clips", "knobs", "typing", "quit", "reading"]


@dataclass(frozen=True, slots=True)
class Key:
    keys: str
    """As Textual names them, separated by commas."""
    shown: str
    """As a person reads them."""
    action: str
    """The method action_... of the screen or widget; empty where the widget reads keys itself."""
    label: str
    """In the key bar; empty: in the help alone."""
    help: str
    where: Place


# The order within a place is the key bar's order of importance: the last are the first to go.
KEYS: tuple[Key, ...] = (
    Key(
        "space", "space", "pause", "pause", "pause at the next safe point; again: go on", "session"
    ),
    Key("p", "p", "play", "play", "play the selected clip", "session"),
    Key("s", "s", "save", "snapshot", "save a checkpoint after this update", "session"),
    Key("a", "a", "knob('alpha')", "alpha", "to the knob alpha, the reward's weight", "session"),
    Key("b", "b", "knob('beta')", "beta", "to the knob beta, the penalty's weight", "session"),
    Key("n", "n", "single", "one update", "run one update, then pause", "session"),
    Key("e", "e", "evaluate", "evaluate", "score the fixed prompts now", "session"),
    Key("x", "x", "silence", "silence", "stop the sound", "session"),
    Key("tab", "tab", "app.focus_next", "", "from the clips to the knobs and back", "session"),
    Key("l", "l", "log", "log", "the whole log, every line in full", "session"),
    Key("question_mark,f1", "?", "help", "help", "this page", "session"),
    Key("q", "q", "ask", "quit", "quit; a running session asks first", "session"),
    Key("right_square_bracket", "]", "page(1)", "", "the next charts", "charts"),
    Key("left_square_bracket", "[", "page(-1)", "", "the charts before", "charts"),
    Key("z", "z", "zoom", "", "one chart alone; again: as many as fit", "charts"),
    Key("w", "w", "window", "", "how far back: all updates, the last 200, the last 50", "charts"),
    Key("up,k", "↑ ↓", "move(-1)", "", "the clip above, the clip below", "clips"),
    Key("down,j", "", "move(1)", "", "", "clips"),
    Key("pageup", "PgUp PgDn", "leap(-1)", "", "a page up, a page down", "clips"),
    Key("pagedown", "", "leap(1)", "", "", "clips"),
    Key("home", "Home", "newest", "", "the newest clip, and stay with the newest", "clips"),
    Key("end", "End", "oldest", "", "the oldest clip", "clips"),
    Key("enter", "enter", "screen.play", "play", "play the selected clip", "clips"),
    Key("right,plus", "← →", "turn(1)", "turn", "divide or multiply by 1.25", "knobs"),
    Key("left,minus", "", "turn(-1)", "", "", "knobs"),
    Key("down", "↑ ↓", "choose(1)", "choose", "the next knob, the one before", "knobs"),
    Key("up", "", "choose(-1)", "", "", "knobs"),
    Key("enter", "enter", "type", "type", "type a value; a digit begins, too", "knobs"),
    Key("escape", "esc", "screen.clips", "back", "back to the clips", "knobs"),
    Key("enter", "enter", "", "set", "set the value that was typed", "typing"),
    Key("escape", "esc", "", "keep", "keep the value as it was", "typing"),
    Key("escape,q,question_mark,l", "esc", "app.pop_screen", "back", "back", "reading"),
)


def bindings(*places: Place) -> list[BindingType]:
    """Textual's bindings of some places; the key bar draws the labels, not Textual's footer."""
    return [
        Binding(key.keys, key.action, key.label or key.help, show=False)
        for key in KEYS
        if key.where in places and key.action
    ]


def hints(*places: Place) -> list[Key]:
    """The keys to draw in the bar, the most important first."""
    return [key for place in places for key in KEYS if key.where == place and key.label]
