"""The app of a blind test: renders behind the first paint, leaves where nothing can be heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dlpo_tui.app import TICK_SECONDS
from dlpo_tui.base_app import BaseApp
from dlpo_tui.rendering import Rendering
from dlpo_tui.screens.blind import BlindScreen
from dlpo_tui.sound import Sound, speaker
from dlpo_tui.themed import run_quietly

if TYPE_CHECKING:
    from dlpo_tui.keeping import Keeping
    from engine.preference import Choice


class BlindApp(BaseApp):
    """Looks at the rendering ten times a second."""

    def __init__(
        self,
        rendering: Rendering,
        sound: Sound,
        sources: tuple[str, str],
        keeping: Keeping | None = None,
    ) -> None:
        super().__init__()
        self.rendering = rendering
        self.blind_screen = BlindScreen(rendering, sound, sources, keeping)

    def on_mount(self) -> None:
        self.push_screen(self.blind_screen)
        self.set_interval(TICK_SECONDS, self.tick)
        self.call_after_refresh(self.rendering.start)

    def tick(self) -> None:
        if not self.blind_screen.is_mounted:
            return
        self.blind_screen.show()
        if self.rendering.error and self.rendering.pairs is None:
            self.exit()  # why is said on the way out

    def action_help_quit(self) -> None:
        """Ctrl+C is a wish to quit."""
        if self.screen is self.blind_screen:
            self.blind_screen.action_ask()

    async def action_quit(self) -> None:
        """Textual's own way out asks as well."""
        self.action_help_quit()


def run_blind(
    rendering: Rendering,
    sources: tuple[str, str],
    keeping: Keeping | None = None,
    sound: Sound | None = None,
) -> tuple[str, tuple[Choice, ...]]:
    """Shows the test until it is over or left; where its log lies if it failed, the answers.

    `keeping`: what writes each answer down as it is given.
    """
    sound = sound or speaker()
    app = BlindApp(rendering, sound, sources, keeping)
    why = run_quietly(app, "blind", sound)
    return why, tuple(app.blind_screen.answers)
