"""The colours: one blue for the subject, amber and red for what needs eyes; four grounds."""

from __future__ import annotations

from textual.theme import Theme

EXTRA = {
    "rule": "#303743",
    "label": "#8a94a3",
    "third": "#b7a07a",
    "knob": "#8d7fb3",
}
"""Axes and panel edges; words beside numbers; a chart's third curve; where a knob changed."""

CALM = Theme(
    name="calm",
    primary="#86b6dc",
    secondary="#c39ad0",
    accent="#e3b872",
    warning="#e3b872",
    error="#e58a84",
    success="#93c3a0",
    foreground="#d3d8e0",
    background="#12151a",
    surface="#171b22",
    panel="#1e242d",
    dark=True,
    variables=EXTRA,
)

PAPER = Theme(
    name="paper",
    primary="#2f6690",
    secondary="#7f4a92",
    accent="#845a0d",
    warning="#7f550c",
    error="#a93a34",
    success="#336748",
    foreground="#22262d",
    background="#faf8f4",
    surface="#f3f0ea",
    panel="#e8e4dc",
    dark=False,
    variables={"rule": "#d0cbc0", "label": "#5d6168", "third": "#755f31", "knob": "#7d6fa3"},
)

CLEAR = Theme(
    name="clear",
    primary="#56b4e9",
    secondary="#e69f00",
    accent="#f0e442",
    warning="#e69f00",
    error="#f0824a",
    success="#1fb88c",
    foreground="#e6e6e6",
    background="#101214",
    surface="#16191c",
    panel="#1f2327",
    dark=True,
    variables={"rule": "#3a4046", "label": "#9aa3ad", "third": "#d894b8", "knob": "#b07a9c"},
)
"""Told apart with any colour vision: Okabe and Ito's palette, its vermillion, green and purple
lightened for a dark ground."""

SIXTEEN = Theme(
    name="sixteen",
    primary="#55ffff",
    secondary="#ff55ff",
    accent="#ffff55",
    warning="#ffff55",
    error="#ff5555",
    success="#55ff55",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    dark=True,
    variables={"rule": "#555555", "label": "#aaaaaa", "third": "#55ff55", "knob": "#ff55ff"},
)
"""For terminals of 16 colours: these are those, so that none is guessed at."""

THEMES = (CALM, PAPER, CLEAR, SIXTEEN)
NAMES = tuple(theme.name for theme in THEMES)


def after(name: str) -> str:
    """The theme that follows, round and round."""
    at = NAMES.index(name) if name in NAMES else -1
    return NAMES[(at + 1) % len(NAMES)]
