"""Words can be read on every ground of every theme, as WCAG counts contrast."""

from __future__ import annotations

import pytest
from conftest import Stager
from textual.color import Color
from textual.theme import Theme

from dlpo_tui import config
from dlpo_tui.theme import NAMES, THEMES, after

GROUNDS = ("background", "surface", "panel")
INKS = ("foreground", "primary", "secondary", "accent", "warning", "error", "success")
READABLE, SEEN = 4.5, 3.0


def luminance(colour: str) -> float:
    parts = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in Color.parse(colour).normalized
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_counted_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES, ids=NAMES)
def test_words_can_be_read(theme: Theme) -> None:
    inks = {name: getattr(theme, name) for name in INKS}
    inks |= {name: theme.variables[name] for name in ("label", "third")}
    for ground in GROUNDS:
        for name, ink in inks.items():
            found = contrast(ink, getattr(theme, ground))
            assert found >= READABLE, (name, ground, found)
        assert contrast(theme.variables["knob"], getattr(theme, ground)) >= SEEN
    for badge in ("success", "warning", "error"):
        assert contrast(getattr(theme, badge), theme.background or "") >= READABLE


def test_the_settings_know_every_theme() -> None:
    assert config.THEMES == NAMES


async def test_t_goes_round_the_themes_and_says_how_to_keep_one(stage: Stager) -> None:
    async with stage(size=(120, 40)) as at:
        seen = []
        for _ in NAMES:
            await at.press("t")
            seen.append(at.app.theme)
            assert f"theme {at.app.theme}" in at.text()
        assert seen == [*NAMES[1:], NAMES[0]]
    assert after("no such theme") == NAMES[0]
