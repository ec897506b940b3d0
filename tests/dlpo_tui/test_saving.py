from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dlpo_tui import saving


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "clip.wav"
    samples = np.random.default_rng(1).integers(-3000, 3000, 4000).astype("int16")
    soundfile.write(path, samples, 22050, subtype="PCM_16")
    return path


@pytest.mark.parametrize("name", ["a.wav", "deep/er/b.flac", "C.FLAC"])
def test_the_copy_has_the_same_samples(clip: Path, name: str) -> None:
    path = saving.save(clip, f" {name} ")
    assert path == Path(name)
    one, rate = soundfile.read(clip, dtype="int16")
    other, other_rate = soundfile.read(path, dtype="int16")
    assert np.array_equal(one, other)
    assert rate == other_rate


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "say where to save it"),
        ("a.mp3", "a.mp3 must end in .wav or .flac"),
        ("clip.wav", "clip.wav is there already; name another file"),
    ],
)
def test_what_cannot_be_saved_is_one_sentence(clip: Path, name: str, told: str) -> None:
    before = clip.read_bytes()
    with pytest.raises(ValueError, match=told):
        saving.save(clip, name)
    assert clip.read_bytes() == before
    assert list(Path().iterdir()) == [Path("clip.wav")]


def test_a_name_is_proposed_that_is_free(clip: Path) -> None:
    assert saving.free_name("Go on, then!", 3) == Path("go-on-then-seed3.wav")
    assert saving.free_name("Go on, then!", 3, "B") == Path("go-on-then-seed3-b.wav")
    assert saving.free_name("?", 0) == Path("clip-seed0.wav")
    long = saving.free_name("word " * 40, 1)
    assert len(long.name) < 60
    saving.save(clip, "go-on-then-seed3.wav")
    assert saving.free_name("Go on, then!", 3) == Path("go-on-then-seed3-2.wav")
