"""One session of each algorithm from one profile; the scores before and after, as a table.

    python tests/benchmarks/algorithms.py [--profile FILE] [--updates 10] [--set KEY=VALUE ...]

Sessions run as processes of their own, `--jobs` at a time with one thread each. JSON on stdout,
a Markdown table on stderr. A change is paired, prompt by prompt under the same noise, with its
95 % interval. `--runs FOLDER` reads the runs that lie there instead of running any.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from engine import journal
from engine import messages as m
from engine.evaluation import interval

ROOT = Path(__file__).parents[2]
ALGORITHMS = ("dlpo", "ddpo", "onlydl", "dpok", "klinr", "rwr")


def run(name: str, options: argparse.Namespace) -> None:
    changes = [
        f"name={name}", f"train.algorithm={name}", f"train.updates={options.updates}",
        f"evaluation.every={options.updates}", f"runs={options.runs}", "device.threads=1",
        *options.changes,
    ]  # fmt: skip
    command = [sys.executable, "-m", "dlpo_tui.cli", "run", str(options.profile), "--headless"]
    print(f"{name} begins", file=sys.stderr, flush=True)
    done = subprocess.run(
        [*command, *(part for change in changes for part in ("--set", change))],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, text=True,
        capture_output=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr}")
    print(f"{name} is done", file=sys.stderr, flush=True)


def runs(folder: Path) -> Iterator[tuple[Path, m.Snapshot]]:
    for path in sorted(folder.glob("*/events.jsonl")):
        yield path.parent, journal.replay(path.parent)


def row(now: m.Snapshot) -> dict[str, Any]:
    """Scores of the held-out clips at the start and at the end, and their paired change."""
    assert now.started is not None
    clips = [c for c in now.clips if c.kind == "evaluation"]
    last = max(c.update for c in clips)
    before, after = ([c for c in clips if c.update == update] for update in (0, last))
    assert [c.prompt for c in before] == [c.prompt for c in after]
    told: dict[str, Any] = {
        "algorithm": now.started.algorithm, "updates": now.update, "prompts": len(before),
        "minutes": round(sum(sum(s.seconds.values()) for _, s in now.history) / 60, 1),
    }  # fmt: skip
    for column in (*now.started.rewards, *now.started.judges):
        one, other = (values(part, column.name) for part in (before, after))
        change = interval(other - one)
        start, end = interval(one), interval(other)
        if change and start and end:
            told[column.name] = {
                "before": start.mean, "after": end.mean, "change": change.mean,
                "low": change.low, "high": change.high,
            }  # fmt: skip
    return told


def values(clips: list[m.Clip], name: str) -> torch.Tensor:
    found = [clip.scores[name] for clip in clips]
    return torch.tensor([float("nan") if value is None else value for value in found])


def table(rows: list[dict[str, Any]], only: list[str] | None = None) -> str:
    columns = only or [k for k, v in rows[0].items() if isinstance(v, dict)]
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for one in rows:
        cells = [cell(one[name]) for name in columns]
        lines.append(f"| `{one['algorithm']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(score: dict[str, float]) -> str:
    """Before → after, the change with its interval; bold where that leaves out 0."""
    digits = 1 if abs(score["before"]) >= 10 else 2
    change = f"{score['change']:+.{digits}f}"
    sure = score["low"] > 0 or score["high"] < 0
    told = f"**{change}**" if sure else change
    within = f"({score['low']:+.{digits}f} to {score['high']:+.{digits}f})"
    return f"{score['before']:.{digits}f} → {score['after']:.{digits}f}, {told} {within}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", type=Path, default=ROOT / "profiles" / "quickstart.toml")
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs/algorithms"))
    parser.add_argument("--columns", nargs="+", help="of the table; all if left out")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    options.runs = options.runs.absolute()
    if not list(runs(options.runs)):
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda name: run(name, options), options.algorithms))
    found = {row(now)["algorithm"]: row(now) for _, now in runs(options.runs) if now.ended}
    rows = [found[name] for name in options.algorithms if name in found]
    print(json.dumps(rows, indent=1))
    print(table(rows, options.columns), file=sys.stderr)


if __name__ == "__main__":
    main()
