"""One sound, seen: waveform, mel spectrogram, time axis, and where it is playing."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.color import Color, lab_to_rgb, rgb_to_lab
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.worker import Worker, WorkerState

from dlpo_tui import formats
from dlpo_tui.glyphs import Ascii
from dlpo_tui.widgets.lines import Inked

if TYPE_CHECKING:
    from dlpo_tui.widgets.sound_picture import Picture

KEPT = 8
"""Pictures kept: going back to a clip just seen reads nothing."""
LEVELS = 24
"""Colours of the spectrogram, so few that neighbours often share one."""
SHADES = " .:-=+*#"
"""In their place where there is no colour, or nothing but ASCII."""
STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Seconds between two labels of the time axis."""
LABEL = 8
"""Cells that a label of the time axis takes at least."""


class SoundView(Inked):
    """Reads files in a thread of its own, the newest wish alone; draws once a change."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"ink--{part}" for part in ("first", "second", "third", "playing", "label", "axis", "error")
    }
    DEFAULT_CSS = "SoundView { width: 1fr; height: 1fr; }"

    class Sought(Message):
        """A click: from there on, please."""

        def __init__(self, path: Path, seconds: float) -> None:
            super().__init__()
            self.path, self.seconds = path, seconds

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path: Path | None = None
        self.beside: Path | None = None
        self.other = False
        self._pictures: OrderedDict[Path, Picture | str] = OrderedDict()
        self._reading: Path | None = None
        self._drawn: tuple[int, int, list[str], list[Strip]] | None = None
        self._head: int | None = None

    # --- What is shown ---

    def show(self, path: Path | None, beside: Path | None = None, other: bool = False) -> None:
        """The file to draw; `beside`: one it is compared with, and shares its scale with.

        `other`: it is the second of the two, and has the other colour.
        """
        if (path, beside, other) != (self.path, self.beside, self.other):
            self.path, self.beside, self.other = path, beside, other
            self._head = None
            self.redraw()
            self.read_next()

    def play(self, seconds: float | None) -> None:
        """Where it is playing, from its beginning; None: it does not sound."""
        picture = self.picture
        head = None
        if seconds is not None and picture and not isinstance(picture, str):
            share = min(max(seconds / picture.seconds, 0.0), 1.0)
            head = min(int(share * self.size.width), self.size.width - 1)
        if head != self._head:
            # Only what lies between the old place and the new is sent to the terminal.
            first, last = sorted((head or 0, self._head or 0))
            self._head = head
            self.refresh(Region(first, 0, last - first + 1, self.size.height))

    @property
    def picture(self) -> Picture | str | None:
        """What is known of the file: its picture, a sentence why there is none, or nothing yet."""
        return self._pictures.get(self.path) if self.path else None

    def redraw(self) -> None:
        self._drawn = None
        self.refresh()

    def notify_style_update(self) -> None:
        self._drawn = None
        self._ramp = None
        super().notify_style_update()

    def on_resize(self) -> None:
        self.redraw()

    # --- Reading, away from the keys ---

    def read_next(self) -> None:
        """Begins to read what is wanted and not known, unless something is being read."""
        for path in (self.path, self.beside):
            if path is None or self._reading is not None:
                continue
            if path in self._pictures:
                self._pictures.move_to_end(path)
                continue
            self._reading = path
            self.run_worker(partial(read, path), thread=True, group="pictures")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        event.stop()
        if event.state != WorkerState.SUCCESS or self._reading is None:
            return
        assert event.worker.result is not None
        self._pictures[self._reading] = event.worker.result
        while len(self._pictures) > KEPT:
            self._pictures.popitem(last=False)
        self._reading = None
        self.redraw()
        self.read_next()

    # --- Mouse ---

    def on_click(self, event: events.Click) -> None:
        picture = self.picture
        if picture and not isinstance(picture, str) and self.path is not None:
            event.stop()
            share = event.x / max(self.size.width, 1)
            self.post_message(self.Sought(self.path, share * picture.seconds))

    # --- Drawing ---

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        picture = self.picture
        if picture is None or isinstance(picture, str) or width < 4:
            told = picture if isinstance(picture, str) else None
            return self.strip(self.sentence(y, told), self.paper)
        rows = self.wave_rows(height)
        if self._drawn is None or self._drawn[:2] != (width, height):
            self._drawn = width, height, *self.draw(picture, width, height)
        _, _, wave, mel = self._drawn
        if y < rows:
            return self.wave_line(wave[y])
        if y < rows + len(mel):
            return self.headed(mel[y - rows])
        return self.strip(self.axis(picture, width), self.paper)

    def wave_rows(self, height: int) -> int:
        """Rows of the waveform; what is left but for the axis is the spectrogram's."""
        room = max(height - 1, 1)
        return room if room < 4 else max(round(room * 0.36), 2)

    def sentence(self, y: int, told: str | None) -> Text:
        if told is None:
            waits = self.path is not None and self.picture is None and y == 0
            return Text("reading …" if waits else "", self.ink("label"))
        rows = Text(formats.plain(told), self.ink("error")).wrap(
            self.app.console, max(self.size.width, 1)
        )
        return rows[y] if y < len(rows) else Text()

    def draw(self, picture: Picture, width: int, height: int) -> tuple[list[str], list[Strip]]:
        from dlpo_tui.widgets import sound_picture

        other = self._pictures.get(self.beside) if self.beside else None
        both = [picture] if other is None or isinstance(other, str) else [picture, other]
        rows = self.wave_rows(height)
        wave = sound_picture.outline(picture.wave, max(p.peak for p in both), width, rows)
        loudest, left = max(p.loudest for p in both), max(height - 1 - rows, 0)
        if not left:
            return wave, []
        if self.shaded():
            grid = sound_picture.levels(picture.mel, loudest, width, left, len(SHADES))
            texts = ["".join(SHADES[level] for level in row) for row in grid]
            return wave, [Strip([Segment(text, self.paper)], width) for text in texts]
        grid = sound_picture.levels(picture.mel, loudest, width, left * 2, LEVELS)
        return wave, [
            self.half_blocks(upper, lower)
            for upper, lower in zip(grid[::2], grid[1::2], strict=True)
        ]

    def shaded(self) -> bool:
        """Whether half a cell of one colour over half a cell of another cannot be seen."""
        ascii_alone = any(isinstance(one, Ascii) for one in self.app.get_line_filters())
        return self.app.no_color or ascii_alone

    def half_blocks(self, upper: list[int], lower: list[int]) -> Strip:
        """Two rows of levels in one row of cells; neighbours alike are one segment."""
        segments: list[Segment] = []
        run, before = 0, (-1, -1)
        for pair in [*zip(upper, lower, strict=True), (-1, -1)]:
            if pair != before and run:
                segments.append(Segment("▀" * run, self.cell(*before)))
                run = 0
            before, run = pair, run + 1
        return Strip(segments, len(upper))

    _ramp: tuple[dict[tuple[int, int], Style], list[Color]] | None = None

    def cell(self, upper: int, lower: int) -> Style:
        if self._ramp is None:
            self._ramp = {}, ramp(self.stops())
        styles, colours = self._ramp
        if (upper, lower) not in styles:
            styles[upper, lower] = Style(
                color=colours[upper].rich_color, bgcolor=colours[lower].rich_color
            )
        return styles[upper, lower]

    def stops(self) -> list[Color]:
        """From nothing to the loudest: the ground, the first curve's colour, the third's."""
        ground, text = self.background_colors[1], self.styles.color
        first, third = (self.get_component_styles(f"ink--{p}").color for p in ("first", "third"))
        return [ground, ground.blend(first, 0.55), third.blend(text, 0.3)]

    def wave_line(self, row: str) -> Strip:
        """What has sounded in another ink than what is to come."""
        rest = self.paper + self.ink("second" if self.other else "first")
        if self._head is None:
            return Strip([Segment(row, rest)], len(row))
        played = self.paper + self.ink("playing")
        at = self._head + 1
        return Strip([Segment(row[:at], played), Segment(row[at:], rest)], len(row))

    def headed(self, strip: Strip) -> Strip:
        if self._head is None:
            return strip
        head = self._head
        sign = Strip([Segment("│", self.paper + self.ink("playing"))], 1)
        return Strip.join([strip.crop(0, head), sign, strip.crop(head + 1)])

    def axis(self, picture: Picture, width: int) -> Text:
        """Seconds, at round numbers."""
        least = picture.seconds * LABEL / width
        step = next((step for step in STEPS if step >= least), 300.0)
        line = ""
        for number in range(int(picture.seconds / step) + 1):
            at = round(number * step / picture.seconds * width)
            told = f"{number * step:g}{' s' if number == 0 else ''}"
            if at + len(told) > width:
                break
            line = line.ljust(at) + told
        return Text(line, self.ink("label"))


def read(path: Path) -> Picture | str:
    """The picture of a file, or the sentence why there is none."""
    from dlpo_tui.widgets import sound_picture  # numpy, after the first paint

    try:
        return sound_picture.read(path)
    except ValueError as error:
        return str(error)


def ramp(stops: list[Color]) -> list[Color]:
    """LEVELS colours through the stops, at even distances to the eye (in CIE L*a*b*)."""
    labs = [rgb_to_lab(stop) for stop in stops]
    made = []
    for level in range(LEVELS):
        place = level / (LEVELS - 1) * (len(labs) - 1)
        at = min(int(place), len(labs) - 2)
        one, other, share = labs[at], labs[at + 1], place - at
        mixed = type(one)(
            *(
                a + share * (b - a)
                for a, b in ((one.L, other.L), (one.a, other.a), (one.b, other.b))
            )
        )
        made.append(lab_to_rgb(mixed).clamped)
    return made
