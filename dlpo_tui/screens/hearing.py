"""What every screen with clips can do with its sound: volume, device, a browser instead."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual.screen import Screen

from dlpo_tui import formats
from dlpo_tui.screens.devices import Devices
from dlpo_tui.screens.reading import Page
from dlpo_tui.serving import Serving, forwarding
from dlpo_tui.sound import Sound, louder
from dlpo_tui.widgets.sheet import Row


class Hearing(Screen[None]):
    """A screen that holds a sound; the keys of its subclasses call the actions here."""

    sound: Sound
    _serving: Serving | None = None

    def say(self, sentence: str) -> None:
        """Shows an answer to a key."""
        raise NotImplementedError

    def clip_file(self) -> Path | None:
        """The selected clip's file; None, and why is said, where there is none."""
        raise NotImplementedError

    def action_volume(self, by: int) -> None:
        self.sound.volume, self.sound.muted = louder(self.sound.volume, by), False
        self.say(f"volume {self.sound.volume} %")

    def action_mute(self) -> None:
        self.sound.muted = not self.sound.muted
        self.say("muted" if self.sound.muted else f"volume {self.sound.volume} %")

    def action_device(self) -> None:
        self.app.push_screen(Devices(self.sound.device), self.take_device)

    def take_device(self, name: str | None) -> None:
        """From the next clip on; what sounds now ends on the device it began on."""
        if name is not None:
            self.sound.device = name
            self.say(f"clips play through {formats.plain(name) or 'the default device'}")

    def action_serve(self) -> None:
        """The selected clip's address on this machine, and how to reach it from another."""
        path = self.clip_file()
        if path is None:
            return
        if not path.is_file():
            self.say(f"there is no file at {path}")
            return
        try:
            address = self.served(path)
        except OSError as error:
            self.say(f"no port could be opened ({error.strerror}): the clip is at {path}")
            return
        self.app.copy_to_clipboard(address)
        self.say(f"served at {address}")
        assert self._serving is not None
        self.app.push_screen(Served(address, forwarding(self._serving.port()), path))

    def served(self, path: Path) -> str:
        """The URL of a clip; one server for all clips of its folder."""
        if self._serving is None or self._serving.folder != path.parent:
            self.stop_serving()
            self._serving = Serving(path.parent)
        return self._serving.address(path.name)

    def stop_serving(self) -> None:
        if self._serving is not None:
            self._serving.close()
            self._serving = None

    def on_unmount(self) -> None:
        self.stop_serving()


class Served(Page):
    """Where to hear a clip without a sound device here."""

    title_told = "Hear it in a browser"

    def __init__(self, address: str, forward: str, path: Path) -> None:
        super().__init__()
        self.address, self.forward, self.path = address, forward, path

    def content(self) -> list[Row]:
        parts = (
            ("On this machine, open", self.address),
            ("From another, first run there", self.forward),
            ("The file itself", formats.plain(str(self.path))),
        )
        told = [t for head, line in parts for t in (Text(head, "dim"), Text(line), Text())]
        told.append(Text("It is served until this terminal is left, to this machine alone.", "dim"))
        return [Row(Text(), text) for text in told]
