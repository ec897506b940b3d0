from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import tomli_w

from engine.journal import Journal, JournalError, check_free, create, events, plain, replay
from engine.messages import (
    CheckpointSaved,
    Clip,
    ClipRendered,
    ClipsScored,
    Event,
    Interval,
    Knobs,
    KnobsChanged,
    Noticed,
    PhaseEntered,
    SessionEnded,
    SessionStarted,
    Snapshot,
    UpdateFinished,
    UpdateStats,
    advance,
)
from engine.profile import Profile, load

NOON = datetime(2026, 3, 4, 12, 5, 6)
STARTED = SessionStarted(
    "a", "runs/a", "dlpo", 2, Knobs(), (), (), "bundled", "cpu", "fp32", 4, (3, 2), 22050
)
STATS = UpdateStats(
    -0.5, Interval(3.0, 2.0, 4.0, 2), 0.1, None, 1.0, 0.0, 0.0, 1.0, 0, 1, 0.0, {"rollout": 1.0}
)
PROMPT = "Fête.\u2028A line\x85of\x0bmany\u2029ends."
"""With what Unicode calls line ends; JSON does not."""


def clip(update: int) -> Clip:
    path = f"samples/update-{update:06d}-00.flac"
    return Clip(update, 0, "rollout", PROMPT, "anna", 0, 0.5, path, {"mos": None}, 3.0, 0.5)


EVENTS: tuple[Event, ...] = (
    PhaseEntered(0, "loading"),
    STARTED,
    Noticed(0, "warning", "a stand-in"),
    ClipsScored(1, (clip(1),)),
    UpdateFinished(1, STATS),
    KnobsChanged(1, "user", {"alpha": 1.0}, {"alpha": 2.0}, Knobs(alpha=2.0)),
    CheckpointSaved(1, "checkpoints/update-000001.safetensors", "by hand"),
    SessionEnded(1, "stopped"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with all of EVENTS in its journal."""
    journal = Journal(tmp_path)
    for event in EVENTS:
        journal.write(event)
    journal.close()
    return tmp_path


def lines(folder: Path) -> list[bytes]:
    return (folder / "events.jsonl").read_bytes().splitlines(keepends=True)


# --- events ---------------------------------------------------------------------


def test_the_journal_gives_back_what_was_emitted(folder: Path) -> None:
    assert tuple(events(folder)) == EVENTS
    assert len(lines(folder)) == len(EVENTS)


def test_the_replay_is_the_live_fold(folder: Path) -> None:
    live = Snapshot()
    for event in EVENTS:
        live = advance(live, event)
    assert replay(folder) == live


def test_each_row_says_when_and_the_first_of_a_session_which_format(folder: Path) -> None:
    rows = [json.loads(line) for line in lines(folder)]
    assert all(datetime.fromisoformat(row["at"]).tzinfo is not None for row in rows)
    assert [row["kind"] for row in rows if "format_version" in row] == ["SessionStarted"]


def test_what_has_been_learnt_is_on_the_disk_before_the_journal_is_closed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number, event in enumerate(EVENTS, 1):
        journal.write(event)
        if isinstance(event, UpdateFinished | CheckpointSaved | KnobsChanged | SessionEnded):
            assert len(tuple(events(tmp_path))) == number
    journal.close()


def test_a_journal_is_continued_not_replaced(folder: Path) -> None:
    journal = Journal(folder)
    journal.write(Noticed(2, "info", "again"))
    journal.close()
    assert tuple(events(folder)) == (*EVENTS, Noticed(2, "info", "again"))


@pytest.mark.parametrize("left", range(1, 60, 7))
def test_a_torn_last_line_is_left_out(folder: Path, left: int) -> None:
    *whole, last = lines(folder)
    (folder / "events.jsonl").write_bytes(b"".join(whole) + last[:left])
    assert tuple(events(folder)) == EVENTS[:-1]


def test_a_line_torn_within_a_character_is_left_out(folder: Path) -> None:
    whole = lines(folder)
    torn = whole[3][: whole[3].index("ê".encode()) + 1]
    (folder / "events.jsonl").write_bytes(b"".join(whole[:3]) + torn)
    assert tuple(events(folder)) == EVENTS[:3]


@pytest.mark.parametrize(
    "junk", [b'{"kind": "Upd', b"", b"[]", b"3", b'{"kind": "Dreamt"}', b"\xff\xfe"]
)
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(folder: Path, junk: bytes) -> None:
    first, second, *rest = lines(folder)
    (folder / "events.jsonl").write_bytes(b"".join([first, second, junk + b"\n", *rest]))
    with pytest.raises(JournalError, match=r"events\.jsonl, line 3: ") as caught:
        tuple(events(folder))
    assert "\n" not in str(caught.value)


def test_an_empty_journal_replays_to_the_start(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    assert replay(tmp_path) == Snapshot()


def test_a_folder_without_a_journal_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="has no journal that can be read"):
        replay(tmp_path)


def test_nan_never_reaches_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        journal.write(ClipsScored(1, (Clip(1, 0, "rollout", "", "", 0, float("nan"), "", {}),)))
    journal.close()
    assert (tmp_path / "events.jsonl").read_bytes() == b""


# --- a run's folder -------------------------------------------------------------


def test_a_run_is_named_by_its_profile_and_the_time(tmp_path: Path) -> None:
    profile = Profile(name="quick start/é!", runs=str(tmp_path / "deep" / "runs"))
    folder = create(profile, "seed = 1\n", NOON)
    assert folder == tmp_path / "deep" / "runs" / "quick-start-é-20260304-120506"
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoints", "profile.toml", "samples"]
    assert (folder / "profile.toml").read_text() == "seed = 1\n"


@pytest.mark.parametrize("name", ["", "..", "/", "../../etc"])
def test_a_name_never_leaves_the_folder_of_runs(tmp_path: Path, name: str) -> None:
    folder = create(Profile(name=name, runs=str(tmp_path / "runs")), "", NOON)
    assert folder.resolve().parent == tmp_path / "runs"


def test_two_runs_of_one_second_get_two_folders(tmp_path: Path) -> None:
    profile = Profile(name="a", runs=str(tmp_path))
    made = [create(profile, "", NOON).name for _ in range(3)]
    assert made == ["a-20260304-120506", "a-20260304-120506-2", "a-20260304-120506-3"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(
        JournalError, match=r"cannot be made .*; name another place with --set runs"
    ):
        create(Profile(runs=str(tmp_path / "file")), "", NOON)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(JournalError, match=r"cannot be made \(No space left on device\)"):
        create(Profile(runs=str(tmp_path)), "", NOON)


def test_the_profile_in_the_folder_loads_back_equal(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        "[reward.models]\nwer = -1.0\n[judges]\nmodels = []\n"
        "[schedule]\nkind = 'betas'\nbetas = [0.1]\n"
    )
    profile = load(tmp_path / "mine.toml", [f"runs={tmp_path}"])
    folder = create(profile, tomli_w.dumps(plain(profile)), NOON)
    again = load(folder / "profile.toml")
    assert again == profile
    assert again.hash() == profile.hash()


# --- what others may have written -----------------------------------------------


@pytest.mark.parametrize("path", ["/etc/x.wav", "../x.wav", "samples/../../x.wav", "a\0b.wav"])
@pytest.mark.parametrize("kind", ["clip", "start", "checkpoint"])
def test_a_file_outside_of_the_run_is_refused(tmp_path: Path, path: str, kind: str) -> None:
    event: Event = {
        "clip": ClipsScored(1, (replace(clip(1), path=path),)),
        "start": ClipRendered(1, 0, path, {}),
        "checkpoint": CheckpointSaved(1, path),
    }[kind]
    journal = Journal(tmp_path)
    journal.write(event)
    journal.close()
    with pytest.raises(JournalError, match=r"events\.jsonl, line 1: .* is no file in the run's"):
        tuple(events(tmp_path))


def test_nothing_is_written_on_to_where_a_link_leads(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("whole\ntorn")
    (folder / "events.jsonl").unlink()
    (folder / "events.jsonl").symlink_to(outside)
    with pytest.raises(OSError, match=r"no file of its own"):
        Journal(folder)
    assert outside.read_text() == "whole\ntorn"


def test_a_broken_last_line_that_is_whole_is_no_torn_one(folder: Path) -> None:
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"kind": "Noticed"}\n')
    with pytest.raises(JournalError, match=f"line {len(EVENTS) + 1}: a broken Noticed"):
        tuple(events(folder))


def test_a_line_that_nests_without_end_is_refused(folder: Path) -> None:
    (folder / "events.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    with pytest.raises(JournalError, match="line 1: it nests deeper"):
        tuple(events(folder))


def test_texts_that_cannot_be_encoded_come_back_as_they_were(tmp_path: Path) -> None:
    event = replace(STARTED, folder="runs/\udcff", voice="\x1b[31m\x9b")
    journal = Journal(tmp_path)
    journal.write(event)
    journal.close()
    assert tuple(events(tmp_path)) == (event,)
    assert (tmp_path / "events.jsonl").read_text().rstrip("\n").isprintable()


# --- one process at a time ----------------------------------------------------------


def test_every_event_has_left_the_process_before_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number, event in enumerate(EVENTS, 1):
        journal.write(event)
        assert len(tuple(events(tmp_path))) == number
    journal.close()


def test_a_journal_in_use_is_told_and_left_alone(folder: Path) -> None:
    check_free(folder)
    journal, text = Journal(folder), (folder / "events.jsonl").read_bytes()
    with pytest.raises(JournalError, match="is at work in another process; wait for its end"):
        check_free(folder)
    with pytest.raises(JournalError, match="is at work in another process"):
        Journal(folder)
    assert (folder / "events.jsonl").read_bytes() == text
    journal.write(EVENTS[0])
    journal.close()
    check_free(folder)
    check_free(folder / "nowhere")


@pytest.mark.parametrize("left", [1, 30])
def test_how_much_of_a_torn_line_was_cut_off_is_known(folder: Path, left: int) -> None:
    *whole, last = lines(folder)
    (folder / "events.jsonl").write_bytes(b"".join(whole) + last[:left])
    journal = Journal(folder)
    journal.close()
    assert journal.torn == left
    assert lines(folder) == whole
    again = Journal(folder)
    again.close()
    assert again.torn == 0
