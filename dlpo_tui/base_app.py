"""What every app of ours has: the user's theme and keys, ASCII, the command palette."""

from __future__ import annotations

from textual.app import App

from dlpo_tui import config, glyphs
from dlpo_tui.endings import terminal_stands
from dlpo_tui.keys import remapped
from dlpo_tui.palette import Commands
from dlpo_tui.seen import Visible
from dlpo_tui.theme import CALM, EXTRA, THEMES, after

LOOK_SECONDS = 2.0
"""Between looks whether the terminal is still there."""


class BaseApp(App[None]):
    """Goes by the settings in use when it is made; draws nothing itself."""

    TITLE = "dlpo-tui"
    CSS = """
    CommandPalette > Vertical { width: 84; max-width: 100%; background: $surface; }
    CommandPalette SearchIcon { display: none; }
    CommandPalette #--input { border: none; padding: 1 1 0 1; background: $surface; }
    CommandPalette CommandList { border: none; max-height: 60vh; background: $surface; }
    """
    COMMANDS = {Commands}  # noqa: RUF012 (Textual's own way)

    def __init__(self) -> None:
        super().__init__()
        self.hung_up = False
        """Whether the terminal has been closed."""
        settings = config.in_use
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = settings.theme or CALM.name
        self.set_keymap(dict(remapped))
        # Screens are plain text to a terminal: nothing is to move by itself.
        self.animation_level = "none"
        self.ascii = glyphs.Ascii(enabled=settings.ascii)
        self._filters += [Visible(), self.ascii]

    def on_mount(self) -> None:
        if terminal_stands():
            self.set_interval(LOOK_SECONDS, self.look)

    def look(self) -> None:
        """Leaves where the terminal is gone, which is not always told by a signal.

        Textual would go on reading nothing from it, with half a core.
        """
        if not terminal_stands():
            self.hung_up = True
            self.exit()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of ours for the themes that do not name them."""
        return EXTRA

    def action_next_theme(self) -> None:
        self.wear(after(self.theme))

    def wear(self, theme: str) -> None:
        """Other colours; kept only by the settings file, which is the user's."""
        self.theme = theme
        if say := getattr(self.screen, "say", None):
            say(f'theme {theme}; to keep it: theme = "{theme}" in {config.path()}')
