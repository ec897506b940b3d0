"""Every reader over files that anybody may have written: it reads them, or says one sentence.

`make test` gives each some seconds; `make fuzz` as many examples as take minutes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlpo_tui import config
from engine import audio, checkpoint, convert, explain, foreign, human_pairs, journal, resume
from engine import profile as profiles
from engine.checkpoint import Card
from engine.data import PreparedCorpus, read_prompts
from engine.intervals import read_textgrid
from engine.own_schedule import schedule_for
from engine.recordings import Recording, make_clip
from engine.study import place as study_place
from engine.supervised import state as training
from engine.text import TextError, phonemise
from tests.fuzz.grounds import changed, costly, patient, spoilt, texts, values
from tests.lightning import write_checkpoint
from tests.torture.ground import answer
from tests.voices import SPEECH, SPOKEN, tiny_config, tiny_model, write_corpus, write_voice

MODEL = tiny_model()
NAME, SENTENCE = next(iter(SPOKEN.items()))
FLAC = (SPEECH / f"{NAME}.flac").read_bytes()
GRID = (
    b'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n1\n<exists>\n1\n"IntervalTier"\n'
    b'"phones"\n0\n1\n3\n0\n0.2\n""\n0.2\n0.6\n"HH"\n0.6\n1\n"IY1"\n'
)
PROFILE = (Path(__file__).parents[2] / "profiles" / "quickstart.toml").read_bytes()
PAIR = answer().plain()
STATE = {
    "format_version": 1, "update": 1, "skipped": 0, "statistics": {"Go on.": [0.5]},
    "identity": {"noise levels": "x"},
}  # fmt: skip
STUDY = {
    "format_version": 1, "machines": ["one"],
    "methods": {"a": {"settings": {"seed": 1}, "begins_with": {"starting voice": "x"}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice, a corpus, and someone else's checkpoint; each test spoils files of its own."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_voice(folder / "voice.safetensors", ("anna", "ben"))
    write_corpus(folder / "corpus")
    write_checkpoint(folder / "whole.ckpt", {"encoder.embedding.weight": torch.zeros(151, 4)})
    return folder


def reads(reader: Callable[[], object]) -> None:
    """It reads, or refuses in one sentence that says something."""
    try:
        reader()
    except (ValueError, OSError) as error:
        assert not isinstance(error, UnicodeError), "nobody's words"
        assert str(error)


def bytes_of(whole: bytes, head: int = 0) -> st.SearchStrategy[bytes]:
    return spoilt(whole, head) | st.binary(max_size=300)


# --- settings -------------------------------------------------------------------


@patient
@given(bytes_of(PROFILE, 2000), st.sampled_from([".toml", ".json"]))
def test_profiles(ground: Path, data: bytes, suffix: str) -> None:
    path = ground / f"p{suffix}"
    path.write_bytes(data)
    reads(lambda: profiles.load(path))
    reads(lambda: profiles.load_pretrain(path))
    explain.first_comment(path)


@costly
@given(
    st.dictionaries(st.sampled_from([f for f in dir(profiles.Profile()) if "_" not in f]), values)
)
def test_profiles_of_json(ground: Path, table: dict[str, Any]) -> None:
    path = ground / "p.json"
    path.write_bytes(json.dumps(table).encode("utf-8", "surrogatepass"))
    reads(lambda: profiles.load(path))


@patient
@given(
    st.lists(texts | st.builds("{}={}".format, st.sampled_from(["seed", "name", "runs"]), texts))
)
def test_changes_of_a_profile(ground: Path, changes: list[str]) -> None:
    path = ground / "good.toml"
    path.write_bytes(PROFILE)
    reads(lambda: profiles.load(path, changes))


@patient
@given(bytes_of(config.TEMPLATE.replace("# ", "").encode()))
def test_the_users_settings(ground: Path, data: bytes) -> None:
    path = ground / "config.toml"
    path.write_bytes(data)
    reads(lambda: config.load(path))


# --- voices ---------------------------------------------------------------------


@costly
@given(st.data())
def test_voices(ground: Path, data: st.DataObject) -> None:
    whole = (ground / "voice.safetensors").read_bytes()
    path = ground / "spoilt.safetensors"
    path.write_bytes(data.draw(bytes_of(whole, 12_000)))
    reads(lambda: checkpoint.load(path))


@costly
@given(
    st.dictionaries(st.sampled_from(["config", "symbols", "speakers", "about", "version"]), values)
)
def test_descriptions_of_voices(ground: Path, told: dict[str, Any]) -> None:
    good = {"config": tiny_config().to_json()}
    metadata = good | {k: v if isinstance(v, str) else json.dumps(v) for k, v in told.items()}
    reads(lambda: checkpoint.describe(ground / "x", metadata))


@costly
@given(st.dictionaries(st.sampled_from(["schedule", "schedules"]), values), st.integers(1, 1000))
def test_schedules_of_voices(about: dict[str, Any], timesteps: int) -> None:
    voice = checkpoint.Voice(MODEL, Card(MODEL.config, ("a",), about), "x")
    reads(lambda: schedule_for(voice, timesteps))


@patient
@given(st.data())
def test_checkpoints_of_others(ground: Path, data: st.DataObject) -> None:
    path, out = ground / "spoilt.ckpt", ground / "made.safetensors"
    path.write_bytes(data.draw(bytes_of((ground / "whole.ckpt").read_bytes())))
    reads(lambda: convert.convert(path, out))
    assert not out.exists()


@patient
@given(st.data())
def test_pickles(ground: Path, data: st.DataObject) -> None:
    """Past the archive's own sums: the pickle in it is spoilt and packed again."""
    import zipfile

    path = ground / "packed.ckpt"
    with zipfile.ZipFile(ground / "whole.ckpt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in parts if name.endswith("data.pkl"))
    parts[pickled] = data.draw(bytes_of(parts[pickled]))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    reads(lambda: foreign.read(path))


# --- speech and sentences -------------------------------------------------------


@patient
@given(st.data())
def test_prepared_corpora(ground: Path, data: st.DataObject) -> None:
    first, *rest = (ground / "corpus" / "clips.jsonl").read_bytes().splitlines()
    row = data.draw(changed(json.loads(first)) | bytes_of(first))
    folder = ground / "spoilt"
    if not folder.exists():
        shutil.copytree(ground / "corpus", folder)
    (folder / "clips.jsonl").write_bytes(b"\n".join([row, *rest]) + b"\n")
    reads(lambda: PreparedCorpus.open(folder))


@patient
@given(bytes_of(GRID))
def test_textgrids(ground: Path, data: bytes) -> None:
    path = ground / "a.TextGrid"
    path.write_bytes(data)
    reads(lambda: read_textgrid(path))
    recording = Recording("a", SENTENCE, SPEECH / f"{NAME}.flac", path, False)
    made = make_clip(recording)
    assert (made.clip is None) == (made.left_out is not None)


@patient
@given(bytes_of(FLAC, 60), st.sampled_from([".flac", ".wav"]))
def test_recordings(ground: Path, data: bytes, suffix: str) -> None:
    path = ground / f"a{suffix}"
    path.write_bytes(data)
    reads(lambda: audio.read(path))


@patient
@given(st.data())
def test_waves(ground: Path, data: st.DataObject) -> None:
    path = ground / "b.wav"
    soundfile.write(path, np.zeros(100), 22050)
    path.write_bytes(data.draw(spoilt(path.read_bytes(), 50)))
    reads(lambda: audio.read(path))


@patient
@given(st.lists(texts).map("\n".join))
def test_lists_of_sentences(ground: Path, text: str) -> None:
    path = ground / "prompts.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    reads(lambda: read_prompts(path))


@costly
@given(st.text(max_size=60) | texts | st.text("0123456789.,:/$%-", min_size=5, max_size=60))
def test_sentences(text: str) -> None:
    try:
        phonemise(text)
    except TextError as error:
        assert str(error).isprintable()


# --- runs -----------------------------------------------------------------------


@costly
@given(changed(STATE))
def test_states_of_runs(ground: Path, told: bytes) -> None:
    from safetensors.torch import save_file

    path = ground / "update-000001.safetensors"
    save_file({"policy.a": torch.zeros(2)}, path, {"state": told.decode("utf-8", "replace")})
    try:
        resume.read(path)
    except (ValueError, KeyError, TypeError) as error:  # what `newest` heeds
        assert str(error)


@patient
@given(st.dictionaries(st.sampled_from(["step", "seconds", "front_end_steps"]), texts))
def test_states_of_trainings(told: dict[str, str]) -> None:
    try:
        training.Told.of(told)
    except (ValueError, KeyError) as error:
        assert str(error)


@patient
@given(changed(PAIR) | bytes_of(json.dumps(PAIR).encode()))
def test_answers(ground: Path, line: bytes) -> None:
    path = ground / human_pairs.NAME
    path.write_bytes(line + b"\n")
    found = human_pairs.export([path])
    for row in found.rows:
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()


@patient
@given(changed(STUDY) | bytes_of(json.dumps(STUDY).encode()))
def test_studies(ground: Path, text: bytes) -> None:
    (ground / study_place.STUDY_FILE).write_bytes(text)
    reads(lambda: study_place.read(ground))


@patient
@given(values)
def test_lines_of_journals(row: Any) -> None:
    reads(lambda: journal.event_of(json.dumps(row).encode("utf-8", "surrogatepass")))
