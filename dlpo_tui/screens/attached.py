"""The session's screen on a session in another process: who has the knobs, and is it there?"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text

from dlpo_tui import formats
from dlpo_tui.keys import Key, Place, bindings, hints
from dlpo_tui.screens import reading
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.screens.question import Question
from dlpo_tui.screens.run import OBEYED, RunScreen
from dlpo_tui.sound import Sound
from dlpo_tui.widgets.head import RunHead
from dlpo_tui.widgets.knobs import KnobPanel
from engine.attached import SLOW_SECONDS, Attachment, Link
from engine.messages import Clip, Command, Snapshot

HEADINGS: dict[Place, str] = {"attached": "Attached", **reading.HEADINGS}
ROOMY = 100
"""Cells from which on the head speaks in words."""
TAKE = "take_knobs"


class AttachedHead(RunHead):
    """Another badge: whether this terminal has the knobs, how many are attached, what is amiss."""

    COMPONENT_CLASSES: ClassVar[set[str]] = RunHead.COMPONENT_CLASSES
    link = Link()
    _told = ("", "")

    def look(self) -> None:
        """Redraws where what it says of the link has changed: seconds pass without a word of it."""
        told = standing(self.link, self.now, self.size.width >= ROOMY)
        if told != self._told:
            self._told = told
            self.refresh()

    def badges(self) -> Text:
        told = super().badges()
        if self.now.ended is not None:
            return told
        word, part = standing(self.link, self.now, self.size.width >= ROOMY)
        gap = "  " if told.cell_len else ""
        return Text.assemble(told, gap, (f" {word} ", self.ink(part)))


def standing(link: Link, now: Snapshot, roomy: bool) -> tuple[str, str]:
    """How this terminal stands to its session, and the ink that says how well."""
    if not link.connected:
        return ("no connection: trying again …" if roomy else "no connection …"), "failed"
    if slow(link, now):
        quiet = formats.duration(link.quiet_seconds)
        return (f"slow: last word {quiet} ago" if roomy else f"quiet {quiet}"), "waiting"
    word = ("has the knobs" if roomy else "knobs") if link.holds else "watches"
    return f"{word} · {link.attached}{' attached' if roomy else ''}", "calm"


def slow(link: Link, now: Snapshot) -> bool:
    """Whether the session lives but has been quiet for long; one that pauses is quiet by right."""
    return link.silent or (link.quiet_seconds > SLOW_SECONDS and not now.paused)


class AttachedScreen(RunScreen):
    """Obeyed where this terminal has the knobs; clips that lie elsewhere are fetched first."""

    BINDINGS = bindings("attached")

    def __init__(
        self,
        attachment: Attachment,
        sound: Sound,
        folder: Path,
        log_path: Path | None = None,
        fetches: bool = False,
    ) -> None:
        """`folder`: where clips lie; with `fetches`, where they come to lie when asked for."""
        super().__init__(attachment.outbox.put, sound, folder, log_path, outlives=True)
        self.attachment, self.fetches = attachment, fetches
        self.link = Link()
        self.head = self.attached_head = AttachedHead()
        self.knobs.who = attachment.name
        self._asked_for: dict[str, tuple[Clip, float] | None] = {}
        """Paths of clips that are on their way, and what is to be played of them when they come."""

    # --- What is shown ---

    def show(self, now: Snapshot, seconds: float = 0.0) -> None:
        before, link = self.link, self.attachment.link
        self.link = self.attached_head.link = link
        super().show(now, seconds)
        if link != before:
            self.tell_change(before, link)
            self.show_keys()
        self.attached_head.look()
        while self.attachment.arrived:
            clip = self.attachment.arrived.popleft()
            self.arrive(clip.path, clip.error)

    def tell_change(self, before: Link, link: Link) -> None:
        """What has changed hands, or got lost, in a sentence."""
        if self.now.ended is not None:
            return
        if before.connected and not link.connected:
            self.say(f"the connection is lost ({link.why}): trying again")
        elif link.connected and not before.connected and before.why:
            self.say("connected again")
        elif before.holds and not link.holds and link.connected:
            self.say(f"{formats.plain(link.holder) or 'nobody'} has the knobs now")
        elif link.holds and not before.holds and before.attached:
            self.say("this terminal has the knobs")

    def refuse(self, sentence: str, command: str = "") -> None:
        """Whatever was asked for and is shown as on its way, is not."""
        super().refuse(sentence, command)
        if command in ("Pause", "Resume", "Stop", "SingleUpdate"):
            self.wait_for("")

    def keys_now(self) -> list[Key]:
        """The bar's keys; of those that are commands none where nobody would obey them."""
        keys = super().keys_now()
        if self.obeyed or self.now.started is None or self.now.ended is not None:
            return keys
        if self.filter_line.input.has_focus or self.name_line.input.has_focus:
            return keys
        taking = hints("attached") if self.takeable else []
        return taking + [key for key in hints("session") if not key.action.startswith(OBEYED)]

    def possible(self, key: Key) -> bool:
        if key.action == TAKE:
            return self.takeable
        obeyed = self.obeyed or not key.action.startswith(OBEYED)
        return super().possible(key) and obeyed

    # --- Who is obeyed ---

    @property
    def obeyed(self) -> bool:
        return self.link.holds and self.link.connected

    @property
    def takeable(self) -> bool:
        link = self.link
        running = self.now.ended is None
        return running and link.connected and not (link.holds or link.owned)

    def why_not(self) -> str:
        """Why no command is taken from this terminal."""
        if not self.link.connected:
            return "there is no connection to the session just now"
        holder = formats.plain(self.link.holder)
        if self.link.owned:
            return f"this terminal watches: {holder} keeps the knobs"
        told = f"{holder} has the knobs" if holder else "nobody has the knobs"
        key = next(key.told for key in hints("attached"))
        return f"this terminal watches, {told}; {key} takes them"

    def ask_for(self, command: Command, sentence: str) -> bool:
        if self.now.ended is None and not self.obeyed:
            self.say(self.why_not())
            return False
        return super().ask_for(command, sentence)

    def action_take_knobs(self) -> None:
        if self.takeable:
            self.attachment.take_knobs()
            self.say("asked for the knobs")
        elif self.now.ended is not None:
            self.say("the session has ended")
        else:
            self.say("this terminal has the knobs already" if self.link.holds else self.why_not())

    def on_knob_panel_turned(self, event: KnobPanel.Turned) -> None:
        """Textual calls the session screen's own handler, too: that one asks, or says why not."""
        if not self.obeyed:
            self.knobs.refuse(self.why_not())

    def action_undo(self) -> None:
        if self.obeyed or self.now.ended is not None:
            super().action_undo()
        else:
            self.say(self.why_not())

    def action_name(self) -> None:
        if self.obeyed or self.now.ended is not None:
            super().action_name()
        else:
            self.say(self.why_not())

    def question(self) -> Question:
        return Question(self.now.update, True, may_stop=self.obeyed)

    def help_page(self) -> KeyPage:
        return KeyPage(HEADINGS)

    # --- Clips from elsewhere ---

    def hear(self, path: Path, clip: Clip, start: float = 0.0) -> None:
        if not self.away(path):
            super().hear(path, clip, start)
        elif self.fetch(path, (clip, start)):
            self.say("the clip is fetched …")

    def show_detail(self) -> None:
        """The detail's clip is fetched first; what it says beside the picture is known already."""
        super().show_detail()
        for path in (self.detail.view.path, self.detail.view.beside):
            if self.has_class("-detail") and path is not None and self.away(path):
                self.fetch(path, None)

    def action_serve(self) -> None:
        path = self.clip_file()
        if path is None or not self.away(path):
            super().action_serve()
        elif self.fetch(path, None):
            self.say("the clip is fetched; ask once more when it is there")

    def away(self, path: Path) -> bool:
        return self.fetches and not path.is_file()

    def fetch(self, path: Path, played: tuple[Clip, float] | None) -> bool:
        """Asks for a clip, once; False where nobody can be asked."""
        if not self.link.connected:
            self.say("there is no connection to the session just now")
            return False
        name = path.relative_to(self.run_folder()).as_posix()
        if name not in self._asked_for:
            self.attachment.fetch(name)
        self._asked_for[name] = played or self._asked_for.get(name)
        return True

    def arrive(self, name: str, error: str) -> None:
        """A clip has come: it is played where that was asked for, and drawn where it is seen."""
        played = self._asked_for.pop(name, None)
        path = self.run_folder() / name
        if error:
            self.say(error)
        elif played is not None:
            self.hear(path, *played)
        if not error and path in (self.detail.view.path, self.detail.view.beside):
            self.detail.view.forget(path)
            self.show_detail()
