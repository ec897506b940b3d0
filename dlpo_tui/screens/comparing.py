"""What can be done with a table of clips: seen in full, heard against the start, filtered."""

from __future__ import annotations

import re
from pathlib import Path

from dlpo_tui.screens.hearing import Hearing
from dlpo_tui.widgets.ask_line import AskLine
from dlpo_tui.widgets.clip_detail import ClipDetail
from dlpo_tui.widgets.clip_filter import Filter, parsed
from dlpo_tui.widgets.clip_order import first_of
from dlpo_tui.widgets.clip_start import start_of
from dlpo_tui.widgets.clips import ClipTable
from dlpo_tui.widgets.knobs import KnobPanel
from dlpo_tui.widgets.sound_view import SoundView
from engine.messages import Clip, Command, RenderStart, SaveCheckpoint, Snapshot

LONGEST_NAME = 40
NAME = re.compile(r"[A-Za-z0-9_-]+")


class Comparing(Hearing):
    """A screen with clips and knobs; its subclass says where commands go."""

    now: Snapshot
    folder: Path | None
    clips: ClipTable
    knobs: KnobPanel
    _wished: tuple[Path, str] | None

    other = False
    """The start's clip is seen and heard, not the selected one itself."""
    awaited: tuple[int, int] | None = None
    """Update and index of the rollout whose start is being rendered."""

    def __init__(self, classes: str) -> None:
        super().__init__(classes=classes)
        self.detail = ClipDetail(id="detail")
        self.filter_line = AskLine("filter", "wer>0.3 eval words", id="filter")
        self.name_line = AskLine("snapshot name", "letters, digits, - and _", id="name")

    def ask_for(self, command: Command, sentence: str) -> bool:
        """Sends a command and says so; False where nobody would obey it."""
        raise NotImplementedError

    def show_sound(self) -> None:
        """Marks what sounds."""
        raise NotImplementedError

    # --- The detail ---

    def action_detail(self) -> None:
        self.toggle_class("-detail")
        self.show_detail()

    def show_detail(self) -> None:
        if self.has_class("-detail"):
            clip = self.clips.selected
            start = start_of(clip, self.now, self.awaited)
            self.detail.show(self.now, clip, self.run_folder(), start, self.other)

    def show_head(self) -> None:
        """Where in its picture the sound is; called ten times a second."""
        view, path = self.detail.view, self.sound.playing()
        view.play(self.sound.position() if path and path == view.path else None)

    def run_folder(self) -> Path:
        return self.folder or Path(self.now.started.folder if self.now.started else ".")

    def on_clip_table_selected(self) -> None:
        self.other = False
        self.show_detail()

    def on_clip_table_told(self, event: ClipTable.Told) -> None:
        self.say(event.sentence)

    def on_sound_view_sought(self, event: SoundView.Sought) -> None:
        clip = self.clips.selected
        if clip is not None:
            self.hear(event.path, clip, event.seconds)

    def hear(self, path: Path, clip: Clip, start: float = 0.0) -> None:
        """Plays a file on account of a clip, whose row is marked while it sounds."""
        self._wished = (path, clip.path)
        self.sound.play(path, start)
        self.show_sound()

    # --- Against the start ---

    def action_start(self) -> None:
        """Flips between a clip and the same prompt and noise at the session's start."""
        clip = self.clips.selected
        if clip is None:
            self.say("there is no clip yet")
            return
        self.clips.pin()  # newer clips must not come between the two
        start = start_of(clip, self.now, self.awaited)
        if start.path:
            self.flip(clip, start.path)
        elif start.awaited:
            self.say("the start's clip is being rendered")
        elif clip.kind == "rollout":
            self.ask_for_start(clip)
        elif first_of(clip, self.now) is clip or clip.update == 0:
            self.say("this clip is the session's start")
        else:
            self.say("no evaluation at update 0 has this prompt: there is nothing to compare with")

    def flip(self, clip: Clip, start: str) -> None:
        self.other = not self.other
        shown = start if self.other else clip.path
        if shown:
            self.say("the session's start" if self.other else f"update {clip.update}")
            self.hear(self.run_folder() / shown, clip)
        else:
            self.say("this clip was not written to disk")
        self.show_detail()

    def ask_for_start(self, clip: Clip) -> None:
        when = "…" if self.now.paused else "after this update …"
        if self.ask_for(RenderStart(clip.update, clip.index), f"rendering the start's clip {when}"):
            self.awaited = clip.update, clip.index
            self.show_detail()

    def show_rendered(self, before: Snapshot) -> None:
        """Plays the start's clip that was waited for, unless its user has gone on."""
        if self.now.ended is not None and self.awaited:
            self.awaited = None
            self.show_detail()
        if before.rendered is self.now.rendered:
            return
        if self.awaited is None:  # asked for by another terminal
            self.show_detail()
            return
        update, index = self.awaited
        if any((r.update, r.index) == self.awaited for r in self.now.rendered):
            self.awaited = None
            clip = self.clips.selected
            if clip is not None and (clip.update, clip.index, clip.kind) == (
                update,
                index,
                "rollout",
            ):
                self.other = False
                self.flip(clip, start_of(clip, self.now).path)
            else:
                self.say(f"the start's clip of update {update}, clip {index}, is there")

    def render_refused(self) -> None:
        self.awaited = None
        self.show_detail()

    # --- The filter ---

    def action_filter(self) -> None:
        self.filter_line.open()

    def action_unfilter(self) -> None:
        self.filter_line.close()
        self.clips.let_pass(Filter())

    def action_name(self) -> None:
        if self.now.ended is not None:
            self.say("the session has ended")
        else:
            self.name_line.open()

    def on_ask_line_changed(self, event: AskLine.Changed) -> None:
        """Filters while the text is typed."""
        if event.line is self.filter_line:
            self.clips.let_pass(parsed(event.text, self.now.started, half=True))
            self.note_count()

    def note_count(self) -> None:
        self.filter_line.note(self.clips.count() if self.clips.passing.parts else "")

    def on_ask_line_entered(self, event: AskLine.Entered) -> None:
        if event.line is self.name_line:
            self.take_name(event.text.strip())
            return
        try:
            self.clips.let_pass(parsed(event.text, self.now.started))
        except ValueError as error:
            self.filter_line.refuse(str(error))
            return
        self.note_count()
        self.filter_line.close(keep=bool(self.clips.passing.parts))
        self.set_focus(self.clips)

    def on_ask_line_left(self, event: AskLine.Left) -> None:
        if event.line is self.filter_line:
            self.action_unfilter()
        else:
            self.name_line.close()
        self.set_focus(self.clips)

    def take_name(self, name: str) -> None:
        """Asks for a snapshot of that name, or says why it cannot be one."""
        if not NAME.fullmatch(name):
            odd = sorted({c for c in name if not NAME.fullmatch(c)})
            found = f", without {' '.join(map(repr, odd))}" if odd else ""
            self.name_line.refuse(f"a name has letters, digits, - and _{found}")
        elif len(name) > LONGEST_NAME:
            self.name_line.refuse(f"a name has at most {LONGEST_NAME} characters, not {len(name)}")
        else:
            self.name_line.close()
            self.set_focus(self.clips)
            self.ask_for(SaveCheckpoint(name), f"asked for a snapshot {name} after this update")

    # --- Knobs ---

    def action_undo(self) -> None:
        self.say(self.knobs.undo())
