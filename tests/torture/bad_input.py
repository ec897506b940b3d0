"""Every bad input against the real command line: `make torture`, or some kinds of it by name.

Prints how many there were and what went wrong, by kind; all of it has to be 0, else exit 1.
Everything happens in one process, because an interpreter takes a second to start; that process
may not take more memory than a laptop has.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
# A wheel among the dependencies installs a package called tests, which would be found first.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(ROOT / "tests")]

from tests.torture import bad_corpora, bad_profiles, bad_runs, bad_voices
from tests.torture.cases import Case, Tally, judge
from tests.torture.ground import Ground, make

KINDS = {
    "profiles": bad_profiles.cases,
    "voices": bad_voices.cases,
    "corpora": bad_corpora.cases,
    "runs": bad_runs.cases,
}
MOST_BYTES = 12 << 30
"""Of addresses: what asks for more, fails, and that would be a traceback."""


def all_cases(ground: Ground, kinds: list[str]) -> dict[str, list[Case]]:
    """By kind; made before the first is run, since making them changes the ground."""
    return {kind: list(KINDS[kind](ground)) for kind in kinds}


def main(kinds: list[str]) -> int:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        print(f"there are no bad {unknown[0]} here; there are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, hard))
    os.environ["DLPO_TUI_UTMOS"] = "away.pt"
    began, tally, home = time.monotonic(), Tally(), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="dlpo-tui-bad-") as folder:
        try:
            ground = make(Path(folder).resolve())
            for kind, cases in all_cases(ground, kinds or list(KINDS)).items():
                print(f"{kind}: {len(cases)} bad inputs", file=sys.stderr, flush=True)
                for case in cases:
                    tally.add(case, judge(case, ground.folder))
            if not bad_voices.never_sprung(ground.folder):
                tally.faults["tracebacks"].append("a pickle was run")
        finally:
            os.chdir(home)
    print("\n".join(tally.lines()))
    print(f"in {time.monotonic() - began:.0f} s")
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
