"""What is printed: one line an error, and nothing that a terminal obeys but our own styles."""

from __future__ import annotations

import io
import re

import pytest
import typer
from rich.table import Table
from rich.text import Text

from dlpo_tui import console
from dlpo_tui.console import Console, one_sentence

WRITES = "\x1b[2J\x9b2J\x07\u202e"
STYLES = re.compile(r"\x1b\[[0-9;]*m")


def printed(*what: object, **options: object) -> str:
    out = io.StringIO()
    made = Console(file=out, force_terminal=True, width=60, color_system="truecolor")
    made.print(*what, **options)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize(
    "what",
    [
        f"a {WRITES} b",
        Text(f"a {WRITES} b", "red"),
        Text.assemble(("a ", "bold"), (WRITES, "green"), " b"),
    ],
)
def test_foreign_text_is_seen_and_not_obeyed(what: object) -> None:
    shown = STYLES.sub("", printed(what, markup=False))
    assert shown == "a ␛[2J�2J� b\n"  # rich itself drops the bell


def test_a_table_and_its_styles_stay_as_they_are() -> None:
    grid = Table(box=None)
    grid.add_column("name")
    grid.add_row(Text(WRITES, "red"))
    shown = printed(grid)
    assert "\x1b[31m" in shown
    assert STYLES.sub("", shown).replace("\n", "").isprintable()


def test_lines_stay_lines_and_words_no_pictures() -> None:
    assert printed("a\nb :warning:", markup=False) == "a\nb :warning:\n"


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_an_error_is_one_line(
    error: type[Exception], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(typer.Exit) as left, one_sentence():
        raise error(f"no file a\nb{WRITES} {'x' * 5000}")
    assert left.value.exit_code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dlpo-tui: no file a b␛[2J")
    assert line.isprintable()
    assert len(line) < console.LONGEST + 20
