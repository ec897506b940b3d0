"""Whatever a run's journal holds is shown, and none of it is obeyed: lines, pages, charts."""

from __future__ import annotations

import io
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color
from rich.style import Style

from dlpo_tui.console import Console
from dlpo_tui.lines import Lines
from dlpo_tui.widgets.canvas import Canvas
from dlpo_tui.widgets.drawing import Drawing
from dlpo_tui.widgets.plot import Span
from dlpo_tui.widgets.view import view
from engine import journal, page, plain_json
from engine import messages as m
from engine.page_clips import read
from engine.visible import lines, visible
from tests.fuzz.grounds import costly, events, patient, texts, values


def write(folder: Path, told: list[m.Event]) -> None:
    rows = (plain_json.line(m.to_json(event)) + "\n" for event in told)
    (folder / "events.jsonl").write_text("".join(rows))


@costly
@given(st.lists(events, max_size=6))
def test_a_journal_is_read_back_folded_and_shown(tmp_path: Path, told: list[m.Event]) -> None:
    elsewhere = any(
        Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name
        for event in told
        for name in journal.files_of(event)
    )
    write(tmp_path, told)
    try:
        found = list(journal.events(tmp_path))
    except journal.JournalError as error:
        assert elsewhere, error
        return
    assert found == told
    out = io.StringIO()
    said = Lines(Console(file=out, force_terminal=False, width=80, soft_wrap=True))
    for event in found:
        said.show(event)
    for line in out.getvalue().split("\n"):
        assert line.isprintable()
    now, clips = read(tmp_path)
    html = page.page(tmp_path, now, [], len(clips))
    assert html.replace("\n", "").isprintable()


@patient
@given(st.lists(st.tuples(st.integers(0, 50), st.floats(allow_nan=True)), min_size=1, max_size=8))
def test_charts_of_any_numbers(rows: list[tuple[int, float]]) -> None:
    rows = sorted(rows)
    whole = Span(0, 50)
    seen = view(m.Snapshot(), whole)
    from dlpo_tui.widgets.series import Series

    series = Series("a", [x for x, _ in rows], [y for _, y in rows])
    canvas = Canvas(40, 10, Style())
    Drawing(seen.figure("a", series), canvas, lambda ink, strength: Color.parse("red")).draw()
    assert len(canvas.strips()) == 10


@patient
@given(texts)
def test_visible_text_is_as_long_and_obeys_nothing(text: str) -> None:
    assert visible(text).isprintable()
    assert len(visible(text)) == len(text)
    assert lines(text).count("\n") == text.count("\n")
    assert visible(visible(text)) == visible(text)


@patient
@given(values)
def test_a_line_of_json_is_what_it_says_and_obeys_nothing(value: object) -> None:
    line = plain_json.line(value)
    assert line.isprintable()
    assert repr(json.loads(line)) == repr(json.loads(json.dumps(value)))
