"""The colours: a calm dark ground, one blue for the subject, amber and red for what needs eyes."""

from __future__ import annotations

from textual.theme import Theme

EXTRA = {
    "rule": "#303743",
    "label": "#808a99",
    "third": "#b7a07a",
    "knob": "#7d6fa3",
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
    accent="#9a6a12",
    warning="#8f6110",
    error="#a93a34",
    success="#3c7550",
    foreground="#22262d",
    background="#faf8f4",
    surface="#f3f0ea",
    panel="#e8e4dc",
    dark=False,
    variables={"rule": "#d0cbc0", "label": "#6d7178", "third": "#8a7440", "knob": "#7d6fa3"},
)
