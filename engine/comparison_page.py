"""A comparison as one HTML page that needs nothing else: the table, and both clips of each prompt.

Knows no screen. Names and prompts are foreign text here: `text` escapes them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine import audio, levels
from engine.comparison import Comparison, Row, Side
from engine.files import replacing
from engine.messages import Interval
from engine.page import MISSING, MOST_BYTES, document, scrolling, section, text, versions
from engine.page_clips import data_uri
from engine.preference import Preference
from engine.significance import LEVEL

INKS = {"B": " good", "A": " bad", "differs": "", "": ""}
"""Of a difference, by what it says."""
SAID = {"B": "B better", "A": "A better", "differs": "differs", "": ""}
Sounds = tuple[str, str]
"""A prompt's clips by A and B as data URIs; empty where they are left out."""


def write(
    path: Path, done: Comparison, heard: Preference | None = None, most_bytes: int = MOST_BYTES
) -> int:
    """Writes the page whole or not at all; returns how many prompts it has no sound of.

    `most_bytes`: of sound in it, as it stands there. Errors: OSError.
    """
    sounds = embed(done, most_bytes)
    with replacing(path) as temporary:
        temporary.write_text(page(done, sounds, heard), "utf-8")
    return sum(not a for a, _ in sounds)


def embed(done: Comparison, most_bytes: int) -> list[Sounds]:
    """Both clips of each prompt, equally loud, as FLAC; a prompt has both or none."""
    found, used = list[Sounds](), 0
    with tempfile.TemporaryDirectory(prefix="dlpo-tui-page-") as name:
        folder = Path(name)
        for pair in zip(done.a.done.waves, done.b.done.waves, strict=True):
            for at, wave in zip("ab", levels.matched(pair, done.sample_rate), strict=True):
                audio.write(folder / f"{at}.flac", wave, done.sample_rate)
            room = (most_bytes - used) // 2
            a, b = (data_uri(folder, f"{at}.flac", room) for at in "ab")
            found.append((a, b) if a and b else ("", ""))
            used += len(a + b) if a and b else 0
    return found


def page(done: Comparison, sounds: list[Sounds], heard: Preference | None = None) -> str:
    """The whole document."""
    a, b = (text(Path(side.source).name) for side in (done.a, done.b))
    sections = [
        header(done),
        section("Heard blind", listening(heard) if heard else ""),
        section("Scores", scores(done)),
        section("Clips", clips(done, sounds)),
        section("Versions", versions()),
    ]
    return document(f"{a} and {b} compared", sections)


def header(done: Comparison) -> str:
    facts = [f"{len(done.texts)} prompts", f"speaker {done.speaker}", f"noise of seed {done.seed}"]
    if done.pace != 1.0:
        facts.append(f"pace {done.pace:g}")
    lines = [
        "<h1>Two voices compared</h1>",
        *(f"<p><b>{name}</b> {voice(side)}</p>" for name, side in (("A", done.a), ("B", done.b))),
        f'<p class="label">{text(" · ".join(facts))}</p>',
    ]
    return f"<header>{''.join(lines)}</header>"


def voice(side: Side) -> str:
    return f'{text(side.source)} <small class="label">{side.timesteps} timesteps</small>'


def listening(heard: Preference) -> str:
    """What was preferred without knowing which was which."""
    told = f"{len(heard.answers)} of {len(heard.trials)} pairs, equally loud, in random order."
    lines = [told, *filter(None, heard.lines())]
    return "".join(f"<p>{text(line)}</p>" for line in lines)


# --- Scores -----------------------------------------------------------------------


def scores(done: Comparison) -> str:
    """One score a row, and what its marks mean."""
    if not done.rows:
        return '<p class="note">Nothing was scored.</p>'
    kinds = {"score": "", "unit": "wide", "better is": "wide"}
    heads = [*kinds, "A", "B", "B - A, 95 %", "p", "A : tie : B"]
    head = "".join(f'<th class="{kinds.get(name, "number")}">{name}</th>' for name in heads)
    body = "".join(f"<tr>{cells(row)}</tr>" for row in done.rows)
    table = scrolling(f"<tr>{head}<th></th></tr>", body)
    return f'{table}<p class="note">{how(done)}</p>{notices(done)}'


def cells(row: Row) -> str:
    """One score: direction, both means, the paired difference, its test, prompts won."""
    direction = {True: "higher", False: "lower", None: MISSING}[row.column.higher_is_better]
    ink = INKS[row.verdict]
    wins = " : ".join(map(str, row.wins)) if row.wins else MISSING
    means = (MISSING if v is None else f"{v.mean:.3f}" for v in (row.a, row.b))
    told = [difference(row.difference), p_value(row.p_holm), wins]
    return (
        f'<td>{text(row.column.name)}</td><td class="wide">{text(row.column.unit)}</td>'
        f'<td class="wide">{direction}</td>'
        + "".join(f'<td class="number">{value}</td>' for value in means)
        + f'<td class="number{ink}">{told[0]}</td>'
        + "".join(f'<td class="number">{value}</td>' for value in told[1:])
        + f'<td class="why{ink}">{SAID[row.verdict]}</td>'
    )


def difference(value: Interval | None) -> str:
    if value is None:
        return MISSING
    return f"{value.mean:+.3f} <small>({value.low:+.3f} to {value.high:+.3f})</small>"


def p_value(p: float | None) -> str:
    if p is None:
        return MISSING
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def how(done: Comparison) -> str:
    """The footnote."""
    tests = sum(row.p_value is not None for row in done.rows)
    holm = f", corrected for {tests} scores (Holm)" if tests > 1 else ""
    return (
        "The same prompts and the same noise through both. 95 %: bootstrap over the prompts (BCa). "
        f"p: sign-flip test of the paired differences{holm}. Marked where p &lt; {LEVEL:g}."
    )


def notices(done: Comparison) -> str:
    """What a reader of the table should know, folded away where it is much."""
    told = "".join(f'<p class="note">{text(notice)}</p>' for notice in done.notices)
    if len(done.notices) < 3:
        return told
    return f"<details><summary>{len(done.notices)} notices</summary>{told}</details>"


# --- Clips ------------------------------------------------------------------------


def clips(done: Comparison, sounds: list[Sounds]) -> str:
    """A row a prompt: the sentence, both clips, and each score of both with its difference."""
    names = [row.column.name for row in done.rows]
    heads = "".join(f'<th class="number">{text(name)}</th>' for name in names)
    rows = []
    for i, prompt in enumerate(done.texts):
        a, b = done.scores("a", i), done.scores("b", i)
        players = "".join(
            f"<span><b>{name}</b>{player(sound, f'{name}, prompt {i + 1}: {prompt}')}</span>"
            for name, sound in zip("AB", sounds[i], strict=True)
        )
        rows.append(
            f'<tr>{number_cell(i + 1)}<td class="sentence">{text(prompt)}</td>'
            f'<td><div class="pair">{players}</div></td>'
            + "".join(gain(a[name], b[name]) for name in names)
            + "</tr>"
        )
    silent = sum(not a for a, _ in sounds)
    left = f" Without sound, as the page would be too large: {silent}." if silent else ""
    note = (
        f'<p class="note">Both clips of a prompt are equally loud.{left} Of each score: B - A, '
        "and below it A and B; a click on its head sorts by the difference.</p>"
    )
    fixed = '<th class="number">prompt</th><th>sentence</th><th class="fixed">sound</th>'
    head = f"<tr>{fixed}{heads}</tr>"
    return note + scrolling(head, "".join(rows), "sortable")


def player(sound: str, told: str) -> str:
    if not sound:
        return '<span class="label">not in this page</span>'
    return f'<audio controls preload="metadata" aria-label="{text(told)}" src="{sound}"></audio>'


def number_cell(value: int) -> str:
    return f'<td class="number" data-value="{value}">{value}</td>'


def gain(a: float | None, b: float | None) -> str:
    """Both scores of a prompt and their difference, by which the column is sorted."""
    both = " ".join(MISSING if v is None else f"{v:.3f}" for v in (a, b))
    value, told = ("", MISSING) if a is None or b is None else (f"{b - a:.6g}", f"{b - a:+.3f}")
    small = f'<small class="label">{both}</small>'
    return f'<td class="number" data-value="{value}">{told}<br>{small}</td>'
