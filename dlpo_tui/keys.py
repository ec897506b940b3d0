"""Every key, once: what it does, what the key bar calls it, what the help says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from textual.binding import Binding, BindingType

Place: TypeAlias = Literal[
    "session",
    "charts",
    "choosing",
    "clips",
    "knobs",
    "typing",
    "asking",
    "quit",
    "reading",
    "listen",
    "sentence",
    "settings",
    "said",
    "replay",
    "attached",
    "blind",
]


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

    @property
    def name(self) -> str:
        """In a user's settings: pause, alpha, charts.page-next."""
        action, _, argument = self.action.removesuffix(")").partition("(")
        action = action.removeprefix("screen.").removeprefix("app.").replace("_", "-")
        told = argument.strip("'")
        turned = {"1": "next", "-1": "previous", "0": "all"}.get(told, told)
        words = action if not told else turned if action == "knob" else f"{action}-{turned}"
        return words if self.where == "session" else f"{self.where}.{words}"

    @property
    def told(self) -> str:
        """As a person reads it on this screen: the user's own key, where there is one."""
        pair = [self, *(key for key in KEYS if self.shown and self.pairs_with(key))]
        if not any(key.name in remapped for key in pair):
            return self.shown
        return " ".join(pretty(remapped.get(key.name, key.keys).split(",")[0]) for key in pair)

    def pairs_with(self, other: Key) -> bool:
        """Whether the other is the second half of this one, told of in one line with it."""
        here, there = self.action.partition("(")[0], other.action.partition("(")[0]
        return not other.shown and self.where == other.where and bool(here) and here == there


# The order within a place is the key bar's order of importance: the last are the first to go.
KEYS: tuple[Key, ...] = (
    Key(
        "space", "space", "pause", "pause", "pause at the next safe point; again: go on", "session"
    ),
    Key("p", "p", "play", "play", "play the selected clip", "session"),
    Key("v", "v", "detail", "detail", "all about the clip, and its sound to see", "session"),
    Key("r", "r", "start", "start", "the same prompt and noise at the start, or now", "session"),
    Key("s", "s", "save", "snapshot", "save a checkpoint after this update", "session"),
    Key("S", "S", "name", "", "save one under a name", "session"),
    Key("a", "a", "knob('alpha')", "alpha", "to the knob alpha, the reward's weight", "session"),
    Key("b", "b", "knob('beta')", "beta", "to the knob beta, the penalty's weight", "session"),
    Key("n", "n", "single", "one update", "run one update, then pause", "session"),
    Key("e", "e", "evaluate", "evaluate", "score the fixed prompts now", "session"),
    Key("u", "u", "undo", "undo", "undo the last change of a knob, then the one before", "session"),
    Key("x", "x", "silence", "silence", "stop the sound", "session"),
    Key("o", "o", "serve", "", "serve the selected clip to a browser, on 127.0.0.1", "session"),
    Key("less_than_sign", "< >", "volume(-1)", "", "softer, louder", "session"),
    Key("greater_than_sign", "", "volume(1)", "", "", "session"),
    Key("M", "M", "mute", "", "mute; again: as loud as before", "session"),
    Key("D", "D", "device", "", "choose the output device", "session"),
    Key("tab", "tab", "app.focus_next", "", "from the clips to the knobs and back", "session"),
    Key("t", "t", "app.next_theme", "", "other colours: dark, light, clear, sixteen", "session"),
    Key("ctrl+p", "^p", "app.command_palette", "", "find a command by its name", "session"),
    Key("l", "l", "log", "log", "the whole log, every line in full", "session"),
    Key("question_mark,f1", "?", "help", "help", "this page", "session"),
    Key("q", "q", "ask", "quit", "quit; a running session asks first", "session"),
    Key("right_square_bracket", "]", "page(1)", "", "the next charts", "charts"),
    Key("left_square_bracket", "[", "page(-1)", "", "the charts before", "charts"),
    Key("z", "z", "zoom", "", "one chart alone; again: as many as fit", "charts"),
    Key("f", "f", "choose_charts", "", "find a chart by its name; show and hide them", "charts"),
    Key("right_curly_bracket", "{ }", "resize_grid(1)", "", "fewer charts, more charts", "charts"),
    Key("left_curly_bracket", "", "resize_grid(-1)", "", "", "charts"),
    Key("w", "w", "window", "", "how far back: all updates, the last 200, the last 50", "charts"),
    Key("plus,equals_sign", "+ -", "magnify(1)", "", "half, twice as many updates", "charts"),
    Key("minus", "", "magnify(-1)", "", "", "charts"),
    Key("0", "0", "magnify(0)", "", "all updates", "charts"),
    Key("g", "g", "log_scale", "", "logarithmic axes", "charts"),
    Key("m", "m", "smooth", "", "the trend: off, a moving average of 0.6, of 0.9", "charts"),
    Key("c", "c", "cursor", "", "read the values at one update; the mouse does, too", "charts"),
    Key("comma", ", .", "point(-1)", "", "one update back, one on", "charts"),
    Key("full_stop", "", "point(1)", "", "", "charts"),
    Key("left_parenthesis", "( )", "point(-10)", "", "ten updates back, ten on", "charts"),
    Key("right_parenthesis", "", "point(10)", "", "", "charts"),
    Key("enter", "enter", "", "go there", "to that chart", "choosing"),
    Key("space", "space", "turn", "show, hide", "show or hide that chart", "choosing"),
    Key("escape", "esc", "leave", "back", "back", "choosing"),
    Key("up,k", "↑ ↓", "move(-1)", "", "the clip above, the clip below", "clips"),
    Key("down,j", "", "move(1)", "", "", "clips"),
    Key("pageup", "PgUp PgDn", "leap(-1)", "", "a page up, a page down", "clips"),
    Key("pagedown", "", "leap(1)", "", "", "clips"),
    Key("home", "Home", "newest", "", "the first row, and stay with the first", "clips"),
    Key("end", "End", "oldest", "", "the last row", "clips"),
    Key("enter", "enter", "screen.play", "play", "play the selected clip", "clips"),
    Key("i", "i", "sort", "", "sort by the next column; a click on a heading does, too", "clips"),
    Key("I", "I", "reverse", "", "the other way round", "clips"),
    Key("slash", "/", "screen.filter", "", "filter: words, wer>0.3, reward<2, eval", "clips"),
    Key("escape", "esc", "screen.unfilter", "", "all clips again", "clips"),
    Key("1", "1 2 3", "best", "", "the best clip, the worst, the most changed", "clips"),
    Key("2", "", "worst", "", "", "clips"),
    Key("3", "", "most_changed", "", "", "clips"),
    Key("right,plus", "← →", "turn(1)", "turn", "divide or multiply by 1.25", "knobs"),
    Key("left,minus", "", "turn(-1)", "", "", "knobs"),
    Key("down", "↑ ↓", "choose(1)", "choose", "the next knob, the one before", "knobs"),
    Key("up", "", "choose(-1)", "", "", "knobs"),
    Key("enter", "enter", "type", "type", "type a value; a digit begins, too", "knobs"),
    Key("escape", "esc", "screen.clips", "back", "back to the clips", "knobs"),
    Key("enter", "enter", "", "take", "take what was typed", "asking"),
    Key("escape", "esc", "leave", "give up", "give up what was typed", "asking"),
    Key("enter", "enter", "", "set", "set the value that was typed", "typing"),
    Key("escape", "esc", "", "keep", "keep the value as it was", "typing"),
    Key("enter", "enter", "", "speak", "say the sentence; more can be typed meanwhile", "sentence"),
    Key("up", "↑ ↓", "recall(-1)", "", "the sentence before, the one after", "sentence"),
    Key("down", "", "recall(1)", "", "", "sentence"),
    Key("tab", "tab", "app.focus_next", "panels", "sentence, settings, what was said", "listen"),
    Key("escape", "esc", "give_up", "give up", "give up what is made now; or silence", "listen"),
    Key("ctrl+n", "^n", "new_seed", "new seed", "another seed", "listen"),
    Key("ctrl+t", "^t", "flip", "other voice", "the other voice, from the same place on", "listen"),
    Key("ctrl+r", "^r", "play", "replay", "hear the selected one again", "listen"),
    Key("ctrl+s", "^s", "save", "save", "save the selected clip as WAV or FLAC", "listen"),
    Key("f1", "F1", "help", "help", "this page; where no sentence is typed, ? too", "listen"),
    Key("ctrl+q", "^q", "ask", "quit", "quit; where no sentence is typed, q too", "listen"),
    Key("enter,p,space", "enter", "screen.play", "play", "hear the selected one", "said"),
    Key("t", "t", "screen.flip", "", "the other voice", "said"),
    Key("e", "e", "screen.edit", "edit", "its sentence and settings once more", "said"),
    Key("n", "n", "screen.new_seed", "", "another seed", "said"),
    Key("s", "s", "screen.save", "", "save the selected clip", "said"),
    Key("x", "x", "screen.silence", "silence", "stop the sound", "said"),
    Key("o", "o", "screen.serve", "", "serve the clip to a browser, on 127.0.0.1", "said"),
    Key("less_than_sign", "< >", "screen.volume(-1)", "", "softer, louder", "said"),
    Key("greater_than_sign", "", "screen.volume(1)", "", "", "said"),
    Key("M", "M", "screen.mute", "", "mute; again: as loud as before", "said"),
    Key("D", "D", "screen.device", "", "choose the output device", "said"),
    Key("up,k", "↑ ↓", "move(-1)", "", "the one above, the one below", "said"),
    Key("down,j", "", "move(1)", "", "", "said"),
    Key("pageup", "PgUp PgDn", "leap(-1)", "", "a page up, a page down", "said"),
    Key("pagedown", "", "leap(1)", "", "", "said"),
    Key("home", "Home", "newest", "", "the newest, and stay with the newest", "said"),
    Key("end", "End", "oldest", "", "the oldest", "said"),
    Key("question_mark", "?", "screen.help", "", "", "said"),
    Key("q", "q", "screen.ask", "", "", "said"),
    Key("right,plus", "← →", "turn(1)", "turn", "the value before, the next value", "settings"),
    Key("left,minus", "", "turn(-1)", "", "", "settings"),
    Key("down", "↑ ↓", "choose(1)", "choose", "the next setting, the one before", "settings"),
    Key("up", "", "choose(-1)", "", "", "settings"),
    Key("enter", "enter", "type", "type", "type a value; a digit begins, too", "settings"),
    Key("escape", "esc", "screen.sentence", "back", "back to the sentence", "settings"),
    Key("question_mark", "?", "screen.help", "", "", "settings"),
    Key("q", "q", "screen.ask", "", "", "settings"),
    Key("alt+left", "alt ← →", "step(-1)", "step", "one update back, one on", "replay"),
    Key("alt+right", "", "step(1)", "", "", "replay"),
    Key("alt+up", "alt ↑ ↓", "step(-10)", "", "ten updates back, ten on", "replay"),
    Key("alt+down", "", "step(10)", "", "", "replay"),
    Key("alt+home", "alt Home", "step(-1000000)", "", "to the start", "replay"),
    Key("alt+end", "alt End", "step(1000000)", "", "to the end", "replay"),
    Key(
        "K", "K", "take_knobs", "take the knobs", "take the knobs from whoever has them", "attached"
    ),
    Key("1", "1", "hear('X')", "play X", "hear X", "blind"),
    Key("2", "2", "hear('Y')", "play Y", "hear Y", "blind"),
    Key("space", "space", "again", "again", "hear the last one again", "blind"),
    Key("x,left", "x", "prefer('X')", "X better", "X is better; ← too", "blind"),
    Key("y,right", "y", "prefer('Y')", "Y better", "Y is better; → too", "blind"),
    Key("equals_sign,0", "=", "prefer('')", "no difference", "neither is better", "blind"),
    Key("backspace", "⌫", "take_back", "take back", "take the last answer back", "blind"),
    Key("enter", "enter", "finish", "", "after the last answer: result, then scores", "blind"),
    Key("s", "s", "silence", "", "stop the sound", "blind"),
    Key("o", "o", "serve", "", "serve the clip heard last to a browser, on 127.0.0.1", "blind"),
    Key("less_than_sign", "< >", "volume(-1)", "", "softer, louder", "blind"),
    Key("greater_than_sign", "", "volume(1)", "", "", "blind"),
    Key("M", "M", "mute", "", "mute; again: as loud as before", "blind"),
    Key("D", "D", "device", "", "choose the output device", "blind"),
    Key("question_mark,f1", "?", "help", "help", "this page", "blind"),
    Key("q,escape", "q", "ask", "end", "end the test; the answers so far count", "blind"),
    Key("escape,q,question_mark,l", "esc", "app.pop_screen", "back", "back", "reading"),
)


remapped: dict[str, str] = {}
"""Name of a key -> the user's keys for it."""


def remap(keys: Mapping[str, str]) -> None:
    """From here on these keys are the user's; what they were before does nothing."""
    remapped.clear()
    remapped.update(keys)


def pretty(key: str) -> str:
    """A key of Textual's as a person reads it."""
    from textual.keys import format_key

    *held, last = key.split("+")
    return "+".join([*held, format_key(last)])


def bindings(*places: Place) -> list[BindingType]:
    """Textual's bindings of some places; the key bar draws the labels, not Textual's footer."""
    return [
        Binding(key.keys, key.action, key.label or key.help, show=False, id=key.name)
        for key in KEYS
        if key.where in places and key.action
    ]


def hints(*places: Place) -> list[Key]:
    """The keys to draw in the bar, the most important first."""
    return [key for place in places for key in KEYS if key.where == place and key.label]
