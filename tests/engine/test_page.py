"""A run's page: parsed, escaped, self-contained; and opened in a browser where there is one."""

from __future__ import annotations

import base64
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tomli_w

from engine import page
from engine.journal import Journal, JournalError, create, plain
from engine.messages import (
    AlarmRaised,
    CheckpointSaved,
    Clip,
    ClipsScored,
    Column,
    EvaluationFinished,
    Event,
    Interval,
    Knobs,
    KnobsChanged,
    SessionEnded,
    SessionResumed,
    SessionStarted,
    UpdateFinished,
    UpdateStats,
)
from engine.page_clips import BEST, chosen, embed, read
from engine.profile import Profile
from tests.pages import BROWSER, Seen, browsed

HOSTILE = (
    '</td><script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>&amp;\u202e'
)
RATE, SECONDS = 22050, 0.5
STARTED = SessionStarted(
    "a & b", "runs/a", "dlpo", 4, Knobs(), (Column("mos", "MOS", True, 1, 5),),
    (Column("wer", "share", False, 0, 1), Column(HOSTILE, HOSTILE, None)),
    "bundled", "cpu", "fp32", 4, (3, 2), RATE, stand_in=HOSTILE,
)  # fmt: skip


def interval(mean: float) -> Interval:
    return Interval(mean, mean - 0.1, mean + 0.1, 2)


def stats(update: int) -> UpdateStats:
    loss = float(update) if update != 2 else 1e300
    reward = None if update == 2 else interval(3 + 0.1 * update)
    return UpdateStats(
        loss, reward, 0.1, None, 1.0, 0.0, 0.0, 1.0, 0, 0, 0.0, {"rollout": 1.0, "score": 0.5}
    )


def clip(kind: str, update: int, index: int, prompt: str = "Fête.") -> Clip:
    path = f"samples/{kind}-{update:06d}-{index:02d}.flac"
    reward = 3 + 0.1 * update + 0.01 * index
    return Clip(
        update, index, kind, prompt, "anna", 0, SECONDS, path,  # type: ignore[arg-type]
        {"mos": reward, "wer": None}, reward,
    )  # fmt: skip


def story() -> list[Event]:
    events: list[Event] = [STARTED]
    events += [ClipsScored(0, tuple(clip("evaluation", 0, i, HOSTILE) for i in range(2)))]
    events += [EvaluationFinished(0, {"mos": interval(3.0), "wer": interval(0.3)}, 1.0)]
    for update in range(1, 4):
        events.append(ClipsScored(update, tuple(clip("rollout", update, i) for i in range(4))))
        events.append(UpdateFinished(update, stats(update)))
    events += [
        KnobsChanged(2, HOSTILE, {"beta": 1.0}, {"beta": 2.0}, Knobs(beta=2.0)),
        AlarmRaised(3, HOSTILE),
        CheckpointSaved(3, "checkpoints/update-000003.safetensors"),
        ClipsScored(3, tuple(clip("evaluation", 3, i, HOSTILE) for i in range(2))),
        EvaluationFinished(3, {"mos": interval(3.9), "wer": None}, 1.0),
        SessionEnded(3, "failed", HOSTILE),
    ]
    return events


def run_of(base: Path, events: list[Event]) -> Path:
    profile = Profile(name="a", runs=str(base / "runs"))
    folder = create(profile, tomli_w.dumps(plain(profile)), datetime(2026, 3, 4, 12, 5, 6))
    journal = Journal(folder)
    for event in events:
        journal.write(event)
        for one in event.clips if isinstance(event, ClipsScored) else ():
            tone = 0.3 * np.sin(np.arange(round(RATE * SECONDS)) * (0.05 + 0.01 * one.index))
            soundfile.write(folder / one.path, tone, RATE)
    journal.close()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_of(tmp_path, story())


def test_a_page_holds_the_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    heard = page.write(folder, out)
    seen = Seen(out.read_text("utf-8"))
    assert seen.open == []
    for told in ("a & b", "3 of 4 updates: failed", "+0.900", "beta 1 → 2", "gradient norm"):
        assert told in seen.words, told
    sounds = seen.all("audio")
    assert len(sounds) == len(heard) == 4 + 2 * BEST
    first = str(sounds[0]["src"]).removeprefix("data:audio/flac;base64,")
    assert base64.b64decode(first) == (folder / heard[0].clip.path).read_bytes()
    assert len(seen.all("svg")) >= 10
    kinds = {line.get("class") for line in seen.all("line")}
    assert {"mark-knob", "mark-alarm", "mark-checkpoint"} <= kinds
    assert list((tmp_path / "new").iterdir()) == [out]


def test_foreign_text_stays_text_and_nothing_is_loaded_from_anywhere(folder: Path) -> None:
    now, clips = read(folder)
    words = page.page(folder, now, embed(folder, chosen(clips), 10**7), len(clips))
    seen = Seen(words)
    assert len(seen.all("script")) == 1
    assert seen.all("img") == seen.all("link") == seen.all("iframe") == []
    assert "evil.example" in seen.words
    assert "\u202e" not in words
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    styles = words[words.index("<style>") : words.index("</style>")]
    assert "url(" not in styles
    assert "@import" not in styles
    (policy,) = [m["content"] for m in seen.all("meta") if "http-equiv" in m]
    assert str(policy).startswith("default-src 'none'")


@pytest.mark.parametrize("events", [[], [STARTED], story()[:5], story()[:7]])
def test_a_run_that_was_cut_off_has_a_page(tmp_path: Path, events: list[Event]) -> None:
    folder = run_of(tmp_path, events)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"kind": "UpdateFin')
    page.write(folder, folder / "report.html")
    seen = Seen((folder / "report.html").read_text("utf-8"))
    assert seen.open == []
    assert "cut off, or still at work" in seen.words


def test_what_is_too_large_or_gone_is_left_out_and_said(folder: Path) -> None:
    now, clips = read(folder)
    (folder / clips[0].path).unlink()
    size = (folder / clips[-1].path).stat().st_size
    heard = embed(folder, chosen(clips), size * 4)
    silent = [one for one in heard if not one.sound]
    assert 0 < len(silent) < len(heard)
    assert sum(len(one.sound) for one in heard) <= size * 4
    assert f"Of these, {len(silent)} without sound" in page.page(folder, now, heard, len(clips))
    assert all(not one.sound for one in embed(folder, chosen(clips), 0))


def test_a_path_that_leads_out_of_the_run_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (folder / "samples/link.wav").symlink_to(tmp_path / "secret.wav")
    for name in ("../../secret.wav", str(tmp_path / "secret.wav"), "samples/link.wav", "a\0.wav"):
        outside = Clip(0, 0, "evaluation", "", "", 0, 1.0, name, {})
        assert embed(folder, [(outside, "best")], 10**6)[0].sound == ""


def test_clips_that_a_resumed_run_made_again_are_heard_once(tmp_path: Path) -> None:
    again = [*story()[:-1], SessionResumed(2, 4, Knobs()), *story()[9:11]]
    _, clips = read(run_of(tmp_path, again))
    assert len({(c.kind, c.update, c.index) for c in clips}) == len(clips)
    assert max(c.update for c in clips if c.kind == "rollout") <= 3


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(JournalError):
        page.write(tmp_path, tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_a_page_needs_no_torch(folder: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from dlpo_tui.cli import app
try:
    app(["report", {str(folder)!r}, "--out", {str(tmp_path / "a.html")!r}])
except SystemExit as left:
    assert left.code == 0, left.code
assert "torch" not in sys.modules and "textual" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report " in done.stderr
    assert (tmp_path / "a.html").stat().st_size > 10_000


PROBE = """
<script>
const sounds = [...document.querySelectorAll('audio')];
const known = sound => new Promise(done => {
  if (sound.readyState) done(sound.duration);
  else { sound.onloadedmetadata = () => done(sound.duration); sound.onerror = () => done(-1); }
});
Promise.all(sounds.map(known)).then(durations => {
  const heads = [...document.querySelectorAll('table.sortable th')];
  const column = heads.findIndex(head => head.textContent === 'reward');
  const rewards = () => [...document.querySelectorAll('table.sortable tbody tr')]
    .map(row => row.cells[column].dataset.value);
  heads[column].querySelector('button').click();
  const told = {durations, rewards: rewards(), wide: document.documentElement.scrollWidth,
    room: document.documentElement.clientWidth};
  console.log('TOLD ' + btoa(JSON.stringify(told)) + ' END');
});
</script>
"""


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_opens_it_without_a_complaint(folder: Path, tmp_path: Path, width: int) -> None:
    out = tmp_path / "page.html"
    heard = page.write(folder, out)
    told = browsed(out, PROBE, width)
    assert len(told["durations"]) == len(heard)
    assert all(abs(seconds - SECONDS) < 0.01 for seconds in told["durations"])
    rewards = [float(value) for value in told["rewards"]]
    assert rewards == sorted(rewards)
    assert told["wide"] <= told["room"]
