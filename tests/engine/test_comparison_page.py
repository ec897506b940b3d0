"""A comparison's page: parsed, escaped, self-contained, level-matched; and seen in a browser."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from engine import audio, comparison_page, levels
from engine.comparison import Comparison, Side, tabulate
from engine.evaluation import Evaluation
from engine.messages import Column
from engine.preference import Preference, Trial
from engine.profile import ScheduleSpec
from engine.rewards.base import Scores
from tests.pages import BROWSER, Seen, browsed

HOSTILE = (
    '</td><script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>&amp;\u202e'
)
COLUMNS = (Column("mos", "MOS", True), Column(HOSTILE, HOSTILE, None))
RATE, PROMPTS, SECONDS = 22050, 7, 0.5
TEXTS = (HOSTILE, *(f"Sentence {i}." for i in range(1, PROMPTS)))


def side(name: str, gain: float, up: float) -> Side:
    time = torch.arange(round(RATE * SECONDS)) / RATE
    waves = tuple(gain * torch.sin((900 + 400 * i) * time) for i in range(PROMPTS))
    values = torch.tensor([[3.0 + 0.1 * i * i + up, -20.0 - i] for i in range(PROMPTS)])
    done = Evaluation(waves, Scores(COLUMNS, values, ()))
    return Side(name, ScheduleSpec(timesteps=2), 2, (SECONDS,) * PROMPTS, done)


@pytest.fixture(scope="module")
def done() -> Comparison:
    a, b = side(f"runs/{HOSTILE}.safetensors", 0.5, 0.0), side("bundled", 0.02, 0.25)
    b.done.scores.values[2, 0] = torch.nan
    b.done.scores.values[:, 1] += 0.5
    made = tabulate(a, b, HOSTILE, 1.5, 7, RATE, TEXTS)
    return replace(made, notices=(HOSTILE, *made.notices))


def seen(done: Comparison, heard: Preference | None = None) -> Seen:
    return Seen(comparison_page.page(done, comparison_page.embed(done, 10**7), heard))


def test_the_page_holds_the_table_and_every_prompts_clips(done: Comparison, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    assert comparison_page.write(out, done) == 0
    assert list((tmp_path / "new").iterdir()) == [out]
    found = Seen(out.read_text("utf-8"))
    assert found.open == []
    for told in (
        "bundled 2 timesteps", "7 prompts", "noise of seed 7", "pace 1.5", "+0.250",
        "(+0.250 to +0.250)", "0 : 0 : 6", "corrected for 2 scores (Holm)", "Marked where p < 0.05",
        "differs", "3.000 3.250", "Sentence 6.",
    ):  # fmt: skip
        assert told in found.words, told
    labels = [str(player["aria-label"]) for player in found.all("audio")]
    expected = [f"{s}, prompt {i}: " for i in range(1, PROMPTS + 1) for s in "AB"]
    assert [label[: len(name)] for label, name in zip(labels, expected, strict=True)] == expected
    gains = [cell["data-value"] for cell in found.all("td") if "data-value" in cell]
    assert gains[:3] == ["1", "0.25", "0.5"]
    assert gains[7] == "", "a pair without both scores is sorted last"


def test_a_prompts_two_clips_are_the_voices_own_and_equally_loud(done: Comparison) -> None:
    for at, sounds in enumerate(comparison_page.embed(done, 10**7)):
        waves = [side.done.waves[at] for side in (done.a, done.b)]
        loud = []
        for sound, wave, level in zip(sounds, waves, levels.matched(waves, RATE), strict=True):
            raw = base64.b64decode(sound.removeprefix("data:audio/flac;base64,"))
            heard, rate = soundfile.read(io.BytesIO(raw), dtype="float32")
            assert rate == RATE
            assert torch.allclose(torch.tensor(heard), level, atol=1e-4)
            assert float(torch.corrcoef(torch.stack([torch.tensor(heard), wave]))[0, 1]) > 0.99
            loud.append(float(audio.loudness_lufs(torch.tensor(heard), rate)))
        assert loud[0] == pytest.approx(loud[1], abs=0.05)


def test_foreign_text_stays_text_and_nothing_is_loaded_from_anywhere(done: Comparison) -> None:
    words = comparison_page.page(done, comparison_page.embed(done, 10**7))
    found = Seen(words)
    assert len(found.all("script")) == 1
    assert found.all("img") == found.all("link") == found.all("iframe") == []
    assert found.words.count("evil.example") >= 5
    assert "\u202e" not in words
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    (policy,) = [m["content"] for m in found.all("meta") if "http-equiv" in m]
    assert str(policy).startswith("default-src 'none'")


def test_what_was_heard_blind_stands_above_the_scores(done: Comparison) -> None:
    assert "Heard blind" not in seen(done).words
    order = tuple(Trial(i, "A") for i in range(PROMPTS))
    words = seen(done, Preference(order, ("B", "B", "", "A"), 1)).words
    heard = words[words.index("Heard blind") : words.index("Scores")]
    for told in ("4 of 7 pairs", "A better 1", "1 of 3 decided: 33 %", "would settle it"):
        assert told in heard, told


def test_sound_that_is_too_much_is_left_out_by_pairs_and_said(
    done: Comparison, tmp_path: Path
) -> None:
    sounds = comparison_page.embed(done, 10**7)
    room = 2 * sum(len(a + b) for a, b in sounds[:2])
    silent = comparison_page.write(tmp_path / "a.html", done, most_bytes=room)
    assert 0 < silent < PROMPTS
    found = Seen((tmp_path / "a.html").read_text("utf-8"))
    assert len(found.all("audio")) == 2 * (PROMPTS - silent)
    assert f"as the page would be too large: {silent}." in found.words
    assert sum(len(str(player["src"])) for player in found.all("audio")) <= room


def test_without_a_score_there_are_still_the_clips(done: Comparison) -> None:
    none = Scores((), torch.zeros(PROMPTS, 0), ())
    sides = [replace(s, done=replace(s.done, scores=none)) for s in (done.a, done.b)]
    found = seen(tabulate(*sides, "anna", 1.0, 7, RATE, TEXTS))
    assert "Nothing was scored" in found.words
    assert len(found.all("audio")) == 2 * PROMPTS


def test_many_notices_are_folded_away(done: Comparison) -> None:
    assert seen(replace(done, notices=("one", "two"))).all("details") == []
    found = seen(replace(done, notices=("one", "two", "three")))
    assert len(found.all("details")) == 1
    assert "3 notices" in found.words


PROBE = """
<script>
const known = sound => new Promise(done => {
  if (sound.readyState) done(sound.duration);
  else { sound.onloadedmetadata = () => done(sound.duration); sound.onerror = () => done(-1); }
});
Promise.all([...document.querySelectorAll('audio')].map(known)).then(durations => {
  const heads = [...document.querySelectorAll('table.sortable th')];
  const column = heads.findIndex(head => head.textContent === 'mos');
  heads[column].querySelector('button').click();
  const gains = [...document.querySelectorAll('table.sortable tbody tr')]
    .map(row => row.cells[column].dataset.value);
  const [one, two] = document.querySelectorAll('audio');
  let paused = 0;
  one.pause = () => { paused += 1; };
  two.pause = () => { paused += 100; };
  two.dispatchEvent(new Event('play'));
  const places = [one, two].map(sound => sound.getBoundingClientRect());
  const told = {durations, gains, paused, beside: places[0].top === places[1].top,
    wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth};
  console.log('TOLD ' + btoa(JSON.stringify(told)) + ' END');
});
</script>
"""


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_opens_it_without_a_complaint(
    done: Comparison, tmp_path: Path, width: int
) -> None:
    out = tmp_path / "page.html"
    comparison_page.write(out, done)
    told = browsed(out, PROBE, width)
    assert len(told["durations"]) == 2 * PROMPTS
    assert all(abs(seconds - SECONDS) < 0.01 for seconds in told["durations"])
    gains = [float(value) for value in told["gains"] if value]
    assert gains == sorted(gains)
    assert told["gains"][-1] == "", "what has no difference comes last"
    assert told["paused"] == 1, "one clip at a time, and not by its own hand"
    assert told["beside"] == (width > 640)
    assert told["wide"] <= told["room"]
