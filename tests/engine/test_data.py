import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from engine import prepare as preparing
from engine.data import Clip, CorpusError, PreparedCorpus, collate, open_corpora, read_prompts
from engine.prepare import PrepareReport, prepare
from engine.recordings import find_recordings
from engine.text import to_ids
from engine.types import HOP

SPEECH = Path(__file__).parent.parent / "data" / "speech"
SPOKEN = {
    "arctic_a0102_1592746203": "He will follow us soon.",
    "arctic_a0242_1592711518": "I saw it when she rolled.",
    "arctic_a0351_1592708910": "It was more like sugar.",
}
FILES = ("clips.jsonl", "audio.i16", "report.json")


def make_corpus(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    """An LJSpeech-like folder of (id, text, source clip or "")."""
    (folder / "wavs").mkdir(parents=True)
    for key, _, source in rows:
        if source:
            shutil.copy2(SPEECH / f"{source}.flac", folder / "wavs" / f"{key}.flac")
    lines = [f"{key}|{text}|{text}" for key, text, _ in rows]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two takes of each of three sentences."""
    rows = [(f"{take}_{key}", text, key) for take in "ab" for key, text in SPOKEN.items()]
    return make_corpus(tmp_path_factory.mktemp("corpora") / "voice", rows)


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "voice"
    prepare(corpus, out, processes=1)
    return out


@pytest.fixture
def single(tmp_path: Path) -> Path:
    key = "arctic_a0351_1592708910"
    return make_corpus(tmp_path / "single", [(key, SPOKEN[key], key)])


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


# --- what prepare makes --------------------------------------------------------


def test_clips_are_whole_frames_long_and_as_loud_as_asked(prepared):
    opened = PreparedCorpus.open(prepared)
    assert len(opened.clips) == 6
    assert opened.speakers == ("voice",)
    for clip in opened.clips:
        wave = opened.wave(clip)
        assert wave.dtype == torch.float32
        assert len(wave) == clip.audio_length == HOP * sum(clip.frames)
        assert float(wave.square().mean().sqrt()) == pytest.approx(0.08, rel=0.01)
        assert float(wave.abs().max()) <= 0.99
        assert clip.ids == tuple(to_ids(clip.phones))
        assert "sp" not in (clip.phones[0], clip.phones[-1])
    assert opened.hours * 3600 == pytest.approx(sum(clip.seconds for clip in opened.clips))


def test_pieces_of_all_the_audio_are_the_clips(prepared):
    opened = PreparedCorpus.open(prepared)
    whole = opened.all_audio()
    assert whole.dtype == torch.int16
    for clip in opened.clips:
        piece = whole[clip.audio_start : clip.audio_start + clip.audio_length]
        assert torch.equal(piece.float() / 32768, opened.wave(clip))


def test_the_audio_is_the_recording_times_the_gain(prepared):
    opened = PreparedCorpus.open(prepared)
    clip = opened.clips[0]
    recorded, _ = soundfile.read(SPEECH / "arctic_a0102_1592746203.flac", dtype="float32")
    wave = opened.wave(clip).numpy() / 10 ** (clip.gain_db / 20)
    best = min(
        float(np.abs(recorded[start : start + 2000] - wave[:2000]).max())
        for start in range(0, len(recorded) - 2000, HOP)
    )
    assert best < 1e-4


def test_a_second_run_has_nothing_to_do(corpus, prepared):
    before = contents(prepared)
    seen: list[int] = []
    report = prepare(corpus, prepared, on_progress=lambda done, *_: seen.append(done))
    assert seen == []
    assert report == PrepareReport("voice", 6, report.held_out, report.hours, 0, ())
    assert contents(prepared) == before
    assert sorted(path.name for path in prepared.iterdir()) == sorted(FILES)


def test_another_setting_makes_it_anew(single, tmp_path):
    out = tmp_path / "out"
    prepare(single, out, processes=1)
    opened = PreparedCorpus.open(out)
    report = prepare(single, out, speaker="Kathleen", processes=1)
    assert report.speaker == PreparedCorpus.open(out).speakers[0] == "Kathleen"
    # a training run that still has the old audio mapped goes on reading it
    assert len(opened.wave(opened.clips[-1])) == opened.clips[-1].audio_length


# --- stopping and going on -----------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 4])
def test_a_stopped_run_goes_on_to_the_same_result(corpus, prepared, tmp_path, after):
    def stop(done: int, _total: int, _id: str) -> None:
        if done == after:
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        prepare(corpus, out, processes=1, on_progress=stop)
    with pytest.raises(CorpusError, match="was not finished"):
        PreparedCorpus.open(out)
    seen: list[tuple[int, int, str]] = []
    prepare(corpus, out, processes=1, on_progress=lambda *now: seen.append(now))
    ids = [recording.id for recording in find_recordings(corpus)]
    assert seen == [(i + 1, 6, key) for i, key in enumerate(ids)][after:]
    assert contents(out) == contents(prepared)


@pytest.mark.parametrize("damage", ["half a row", "audio without a row", "a row without audio"])
def test_what_is_half_written_is_made_again(corpus, prepared, tmp_path, damage):
    def stop(done: int, _total: int, _id: str) -> None:
        if done == 3:
            raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        prepare(corpus, out, processes=1, on_progress=stop)
    journal, audio = out / "clips.part", out / "audio.i16"
    if damage == "half a row":
        journal.write_bytes(journal.read_bytes()[:-40])
    elif damage == "audio without a row":
        audio.write_bytes(audio.read_bytes() + b"\1\2\3")
    else:
        audio.write_bytes(audio.read_bytes()[:-1000])
    prepare(corpus, out, processes=1)
    assert contents(out) == contents(prepared)


def test_several_processes_make_the_same(corpus, prepared, tmp_path):
    prepare(corpus, tmp_path / "out", processes=2)
    assert contents(tmp_path / "out") == contents(prepared)


def test_two_at_once_are_refused(single, tmp_path):
    out = tmp_path / "out"

    def again(*_: object) -> None:
        with pytest.raises(CorpusError, match="Another process"):
            prepare(single, out, processes=1)
        raise Killed

    with pytest.raises(Killed):
        prepare(single, out, processes=1, on_progress=again)


# --- what is left out ----------------------------------------------------------


def test_every_clip_left_out_has_its_reason(tmp_path):
    soon = "arctic_a0102_1592746203"
    text = SPOKEN[soon]
    good, hz = soundfile.read(SPEECH / f"{soon}.flac", dtype="float32")
    rows = [("good", text, soon), ("good", text, ""), ("no_text", " ", soon), ("emoji", "😀", soon)]
    rows += [("absent", text, ""), ("wrong_words", "A big dog ate up my cake.", soon)]
    made = ("stereo", "slow_rate", "empty", "truncated", "text_file", "short", "silent", "nan")
    folder = make_corpus(tmp_path / "voice", [*rows, *((key, text, "") for key in made)])
    wavs = folder / "wavs"
    soundfile.write(wavs / "stereo.wav", np.stack([good, good], axis=1), hz)
    soundfile.write(wavs / "slow_rate.wav", good[::2], 8000)
    soundfile.write(wavs / "empty.wav", good[:0], hz)
    soundfile.write(wavs / "short.wav", good[:4000], hz)
    soundfile.write(wavs / "silent.wav", 0 * good, hz)
    soundfile.write(wavs / "nan.wav", good * np.nan, hz, subtype="FLOAT")
    whole = (SPEECH / f"{soon}.flac").read_bytes()
    (wavs / "truncated.flac").write_bytes(whole[: len(whole) // 3])
    (wavs / "text_file.wav").write_text("not audio")

    report = prepare(folder, tmp_path / "out", processes=1)
    left_out = {clip.id: clip.kind for clip in report.left_out}
    assert left_out == {
        "good": "duplicate id",
        "no_text": "no text",
        "emoji": "text",
        "absent": "no recording",
        "wrong_words": "alignment",
        "slow_rate": "sample rate",
        "empty": "unreadable",
        "truncated": left_out["truncated"],
        "text_file": "unreadable",
        "short": "too short",
        "silent": "alignment",
        "nan": "unreadable",
    }
    assert left_out["truncated"] in ("unreadable", "alignment")
    assert all(clip.reason.endswith(".") for clip in report.left_out)
    opened = PreparedCorpus.open(tmp_path / "out")
    assert [clip.id for clip in opened.clips] == ["good", "stereo"]
    assert opened.clips[0].frames == opened.clips[1].frames
    assert "3 unreadable" in report.summary() or "4 unreadable" in report.summary()


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    folder = make_corpus(tmp_path / "voice", [("a", "", "arctic_a0102_1592746203")])
    with pytest.raises(CorpusError, match="No clip could be used: 1 no text; the first, a:"):
        prepare(folder, tmp_path / "out", processes=1)


def test_other_rates_are_resampled(tmp_path):
    soon = "arctic_a0102_1592746203"
    wave, _ = soundfile.read(SPEECH / f"{soon}.flac", dtype="float32")
    folder = make_corpus(tmp_path / "voice", [("a", SPOKEN[soon], soon), ("b", SPOKEN[soon], "")])
    doubled = np.interp(np.arange(2 * len(wave)) / 2, np.arange(len(wave)), wave)
    soundfile.write(folder / "wavs" / "b.wav", doubled, 44_100)
    prepare(folder, tmp_path / "out", processes=1)
    a, b = PreparedCorpus.open(tmp_path / "out").clips
    assert a.phones == b.phones
    assert abs(a.total_frames - b.total_frames) <= 2


# --- TextGrids -----------------------------------------------------------------


def test_a_textgrid_beside_the_corpus_is_used(tmp_path):
    folder = make_corpus(tmp_path / "voice", [("a", "Anything.", "arctic_a0102_1592746203")])
    (folder / "TextGrid" / "speaker").mkdir(parents=True)
    rows = [(0.0, 0.1, "sil"), (0.1, 0.4, "HH"), (0.4, 0.5, "sp"), (0.5, 1.0, "IY1")]
    values = "\n".join(f'{start}\n{end}\n"{label}"' for start, end, label in rows)
    (folder / "TextGrid" / "speaker" / "a.TextGrid").write_text(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n1\n'
        f'"IntervalTier"\n"phones"\n0\n1\n4\n{values}\n'
    )
    report = prepare(folder, tmp_path / "out", processes=1)
    assert report.from_textgrids == 1
    (clip,) = PreparedCorpus.open(tmp_path / "out").clips
    assert clip.phones == ("HH", "sp", "IY1")
    assert clip.frames == (29 - 7, 37 - 29, 74 - 37)


# --- the held-out split --------------------------------------------------------


def test_all_takes_of_a_sentence_are_on_one_side(corpus, tmp_path):
    report = prepare(corpus, tmp_path / "out", held_out=1, processes=1)
    opened = PreparedCorpus.open(tmp_path / "out")
    assert report.held_out == len(opened.held_out) == 2
    assert len({clip.text for clip in opened.held_out}) == 1
    assert not {c.text for c in opened.held_out} & {c.text for c in opened.training}


def test_the_split_depends_on_the_texts_alone():
    texts = [f"Sentence {i}." for i in range(1000)]
    held = preparing._held_out(texts, None)
    assert len(held) == 20
    assert preparing._held_out(texts[::-1], None) == held
    assert len(preparing._held_out(texts[:100], None)) == 8
    assert len(preparing._held_out(texts[:10], None)) == 2
    assert preparing._held_out(["The same."] * 50, None) == set()


# --- opening -------------------------------------------------------------------


def test_corpora_are_joined_with_speaker_ids_in_order(single, prepared, tmp_path):
    other = tmp_path / "other"
    prepare(single, other, speaker="other", processes=1)
    joined = open_corpora([prepared, other, prepared])
    assert joined.speakers == ("voice", "other")
    assert [clip.speaker_id for clip in joined.clips] == [0] * 6 + [1] + [0] * 6
    alike = joined.clips[2], joined.clips[6], joined.clips[9]
    assert {clip.text for clip in alike} == {SPOKEN["arctic_a0351_1592708910"]}
    assert all(torch.equal(joined.wave(clip), joined.wave(alike[0])) for clip in alike)
    whole = joined.all_audio()
    for clip in alike:
        piece = whole[clip.audio_start : clip.audio_start + clip.audio_length]
        assert torch.equal(piece.float() / 32768, joined.wave(clip))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no prepared corpus"),
        ({"metadata.csv": "a|b|c"}, "not been prepared yet"),
        ({"clips.part": ""}, "was not finished"),
        ({"clips.jsonl": "{}\n"}, "line 1, is damaged"),
        ({"clips.jsonl": ""}, "has 0 bytes"),
    ],
)
def test_what_is_no_prepared_corpus_is_refused(tmp_path, files, reason):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=reason):
        PreparedCorpus.open(tmp_path)


def test_missing_audio_is_refused(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "copy")
    with (tmp_path / "copy" / "audio.i16").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(CorpusError, match="has 1,000 bytes"):
        PreparedCorpus.open(tmp_path / "copy")


@pytest.mark.parametrize(
    "changes",
    [
        {"audio_start": 300},
        {"audio_start": -300},
        {"ids": lambda row: [151] * len(row["ids"])},
        {"frames": lambda row: [-1, row["frames"][0] + row["frames"][1] + 1, *row["frames"][2:]]},
        {"frames": lambda row: [float(frames) for frames in row["frames"]]},
        {"ids": lambda row: [True] * len(row["ids"])},
        {"speaker": ["anna"]},
        {"speaker": "a\x1b[31m"},
        {"text": None},
        {"phones": lambda row: [1] * len(row["phones"])},
    ],
    ids=[
        "elsewhere",
        "before",
        "symbols",
        "frames",
        "floats",
        "truth",
        "a list",
        "writing",
        "no text",
        "numbers",
    ],
)
def test_rows_that_fit_neither_audio_nor_table_are_refused(prepared, tmp_path, changes):
    shutil.copytree(prepared, tmp_path / "copy")
    path = tmp_path / "copy" / "clips.jsonl"
    first, *rest = path.read_text().splitlines()
    row = json.loads(first)
    row |= {key: value(row) if callable(value) else value for key, value in changes.items()}
    path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
    with pytest.raises(CorpusError, match="line 1, is damaged; prepare the corpus again"):
        PreparedCorpus.open(tmp_path / "copy")


def test_nothing_is_left_of_a_preparation_without_a_clip(tmp_path):
    folder = make_corpus(tmp_path / "voice", [("a", "", "arctic_a0102_1592746203")])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    for out in ("out", "new"):
        with pytest.raises(CorpusError):
            prepare(folder, tmp_path / out, processes=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "new").exists()


def test_rows_are_plain_json_with_what_training_needs(prepared):
    row = json.loads((prepared / "clips.jsonl").read_text().splitlines()[0])
    assert set(row) == set(Clip.__dataclass_fields__) - {"speaker_id"}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], r"no metadata\.csv in .*corpus\.$"),
        (["LJSpeech-1.1/metadata.csv"], r"but there is one in .*LJSpeech-1\.1"),
        (["transcripts.tsv"], r"the nearest thing there is transcripts\.tsv"),
        (["metadata.csv"], "no recordings"),
        (["metadata.csv", "wavs/a.mp3"], "no recordings"),
        (["metadata.csv", "wavs/a.wav"], "is empty"),
    ],
)
def test_a_folder_that_is_no_corpus_is_refused(tmp_path, files, reason):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in files:
        (corpus / name).parent.mkdir(exist_ok=True)
        (corpus / name).touch()
    with pytest.raises(CorpusError, match=reason):
        prepare(corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="There is no folder"):
        prepare(tmp_path / "nowhere", tmp_path / "out")


def test_metadata_in_another_encoding_is_refused_with_its_line(tmp_path):
    folder = make_corpus(tmp_path / "voice", [("a", "One.", "arctic_a0102_1592746203")])
    (folder / "metadata.csv").write_bytes(b"a|One.\nb|caf\xe9\n")
    with pytest.raises(CorpusError, match="line 2, is not UTF-8"):
        prepare(folder, tmp_path / "out")


def test_the_normalised_column_wins_where_there_is_one(tmp_path):
    folder = make_corpus(tmp_path / "voice", [("a", "x", "arctic_a0102_1592746203")])
    (folder / "metadata.csv").write_text("a|5 men|five men\r\nb|4 men\nc|3 men|\n\nd\n")
    texts = [recording.text for recording in find_recordings(folder)]
    assert texts == ["five men", "4 men", "3 men", ""]


# --- batches and prompts -------------------------------------------------------


def test_a_batch_is_sorted_and_padded():
    def clip(key: str, ids: tuple[int, ...], frames: tuple[int, ...], speaker: int) -> Clip:
        length = HOP * sum(frames)
        return Clip(key, "", "", ("AA",) * len(ids), ids, frames, 0, length, 0.0, False, speaker)

    clips = [clip("short", (5,), (4,), 0), clip("long", (6, 7, 8), (1, 0, 2), 1)]
    batch = collate(clips, [torch.full((1200,), 0.5), torch.full((900,), -0.5)])
    assert batch.clip_ids == ("long", "short")
    assert batch.ids.tolist() == [[6, 7, 8], [5, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.durations.tolist() == [[1, 0, 2], [4, 0, 0]]
    assert batch.frames.tolist() == [3, 4]
    assert batch.speakers.tolist() == [1, 0]
    assert batch.wave.shape == (2, 1200)
    assert batch.wave[0, 899:901].tolist() == [-0.5, 0.0]


def test_prompts_are_lines_without_comments(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeff# two sentences\n\n  One.\r\nTwo # not a comment.\n", encoding="utf-8")
    assert read_prompts(path) == ("One.", "Two # not a comment.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read"), (b"# nothing\n", "no sentence"), (b"caf\xe9", "not UTF-8")],
)
def test_prompts_that_cannot_be_used_are_refused(tmp_path, content, reason):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=reason):
        read_prompts(path)
