"""The session's screen: turns keys into commands and a snapshot into panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from dlpo_tui.keys import KEYS, Key, bindings, hints
from dlpo_tui.screens.choosing import Choosing
from dlpo_tui.screens.comparing import Comparing
from dlpo_tui.screens.question import Answer, Question
from dlpo_tui.screens.reading import Help, Log, Page, lay_out_kept, show_kept
from dlpo_tui.sound import Sound
from dlpo_tui.widgets.charts import ChartGrid
from dlpo_tui.widgets.clips import ClipTable
from dlpo_tui.widgets.head import Asked, RunHead
from dlpo_tui.widgets.keybar import KeyBar
from dlpo_tui.widgets.knobs import KnobPanel
from dlpo_tui.widgets.log import LogTail
from dlpo_tui.widgets.status import Status
from dlpo_tui.widgets.turns import undoes
from dlpo_tui.widgets.waiting import Waiting
from engine.messages import (
    Command,
    Evaluate,
    Pause,
    Resume,
    SaveCheckpoint,
    SetKnobs,
    SingleUpdate,
    Snapshot,
    Stop,
)

BUT_PROGRESS = tuple(f.name for f in fields(Snapshot) if f.name != "progress")
TICKS_A_STATUS = 3
"""Progress alone is told three times a second: each repaint is taken from the training."""
TICKS_A_PAINT = 5
"""Charts and table are redrawn at every fifth snapshot at most: at 2 Hz."""
AFTER_THE_END = ("p", "v", "r", "x", "o", "l", "?", "q")
OBEYED = ("pause", "save", "name", "single", "evaluate", "undo", "knob", "type")
"""What only a running session does."""
SERVE = next(replace(key, label="serve clip") for key in KEYS if key.action == "serve")
BEFORE_THE_START = ("l", "?", "q")


class RunScreen(Comparing):
    """Shows what `show` is given; knows the bridge as a function that sends commands."""

    CSS_PATH = "run.tcss"
    AUTO_FOCUS = "#clips"
    BINDINGS = bindings("session", "charts")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 (Textual's own way)
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-stub"),
        (14, "-short"),
        (22, "-normal"),
        (32, "-tall"),
        (48, "-towering"),
    ]

    def __init__(
        self,
        send: Callable[[Command], None],
        sound: Sound,
        folder: Path | None = None,
        log_path: Path | None = None,
        outlives: bool = False,
    ) -> None:
        """`folder`: the run's, where it is not where the session says."""
        super().__init__("-waiting")
        self.send, self.sound, self.folder = send, sound, folder
        self.outlives = outlives
        self.now = Snapshot()
        self.asked: Asked = ""
        self._ticks = TICKS_A_PAINT
        self._beat = 0
        self._painted = Snapshot()
        self._wished: tuple[Path, str] | None = None
        self.deaf = False
        """Nothing could be heard the last time: the bar names the way round it."""

        # Held, not looked up: a last snapshot may come while the screen is taken apart.
        self.head, self.status, self.waiting = RunHead(), Status(), Waiting(log_path)
        self.charts = ChartGrid(id="charts")
        self.knobs, self.clips = KnobPanel(id="knobs"), ClipTable(id="clips")
        self.tail, self.bar = LogTail(id="log"), KeyBar()

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.status
        yield self.waiting
        with Vertical(id="body"):
            with Container(id="upper"):
                yield self.charts
                yield self.detail
            with Container(id="lower"):
                yield self.knobs
                yield self.clips
            yield self.tail
        yield self.filter_line
        yield self.name_line
        yield self.bar

    def on_mount(self) -> None:
        self.knobs.border_title = " knobs "
        self.tail.border_title = " log "
        self.detail.border_title = " clip "
        self.show_keys()
        self.call_after_refresh(lay_out_kept, self.app, "help", self.help_page)
        self.call_after_refresh(lay_out_kept, self.app, "log", self.log_page)

    # --- What is shown ---

    def show(self, now: Snapshot, seconds: float = 0.0) -> None:
        """Called ten times a second; what has not changed costs nothing."""
        changed, before, self.now = now is not self.now, self.now, now
        asked = self.asked
        if (self.asked == "pausing" and now.paused) or (
            self.asked == "resuming" and not now.paused
        ):
            self.asked, changed = "", True
        self._ticks += 1
        self._beat += 1
        if now.started is None:
            self.waiting.show(now, seconds)
        if self.status.now is not now and self._beat % TICKS_A_STATUS == 0:
            self.status.show(now)
        if changed and (self.asked != asked or not only_progress(before, now)):
            self.set_class(now.started is None, "-waiting")
            self.head.show(now, self.asked)
            self.status.show(now)
            self.knobs.show(now)
            self.tail.show(now)
            self.show_keys()
            self.show_rendered(before)
        self.paint(now)
        self.show_sound()
        self.show_head()

    def paint(self, now: Snapshot) -> None:
        """Charts and table, where what they draw has changed: progress in a phase has not."""
        if self._ticks < TICKS_A_PAINT and not now.ended:
            return
        before, self._painted = self._painted, now
        if any(a is not b for a, b in zip(curves(before), curves(now), strict=True)):
            self.charts.show(now)
            self._ticks = 0
        if before.clips is not now.clips or before.started is not now.started:
            self.clips.show(now)
            self._ticks = 0

    def refuse(self, sentence: str, command: str = "") -> None:
        """The session did not take a command."""
        if self.awaited and command == "RenderStart":
            self.render_refused()
        elif command in ("", "SetKnobs"):
            self.knobs.refuse(sentence)

    def show_sound(self) -> None:
        if self._wished is None:
            return
        path, told = self._wished
        sounds = self.sound.playing() == path
        self.clips.sound(told if sounds else "")
        if not sounds:
            self._wished = None
            if excuse := self.sound.describe():
                self.say(excuse)
                self.deaf = True
                self.show_keys()

    def keys_now(self) -> list[Key]:
        """The bar's keys: those of the focused panel before those of the session."""
        if self.knobs.has_focus and self.knobs.typed is not None:
            return hints("typing")
        if self.filter_line.input.has_focus or self.name_line.input.has_focus:
            return hints("asking")
        if self.now.started is None:
            return [key for key in hints("session") if key.shown in BEFORE_THE_START]
        if self.now.ended is not None:
            return [key for key in hints("session") if key.shown in AFTER_THE_END]
        return hints("knobs", "session") if self.knobs.has_focus else hints("session")

    def show_keys(self) -> None:
        keys = self.keys_now()
        if self.deaf:
            keys = [SERVE if key.action == "play" else key for key in keys]
        self.bar.show(keys, {"space": "resume"} if self.now.paused else {})

    def possible(self, key: Key) -> bool:
        """Whether the command palette should offer a key."""
        if self.now.started is None:
            return key.shown in BEFORE_THE_START or key.action.startswith("app.")
        return self.now.ended is None or key.action.partition("(")[0] not in OBEYED

    def say(self, sentence: str) -> None:
        self.tail.say(sentence)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.show_keys()

    def on_typed_panel_typing(self) -> None:
        self.show_keys()

    # --- Commands ---

    def ask_for(self, command: Command, sentence: str) -> bool:
        """Sends a command and says so; False, and why, where nobody would obey it."""
        if self.now.ended is not None:
            self.say("the session has ended")
            return False
        self.send(command)
        self.say(sentence)
        return True

    def action_pause(self) -> None:
        resumes = self.asked == "pausing" or (self.now.paused and self.asked != "resuming")
        command: Command = Resume() if resumes else Pause()
        if self.ask_for(command, "asked to go on" if resumes else "asked to pause"):
            going_on: Asked = "resuming" if self.now.paused else ""
            self.wait_for(going_on if resumes else "pausing")

    def action_single(self) -> None:
        self.ask_for(SingleUpdate(), "asked for one update")

    def action_save(self) -> None:
        self.ask_for(SaveCheckpoint("by hand"), "asked for a snapshot after this update")

    def action_evaluate(self) -> None:
        self.ask_for(Evaluate(), "asked for an evaluation after this update")

    def on_knob_panel_turned(self, event: KnobPanel.Turned) -> None:
        told = ", ".join(f"{name} = {value:g}" for name, value in event.changes.items())
        command = SetKnobs(event.changes, event.who)
        if not undoes(event.who):
            self.ask_for(command, f"asked for {told} from the next update on")
        else:  # the key has said it already
            self.send(command)

    def wait_for(self, asked: Asked) -> None:
        self.asked = asked
        self.head.show(self.now, asked)

    # --- Clips ---

    def clip_file(self) -> Path | None:
        clip = self.clips.selected
        if clip is None:
            self.say("there is no clip yet")
        elif not clip.path:
            self.say("this clip was not written to disk")
        else:
            return self.run_folder() / clip.path
        return None

    def action_play(self) -> None:
        clip, path = self.clips.selected, self.clip_file()
        if clip is not None and path is not None:
            self.other = False
            self.hear(path, clip)
            self.show_detail()

    def on_clip_table_played(self) -> None:
        self.action_play()

    def action_silence(self) -> None:
        self.sound.stop()
        self.show_sound()

    # --- Panels ---

    def action_knob(self, name: str) -> None:
        # Not focus(), which acts later: the next key may be in the queue already.
        self.set_focus(self.knobs)
        self.knobs.choose(name)

    def action_clips(self) -> None:
        self.set_focus(self.clips)

    def action_page(self, by: int) -> None:
        self.charts.turn_page(by)

    def action_zoom(self) -> None:
        self.charts.zoom()

    def action_window(self) -> None:
        self.charts.turn_window()

    def action_magnify(self, by: int) -> None:
        self.charts.magnify(by)

    def action_log_scale(self) -> None:
        self.charts.turn_log()

    def action_smooth(self) -> None:
        self.charts.turn_smoothing()

    def action_cursor(self) -> None:
        self.charts.turn_cursor()

    def action_point(self, by: int) -> None:
        self.charts.move_cursor(by)

    def action_resize_grid(self, by: int) -> None:
        self.charts.resize_grid(by)

    def action_choose_charts(self) -> None:
        if titles := self.charts.titles():
            at = self.charts.place()
            self.app.push_screen(Choosing(titles, at, self.charts.turn), self.charts.go_to)

    def action_help(self) -> None:
        show_kept(self.app, "help", self.help_page)

    def help_page(self) -> Page:
        return Help()

    def action_log(self) -> None:
        show_kept(self.app, "log", self.log_page)

    def log_page(self) -> Page:
        return Log(lambda: self.now.log)

    # --- The end ---

    def action_ask(self) -> None:
        """Leaves at once where nothing runs, or where a stop was asked for already."""
        if self.now.started is None or self.now.ended or self.asked == "stopping":
            self.app.exit()
        else:
            self.app.push_screen(self.question(), self.answered)

    def question(self) -> Question:
        return Question(self.now.update, self.outlives)

    def answered(self, answer: Answer | None) -> None:
        if answer == "leave":
            self.app.exit()
        elif answer in ("save", "stop"):
            if answer == "save":
                self.send(SaveCheckpoint("on quitting"))
            if self.ask_for(Stop(save=answer == "save"), "stopping; q again leaves at once"):
                self.wait_for("stopping")


def only_progress(before: Snapshot, now: Snapshot) -> bool:
    """Whether a snapshot is the one before but for the progress within the phase."""
    return all(getattr(before, name) is getattr(now, name) for name in BUT_PROGRESS)


def curves(now: Snapshot) -> tuple[object, ...]:
    """The parts of a snapshot that charts draw."""
    return now.started, now.history, now.evaluations, now.marks
