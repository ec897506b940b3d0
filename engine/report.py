"""A comparison as a folder: clips, scores as JSON and CSV, and a page to read; whole or not there.

Knows nothing of how a comparison came about.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import audio
from engine.comparison import Comparison, ComparisonError, Row
from engine.files import replacing, sync
from engine.messages import Interval
from engine.preference import Preference
from engine.significance import LEVEL
from engine.visible import visible

MISSING = "–"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which takes its name on leaving.

    An exception inside removes it. Errors: ComparisonError where something is at `path`
    already, save an empty folder; OSError where nothing can be written there.
    """
    path = path.resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ComparisonError(f"{path} is there already; name a new folder for the report")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(folder: Path, done: Comparison, heard: Preference | None = None) -> None:
    """Fills an empty folder: clips/, scores.json, scores.csv, index.md.

    `heard`: what a listener preferred, who did not know which voice was which.
    """
    for name, side in (("a", done.a), ("b", done.b)):
        for i, wave in enumerate(side.done.waves):
            audio.write(folder / clip(name, i), wave, done.sample_rate)
    told = done.plain() | ({"listening": heard.plain(done.texts)} if heard else {})
    with replacing(folder / "scores.json") as path:
        path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
    with (
        replacing(folder / "scores.csv") as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows(table(done))
    with replacing(folder / "index.md") as path:
        path.write_text(page(done, heard), "utf-8")


def clip(side: str, prompt: int) -> str:
    """Where a clip lies in the folder."""
    return f"clips/{side}-{prompt:02d}.flac"


def table(done: Comparison) -> list[list[object]]:
    """A header, then a row a prompt; an empty cell where a score does not exist."""
    names = [row.column.name for row in done.rows]
    header: list[object] = ["prompt", "text", "clip_a", "clip_b", "seconds_a", "seconds_b"]
    rows = [header + [f"{name}_{side}" for name in names for side in "ab"]]
    for i, text in enumerate(done.texts):
        a, b = done.scores("a", i), done.scores("b", i)
        cells: list[object] = [i, text, clip("a", i), clip("b", i)]
        cells += [round(done.a.seconds[i], 4), round(done.b.seconds[i], 4)]
        rows.append(cells + [scores[name] for name in names for scores in (a, b)])
    return rows


def page(done: Comparison, heard: Preference | None = None) -> str:
    """The page: what was compared, what was preferred, the table, every prompt's two clips."""
    lines = [
        "# Two voices compared",
        "",
        f"- A: `{visible(done.a.source)}`, {done.a.timesteps} timesteps",
        f"- B: `{visible(done.b.source)}`, {done.b.timesteps} timesteps",
        f"- {len(done.texts)} prompts, speaker {visible(done.speaker)}, pace {done.pace:g}, "
        f"noise of seed {done.seed}",
        "",
        *(listening(heard) if heard else []),
        "| score | unit | better is | A | B | B - A, paired, 95 % | p | better | A : tie : B |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line(row) for row in done.rows),
        "",
        "Intervals: bootstrap over the prompts (BCa), each score by itself. p: sign-flip test of "
        f"the paired differences{corrected(done)}. Bold: p < {LEVEL:g}.",
        "",
        *(f"- {visible(notice)}\n" for notice in done.notices),
        "## Clips",
        "",
        "| | sentence | A | B |" + "".join(f" {r.column.name}, A to B |" for r in done.rows),
        "|---|---|---|---|" + "---|" * len(done.rows),
    ]
    for i, text in enumerate(done.texts):
        a, b = done.scores("a", i), done.scores("b", i)
        told = "".join(f" {number(a[name])} to {number(b[name])} |" for name in a)
        links = f"[listen]({clip('a', i)}) | [listen]({clip('b', i)})"
        safe = visible(text).replace("|", "\\|")
        lines.append(f"| {i + 1} | {safe} | {links} |{told}")
    return "\n".join(lines) + "\n"


def corrected(done: Comparison) -> str:
    """That the p values answer for one another, where there are several."""
    tests = sum(row.p_value is not None for row in done.rows)
    return f", corrected for {tests} scores (Holm)" if tests > 1 else ""


def listening(heard: Preference) -> list[str]:
    """The listener's preference, its interval, its test, and what is still needed."""
    told = [
        f"{len(heard.answers)} of {len(heard.trials)} pairs, equally loud, in random order.",
        *filter(None, heard.lines()),
    ]
    lines = ["## Heard blind", "", *(f"- {line}" for line in told)]
    return [*lines, "", "## Scores", ""]


def line(row: Row) -> str:
    """One score as a row of the page's table."""
    direction = {True: "higher", False: "lower", None: MISSING}[row.column.higher_is_better]
    told = difference(row.difference)
    if row.significant:
        told = f"**{told}**"
    wins = " : ".join(map(str, row.wins)) if row.wins else MISSING
    a, b = (number(v.mean if v else None) for v in (row.a, row.b))
    return (
        f"| {row.column.name} | {row.column.unit} | {direction} | {a} | {b} | {told} "
        f"| {number(row.p_holm)} | {row.verdict or 'not shown'} | {wins} |"
    )


def difference(value: Interval | None) -> str:
    if value is None:
        return MISSING
    return f"{value.mean:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
