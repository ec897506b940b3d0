"""ASCII, cell for cell."""

from __future__ import annotations

import pytest
from conftest import Stager
from rich.cells import cell_len

from dlpo_tui import config
from dlpo_tui.glyphs import plain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("━╸─│┤└┘", "==-|+++"),
        ("▲┴!●", "^+!o"),
        ("\u2800\u28c0\u2809\u2847\u28ff", " .':*"),
        ("▁▄█", ".=#"),
        ("3.7 ±0.2 …", "3.7 ~0.2 ~"),
        ("Naïve façade", "Naive facade"),
        ("音声 ok", "???? ok"),
        ("½", "?"),
    ],
)
def test_signs_become_ascii_of_the_same_width(text: str, told: str) -> None:
    assert plain(text) == told
    assert cell_len(plain(text)) == cell_len(text)


@pytest.mark.parametrize("scene", ["running", "paused", "finished", "failed", "loading"])
async def test_no_screen_holds_more_than_ascii(
    stage: Stager, monkeypatch: pytest.MonkeyPatch, scene: str
) -> None:
    monkeypatch.setattr(config, "in_use", config.Config(ascii=True))
    async with stage(scene) as at:
        for keys in ((), ("question_mark",), ("escape", "l"), ("escape", "ctrl+p"), ("escape",)):
            await at.press(*keys)
            assert at.text().isascii(), [c for c in at.text() if not c.isascii()]


async def test_without_the_wish_curves_are_braille(stage: Stager) -> None:
    async with stage() as at:
        assert not at.text().isascii()
