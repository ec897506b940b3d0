"""A run as one HTML page that needs nothing else: curves, knobs, clips to play, scores, profile.

Knows no screen and no torch. Whatever a run holds is foreign text here: `text` escapes it.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from importlib import metadata
from pathlib import Path

from engine import messages as m
from engine.files import replacing
from engine.page_clips import Heard, chosen, embed, read
from engine.page_style import SCRIPT, STYLE
from engine.vector import Curve, Figure, draw
from engine.visible import visible

MOST_BYTES = 16_000_000
"""Of sound in a page, as it stands there."""
MISSING = "–"
PACKAGES = ("dlpo-tui", "torch", "torchaudio", "numpy", "safetensors", "soundfile")
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "media-src data:; img-src data:; base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing from anywhere."""


def write(folder: Path, path: Path, most_bytes: int = MOST_BYTES) -> list[Heard]:
    """Writes the page of the run in `folder` to `path`, whole or not at all; returns its clips.

    Errors: JournalError for what is no run; OSError where nothing can be written.
    """
    now, clips = read(folder)
    heard = embed(folder, chosen(clips), most_bytes)
    with replacing(path) as temporary:
        temporary.write_text(page(folder, now, heard, len(clips)), "utf-8")
    return heard


def page(folder: Path, now: m.Snapshot, heard: Sequence[Heard], clips: int) -> str:
    """The whole document."""
    name = text(now.started.run if now.started else folder.resolve().name)
    sections = [
        header(name, now),
        section("Scores of the fixed prompts", scores(now)),
        section("Curves", figures(curves(now)) + legend(now)),
        section("Knobs", knobs(now)),
        section("Clips", table_of_clips(now, heard, clips)),
        section("Log", log(now)),
        section("Profile", profile(folder)),
        section("Versions", versions()),
    ]
    return document(name, sections)


def document(title: str, sections: Sequence[str]) -> str:
    """A page of its own: style, script, and the promise to load nothing; `title` is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(filter(None, sections)) +
        f"\n<script>{SCRIPT}</script></body></html>\n"
    )  # fmt: skip


def text(words: object) -> str:
    """Foreign text as HTML: escaped, and on one line without control characters."""
    return escape(visible(str(words)))


def section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>\n{body}</section>" if body else ""


def header(name: str, now: m.Snapshot) -> str:
    started, ended = now.started, now.ended
    facts = []
    if started is not None:
        chain = f"{started.timesteps} timesteps, {len(started.kept)} trained"
        voice = f"voice {Path(started.voice).name}"
        facts = [started.algorithm, voice, started.device, started.precision, chain]
    done = f"{now.update} of {started.updates} updates" if started else "never started"
    how = ended.reason if ended else "cut off, or still at work"
    verdict = f"{done}: {how}"
    if ended and ended.error:
        verdict += f", {ended.error}"
    ink = "failed" if ended and ended.reason == "failed" else "label"
    lines = [f"<h1>{name}</h1>", f'<p class="label">{text(" · ".join(facts))}</p>' if facts else "",
             f'<p class="{ink}">{text(verdict)}</p>']  # fmt: skip
    if started and started.stand_in:
        lines.append(f'<p class="failed">{text(started.stand_in)}</p>')
    return f"<header>{''.join(lines)}</header>"


# --- Scores -----------------------------------------------------------------------


def columns(now: m.Snapshot) -> list[m.Column]:
    return [*now.started.rewards, *now.started.judges] if now.started else []


def scores(now: m.Snapshot) -> str:
    """First against last evaluation, one score a row."""
    if not now.evaluations:
        return '<p class="note">No evaluation was finished.</p>'
    (first, before), (last, after) = now.evaluations[0], now.evaluations[-1]
    heads = ["score", "unit", "better is", f"update {first}", f"update {last}", "change"]
    rows = []
    for column in columns(now):
        a, b = before.get(column.name), after.get(column.name)
        better = {True: "higher", False: "lower", None: MISSING}[column.higher_is_better]
        unit, better = (f'<td class="wide">{text(t)}</td>' for t in (column.unit, better))
        numbers = [interval(a), interval(b)]
        change, ink = MISSING, ""
        if a and b and last > first:
            change = f"{b.mean - a.mean:+.3f}"
            # Intervals that part say it is no chance; others are left without a colour.
            if column.higher_is_better is not None and (b.low > a.high or b.high < a.low):
                ink = " good" if (b.mean > a.mean) == column.higher_is_better else " bad"
        rows.append(f"<td>{text(column.name)}</td>{unit}{better}"
                    + "".join(f'<td class="number">{n}</td>' for n in numbers)
                    + f'<td class="number{ink}">{change}</td>')  # fmt: skip
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    kinds = ["", "wide", "wide", "number", "number", "number"]
    head = "".join(f'<th class="{k}">{text(h)}</th>' for k, h in zip(kinds, heads, strict=True))
    note = (
        '<p class="note">Means with their 95 % intervals. A colour: the two intervals do not '
        "overlap.</p>"
    )
    return scrolling(f"<tr>{head}</tr>", body) + note


def scrolling(head: str, body: str, kind: str = "") -> str:
    """A table that may be wider than the page; `head` and `body` are its rows."""
    table = f'<table class="{kind}"><thead>{head}</thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def interval(value: m.Interval | None) -> str:
    if value is None:
        return MISSING
    return f"{value.mean:.3f} <small>({value.low:.3f} to {value.high:.3f})</small>"


# --- Curves -----------------------------------------------------------------------


def curves(now: m.Snapshot) -> list[Figure]:
    """Every figure of a run, the most telling first; empty ones left out."""
    marks = [
        (float(mark.update), mark.kind, f"{mark.update}: {visible(mark.text)}")
        for mark in now.marks
    ]
    x = [float(update) for update, _ in now.history]
    stats = [row for _, row in now.history]
    at = [float(update) for update, _ in now.evaluations]

    def scored(name: str, label: str = "", points: bool = False) -> Curve:
        found = [values.get(name) for _, values in now.evaluations]
        return banded(label or name, at, found, points)

    reward = [banded("rollouts", x, [s.reward for s in stats])]
    if now.started and len(now.started.rewards) == 1:
        reward.append(scored(now.started.rewards[0].name, "fixed prompts", points=True))
    found = [Figure("reward", reward, marks=marks)]
    found += [
        Figure(visible(c.name), [scored(c.name, visible(c.name))], visible(c.unit), marks)
        for c in columns(now)
    ]
    phases = list(dict.fromkeys(name for s in stats for name in s.seconds))
    for title, unit, lines in (
        ("loss", "", [("loss", [s.loss for s in stats])]),
        ("penalty", "", [("penalty", [s.penalty for s in stats])]),
        ("KL to the start", "nats a clip", [("kl", [s.kl for s in stats])]),
        ("probability ratio", "", [("mean", [s.ratio for s in stats])]),
        ("spread of the log ratio", "nats", [("spread", [s.ratio_spread for s in stats])]),
        ("share clipped", "", [("above", [s.clip_high for s in stats]),
                               ("below", [s.clip_low for s in stats])]),
        ("gradient norm", "", [("norm", [s.grad_norm for s in stats])]),
        ("time of an update", "s", [(visible(p), [s.seconds.get(p) for s in stats])
                                    for p in phases]),
    ):  # fmt: skip
        figure = Figure(title, [Curve(name, x, y) for name, y in lines], unit, marks)
        if any(v is not None for curve in figure.curves for v in curve.y):
            found.append(figure)
    return found if stats or at else []


def banded(
    name: str, x: Sequence[float], rows: Sequence[m.Interval | None], points: bool = False
) -> Curve:
    """Means with their intervals around them."""
    low, high = [r.low if r else None for r in rows], [r.high if r else None for r in rows]
    y = [r.mean if r else None for r in rows]
    return Curve(name, x, y, () if points else low, () if points else high, points)


def figures(found: Iterable[Figure]) -> str:
    parts = []
    for figure in found:
        several = len(figure.curves) > 1
        keys = "".join(
            f'<small><span class="key curve-{i % 4}"></span>{escape(curve.name)}</small>'
            for i, curve in enumerate(figure.curves) if several
        )  # fmt: skip
        unit = f"<small>{escape(figure.unit)}</small>" if figure.unit else ""
        caption = f"<figcaption>{escape(figure.title)}{unit}{keys}</figcaption>"
        parts.append(f"<figure>{caption}{draw(figure)}</figure>")
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def legend(now: m.Snapshot) -> str:
    """What the vertical lines are, and every one of them in words."""
    if not now.history:
        return ""
    words = {
        "knob": "a knob was changed",
        "checkpoint": "a snapshot was saved",
        "rollback": "the session went back here",
        "alarm": "an alarm",
    }
    kinds = {mark.kind for mark in now.marks}
    told = "; ".join(words[kind] for kind in words if kind in kinds)
    lines = f" Vertical lines: {told}; their words show under the pointer." if told else ""
    return f'<p class="note">Over updates. Bands: 95 % intervals.{lines}</p>'


# --- Knobs, clips, log ------------------------------------------------------------


def knobs(now: m.Snapshot) -> str:
    """The values at the end, their course where one was turned, and every turn."""
    if now.started is None:
        return ""
    values = asdict(now.knobs)
    ends = "".join(f'<th class="number">{name}</th>' for name in values)
    last = "".join(f'<td class="number">{value:g}</td>' for value in values.values())
    table = scrolling(f"<tr>{ends}</tr>", f"<tr>{last}</tr>")
    if not now.turns:
        return f'{table}<p class="note">No knob was turned.</p>'
    courses = []
    for name in values:
        turns = [turn for turn in now.turns if name in turn.new]
        if turns:
            x = [
                0.0,
                *(float(turn.update) for turn in turns),
                float(max(now.update, turns[-1].update)),
            ]
            y = [turns[0].old.get(name), *(turn.new[name] for turn in turns), turns[-1].new[name]]
            courses.append(Figure(name, [Curve(name, x, y, steps=True)]))
    told = "".join(
        f'<tr><td class="number">{turn.update}</td><td>{text(turn.who)}</td><td>'
        + text(", ".join(f"{k} {turn.old.get(k, 0):g} → {v:g}" for k, v in turn.new.items()))
        + "</td></tr>"
        for turn in now.turns
    )
    heads = '<th class="number">update</th><th>by</th><th>change</th>'
    turned = scrolling(f"<tr>{heads}</tr>", told)
    return f"{table}<br>{figures(courses)}<br>{turned}"


def table_of_clips(now: m.Snapshot, heard: Sequence[Heard], clips: int) -> str:
    """Every chosen clip with its numbers and a player."""
    if not heard:
        return '<p class="note">No clip was finished.</p>'
    names = [column.name for column in columns(now)]
    heads = "".join(f'<th class="number">{text(n)}</th>' for n in ("update", "reward", *names))
    rows = []
    for one in heard:
        clip = one.clip
        values = [clip.reward, *(clip.scores.get(name) for name in names)]
        numbers = "".join(number(value) for value in values)
        told = f"{one.why}, update {clip.update}: {clip.prompt}"
        player = '<span class="label">not in this page</span>'
        if one.sound:
            sound = f'aria-label="{text(told)}" src="{one.sound}"'
            player = f'<audio controls preload="metadata" {sound}></audio>'
        rows.append(
            f'<tr><td>{player}</td><td class="why">{one.why}</td>'
            f'<td class="sentence">{text(clip.prompt)}</td>'
            f'<td class="number">{clip.update}</td>{numbers}</tr>'
        )
    head = f'<tr><th class="fixed">sound</th><th>clip</th><th>sentence</th>{heads}</tr>'
    body = "".join(rows)
    silent = sum(not one.sound for one in heard)
    left = (
        f" Of these, {silent} without sound: the page would be too large, or the file is gone."
        if silent
        else ""
    )
    note = f'<p class="note">{len(heard)} of the run\'s {clips} clips: the first and the last ' \
           f"evaluation, the best and the worst rollouts by reward.{left}</p>"  # fmt: skip
    return note + scrolling(head, body, "sortable")


def number(value: float | None) -> str:
    if value is None:
        return f'<td class="number" data-value="">{MISSING}</td>'
    return f'<td class="number" data-value="{value:.6g}">{value:.3f}</td>'


def log(now: m.Snapshot) -> str:
    if not now.log:
        return ""
    inks = {"info": "", "warning": "bad", "error": "bad"}
    rows = "".join(
        f'<tr><td class="number label">{line.update}</td>'
        f'<td class="sentence {inks[line.level]}">{text(line.text)}</td></tr>'
        for line in now.log
    )
    table = f"<table><tbody>{rows}</tbody></table>"
    return f"<details><summary>{len(now.log)} lines</summary>{table}</details>"


def profile(folder: Path) -> str:
    """The resolved profile as it lies in the run's folder."""
    for name in ("profile.toml", "profile.json"):
        try:
            words = (folder / name).read_text("utf-8", errors="replace")
        except OSError:
            continue
        shown = "\n".join(text(line) for line in words.split("\n"))
        return f"<details><summary>{name}</summary><pre>{shown}</pre></details>"
    return '<p class="note">The run\'s folder holds no profile.</p>'


def versions() -> str:
    """What made this page; the run itself may have been made by others."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    told = f"This page: Python {platform.python_version()}, {', '.join(found)}"
    return f'<p class="label">{text(told)}</p>'
