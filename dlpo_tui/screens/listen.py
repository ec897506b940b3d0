"""Type a sentence, hear it: turns keys into sentences for the worker, and takes into sound."""

from __future__ import annotations

from pathlib import Path

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Input

from dlpo_tui import formats, saving
from dlpo_tui.keys import Key, Place, bindings, hints
from dlpo_tui.screens.hearing import Hearing
from dlpo_tui.screens.key_page import KeyPage
from dlpo_tui.screens.saving import Saving
from dlpo_tui.sound import Sound
from dlpo_tui.speaking import Speaking
from dlpo_tui.speech_settings import Settings, VoiceFacts, new_seed
from dlpo_tui.takes import Listening, Side, Take, Utterance
from dlpo_tui.widgets.answer import Answer
from dlpo_tui.widgets.keybar import KeyBar
from dlpo_tui.widgets.listen_head import ListenHead, ListenStatus
from dlpo_tui.widgets.sentence import Sentence
from dlpo_tui.widgets.settings_panel import SettingsPanel
from dlpo_tui.widgets.sound_view import SoundView
from dlpo_tui.widgets.utterances import UtteranceList

HEADINGS: dict[Place, str] = {
    "sentence": "In the sentence",
    "listen": "Everywhere",
    "settings": "In the settings",
    "typing": "While typing a value",
    "said": "In what was said",
}


class ListenScreen(Hearing):
    """One voice, or two that say the same; shows what `show` is given."""

    CSS_PATH = ["run.tcss", "listen.tcss"]  # noqa: RUF012 (the inks; Textual's own way)
    AUTO_FOCUS = "#sentence"
    BINDINGS = bindings("listen")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-wide")]  # noqa: RUF012 (Textual's own way)
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-normal"), (32, "-tall")]  # noqa: RUF012

    def __init__(
        self,
        speaking: Speaking,
        sound: Sound,
        sources: tuple[str, ...],
        settings: Settings,
    ) -> None:
        """`sources`: the names of one voice or two."""
        super().__init__()
        self.speaking, self.sound = speaking, sound
        self.settings = settings
        self.side: Side = "A"
        self.now = Listening()
        self._to_hear: list[int] = []
        """Numbers of what was asked for and has not been heard yet."""
        self._heard: tuple[int, Take] | None = None
        """What sounds: its number and its take."""
        self._told = ""
        self.head, self.status = ListenHead(sources), ListenStatus()
        self.sentence = Sentence(id="sentence")
        self.panel = SettingsPanel(settings, id="settings")
        self.picture = SoundView(id="picture")
        self.said = UtteranceList(id="said")
        self.answer, self.bar = Answer(), KeyBar()

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.status
        yield self.sentence
        with Vertical(id="body"):
            with Container(id="upper"):
                yield self.panel
                yield self.picture
            yield self.said
        yield self.answer
        yield self.bar

    def on_mount(self) -> None:
        self.sentence.border_title = " sentence "
        self.panel.border_title = " settings "
        self.said.border_title = " said "
        self.show_keys()

    # --- What is shown ---

    def show(self, now: Listening, seconds: float = 0.0) -> None:
        """Called ten times a second; what has not changed costs nothing."""
        changed, opened, self.now = now is not self.now, not self.now.voices, now
        self.status.show(now, seconds)
        if opened and len({facts.timesteps for facts in now.voices}) > 1:
            a, b = now.voices
            self.say(
                f"A takes {a.timesteps} timesteps and B {b.timesteps}, so the noise of each is not "
                "the same; set timesteps to give both one number"
            )
        if changed:
            self.head.show(now, self.side)
            self.panel.show(self.settings, self.facts)
            self.said.show(now, self.side)
            self.show_picture()
            if now.told and now.told != self._told:
                self.say(now.told)
            self._told = now.told
        self.hear_next()
        self.show_sound()

    @property
    def facts(self) -> VoiceFacts | None:
        return self.now.voices[0] if self.now.voices else None

    def show_picture(self) -> None:
        utterance = self.said.selected
        takes = utterance.takes if utterance else {}
        take, beside = takes.get(self.side), takes.get(other(self.side))
        self.picture.show(
            take.level if take else None, beside.level if beside else None, self.side == "B"
        )
        if utterance is None or take is None:
            self.picture.border_title = ""
        else:
            width = max(self.picture.size.width - 4, 0)
            # Not a str, which would be read as markup.
            self.picture.border_title = Content(f" {pictured(utterance, take, width)} ")

    def show_sound(self) -> None:
        """The mark of what sounds, or what the sound has to say."""
        if self._heard is None:
            return
        number, take = self._heard
        sounds = self.sound.playing() == take.level
        self.said.sound(number if sounds else None)
        utterance = self.said.selected
        selected = utterance is not None and utterance.number == number
        self.picture.play(self.sound.position() if sounds and selected else None)
        if not sounds:
            self._heard = None
            if excuse := self.sound.describe():
                self.say(excuse)

    def show_keys(self) -> None:
        """The bar's keys: those of the focused panel before those of the screen."""
        if self.panel.has_focus:
            keys = hints("typing" if self.panel.typed is not None else "settings", "listen")
            keys = [key for key in keys if key.shown != "esc" or key.where != "listen"]
        elif self.said.has_focus:
            keys = hints("said", "listen")
        else:
            keys = hints("sentence", "listen")
        if len(self.head.sources) == 1:
            keys = [key for key in keys if not key.action.endswith("flip")]
        self.bar.show(keys)

    def possible(self, key: Key) -> bool:
        """Whether the command palette should offer a key."""
        action = key.action.removeprefix("screen.")
        utterance = self.said.selected
        if action == "flip":
            return len(self.head.sources) > 1
        if action == "edit":
            return utterance is not None
        if action in ("play", "save", "serve"):
            return utterance is not None and bool(utterance.takes)
        if action == "silence":
            return self.sound.playing() is not None
        return True

    def say(self, sentence: str) -> None:
        self.answer.say(sentence)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.show_keys()

    def on_typed_panel_typing(self) -> None:
        self.show_keys()

    def on_resize(self) -> None:
        self.call_after_refresh(self.show_picture)

    # --- Sentences ---

    def on_input_submitted(self, event: Input.Submitted) -> None:
        text = self.sentence.text()
        if not any(character.isalnum() for character in text):
            self.say("type a sentence first; it needs a word")
        elif self.now.ended is not None:
            self.say(self.now.ended.sentence)
        else:
            self._to_hear.append(self.speaking.say(text, self.settings))
            self.sentence.keep(text)
            self.said.select(0)
            self.say("" if self.now.voices else "it is said as soon as the voice is loaded")

    def on_sentence_leaving(self) -> None:
        self.action_ask()

    def on_settings_panel_changed(self, event: SettingsPanel.Changed) -> None:
        if self.settings.scores and not event.settings.scores:
            self.speaking.forget_scores()
        self.settings = event.settings

    def action_new_seed(self) -> None:
        self.settings = new_seed(self.settings)
        self.panel.show(self.settings, self.facts)
        self.say(f"the next sentence is said with seed {self.settings.seed}")

    def action_give_up(self) -> None:
        if self.speaking.cancel():
            self.say("given up")
        elif self.sound.playing() is not None or self._to_hear:
            self.action_silence()
        else:
            self.set_focus(self.sentence)

    def action_sentence(self) -> None:
        self.set_focus(self.sentence)

    def action_edit(self) -> None:
        """The selected sentence with its settings, to be changed and said once more."""
        if (utterance := self.said.selected) is not None:
            self.settings = utterance.settings
            self.panel.show(self.settings, self.facts)
            self.sentence.value = utterance.text
            self.sentence.cursor_position = len(utterance.text)
            self.set_focus(self.sentence)

    # --- Sound ---

    def hear_next(self) -> None:
        """Plays what was asked for in its order, each once the one before is over."""
        while self._to_hear and self.sound.playing() is None:
            utterance = self.now.find(self._to_hear[0])
            if utterance is None or utterance.state in ("queued", "speaking"):
                return
            self._to_hear.pop(0)
            if utterance.takes:
                self.hear(utterance)
                return

    def hear(self, utterance: Utterance, share: float = 0.0) -> None:
        """Plays the take of the voice that is chosen, from a share of its length on."""
        take = utterance.takes[self.side]
        self.sound.play(take.level, share * take.seconds)
        self._heard = utterance.number, take
        self.show_sound()

    def spoken(self) -> Utterance | None:
        """The selected utterance, where it was spoken; else None, and why is said."""
        utterance = self.said.selected
        if utterance is None:
            self.say("nothing was said yet")
        elif utterance.takes:
            return utterance
        elif utterance.error:
            self.say(utterance.error)
        else:
            given_up = utterance.state == "cancelled"
            self.say("it was given up" if given_up else "it is not spoken yet")
        return None

    def action_play(self) -> None:
        if (utterance := self.spoken()) is not None:
            self._to_hear.clear()
            self.hear(utterance)

    def on_sound_view_sought(self, event: SoundView.Sought) -> None:
        """A click on the picture: from there on."""
        utterance = self.said.selected
        take = utterance.takes.get(self.side) if utterance else None
        if utterance is not None and take is not None and take.level == event.path:
            self.hear(utterance, event.seconds / take.seconds)

    def on_utterance_list_played(self) -> None:
        self.action_play()

    def on_utterance_list_selected(self) -> None:
        self.show_picture()

    def action_silence(self) -> None:
        self._to_hear.clear()
        self.sound.stop()
        self.show_sound()

    def action_flip(self) -> None:
        """The other voice is chosen, and heard from where this one was."""
        if len(self.head.sources) == 1:
            self.say("there is one voice: dlpo-tui listen A --against B brings another")
            return
        share = 0.0
        utterance = self.said.selected
        if self._heard is not None and self.sound.playing() == self._heard[1].level:
            number, take = self._heard
            utterance = self.now.find(number)
            share = min((self.sound.position() or 0.0) / take.seconds, 1.0)
        self.side = other(self.side)
        self.head.show(self.now, self.side)
        self.said.show(self.now, self.side)
        self.show_picture()
        if utterance is not None and utterance.takes:
            self.hear(utterance, share if share < 1 else 0.0)

    def clip_file(self) -> Path | None:
        utterance = self.spoken()
        return utterance.takes[self.side].level if utterance else None

    def action_save(self) -> None:
        """The selected take as the voice made it, its level untouched."""
        if (utterance := self.spoken()) is None:
            return
        take = utterance.takes[self.side]
        side = self.side if len(utterance.takes) > 1 else ""
        proposed = saving.free_name(utterance.text, utterance.settings.seed, side)

        def saved(path: Path | None) -> None:
            if path is not None:
                self.say(f"{take.seconds:.2f} s in {path}")

        self.app.push_screen(Saving(proposed, lambda told: saving.save(take.path, told)), saved)

    # --- Pages and the end ---

    def action_help(self) -> None:
        self.app.push_screen(KeyPage(HEADINGS))

    def action_ask(self) -> None:
        self.app.exit()


def other(side: Side) -> Side:
    return "B" if side == "A" else "A"


def pictured(utterance: Utterance, take: Take, width: int) -> str:
    """What the picture shows, in its title of at most `width` cells."""
    tail = f" · {take.seconds:.2f} s"
    return formats.shortened(formats.plain(utterance.text), max(width - len(tail), 0)) + tail
