"""Real voices, as small as can be: what the listen screen's worker has them do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from dlpo_tui import cli
from dlpo_tui.speech_settings import Settings
from dlpo_tui.studio import VoiceStudio
from dlpo_tui.takes import Side
from engine import audio, checkpoint
from tests.voices import tiny_model, write_voice

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = Settings(timesteps=2)


@pytest.fixture
def voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.chdir(tmp_path)
    write_voice(Path("a.safetensors"), ("anna", "ben"))
    write_voice(Path("b.safetensors"), ("ben",), seed=1)
    return "a.safetensors", "b.safetensors"


def opened(*sources: str, speaker: str = "") -> VoiceStudio:
    return VoiceStudio(sources, Path(), lambda what: None, speaker)


def said(studio: VoiceStudio, settings: Settings, text: str = "Go on.") -> dict[Side, np.ndarray]:
    takes = studio.speak(1, text, settings, lambda side, done, total: None)
    return {side: soundfile.read(take.path)[0] for side, take in takes.items()}


def test_it_says_what_the_command_says(voices: tuple[str, str]) -> None:
    settings = Settings(2, None, 1.5, "ben", 5)
    wave = said(opened(voices[0]), settings)["A"]
    asked = ("--steps", "2", "--pace", "1.5", "--speaker", "ben", "--seed", "5")
    CliRunner().invoke(cli.app, ["listen", voices[0], "--text", "Go on.", "--out", "c.wav", *asked])
    assert np.array_equal(wave, soundfile.read("c.wav")[0])


def test_what_is_loaded_is_told_in_order(voices: tuple[str, str]) -> None:
    told: list[str] = []
    VoiceStudio(voices, Path(), told.append)
    assert told == ["torch", *voices]


def test_two_voices_share_sentence_seed_and_settings_and_are_equally_loud(
    voices: tuple[str, str],
) -> None:
    studio = opened(*voices)
    assert [facts.speakers for facts in studio.voices] == [("ben",), ("ben",)]
    steps: list[tuple[str, int, int]] = []
    takes = studio.speak(3, "Go on.", QUICK, lambda *step: steps.append(step))
    assert steps == [(side, done, 2) for side in "AB" for done in range(3)]
    loud = [audio.loudness_lufs(*audio.read(take.level)) for take in takes.values()]
    assert float(loud[0]) == pytest.approx(float(loud[1]), abs=0.05)
    alone = said(opened(voices[0]), Settings(2, speaker="ben"))["A"]
    assert np.array_equal(soundfile.read(takes["A"].path)[0], alone), "a save is as it was made"
    assert takes["A"].path != takes["A"].level


def test_every_setting_is_heard(voices: tuple[str, str]) -> None:
    studio = opened(voices[0])
    usual = said(studio, QUICK)["A"]
    assert np.array_equal(said(studio, QUICK)["A"], usual)
    for other in (Settings(3), Settings(2, 0.0), Settings(2, speaker="ben"), Settings(2, seed=1)):
        assert not np.array_equal(said(studio, other)["A"], usual), other
    assert len(said(studio, Settings(2, pace=2.0))["A"]) > 1.5 * len(usual)


def test_eta_of_one_is_the_ancestral_sampler(voices: tuple[str, str]) -> None:
    studio = opened(voices[0])
    one, own = said(studio, Settings(3, 1.0))["A"], said(studio, Settings(3))["A"]
    assert np.abs(one - own).max() < 1e-3


def test_the_loudness_of_a_take_is_scored(voices: tuple[str, str]) -> None:
    studio = opened(voices[0])
    assert studio.models()[0][0] == "loudness"
    (take,) = studio.speak(1, "Go on.", QUICK, lambda *step: None).values()
    assert not studio.loaded("loudness")
    columns, scores, failure = studio.score("loudness", "Go on.", take)
    assert studio.loaded("loudness")
    assert [column.name for column in columns] == list(scores) == ["loudness", "clipping"]
    assert scores["loudness"] == pytest.approx(
        float(audio.loudness_lufs(*audio.read(take.path))), abs=1e-3
    )
    assert failure == ""


def test_timesteps_that_are_not_free_are_one_sentence(voices: tuple[str, str]) -> None:
    model = tiny_model()
    card = checkpoint.Card(model.config, ("anna",), {"schedule": {"kind": "manual8"}})
    checkpoint.save(Path("fixed.safetensors"), model, card)
    studio = opened("fixed.safetensors")
    assert studio.voices[0].timesteps == 8
    with pytest.raises(ValueError, match="leave them its own"):
        said(studio, Settings(9))


@pytest.mark.parametrize(
    ("sources", "speaker", "told"),
    [
        (("away.safetensors",), "", "there is no checkpoint away.safetensors"),
        (("a.safetensors",), "bem", "did you mean 'ben'"),
        (("a.safetensors", "c.safetensors"), "", "no speaker in common"),
        (("a.safetensors", "b.safetensors"), "anna", "b.safetensors has no speaker 'anna'"),
    ],
)
def test_voices_that_cannot_be_opened_are_one_sentence(
    voices: tuple[str, str], sources: tuple[str, ...], speaker: str, told: str
) -> None:
    write_voice(Path("c.safetensors"), ("carl",))
    with pytest.raises(ValueError, match=told):
        opened(*sources, speaker=speaker)


def test_a_sentence_without_words_is_one_sentence(voices: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="word"):
        said(opened(voices[0]), QUICK, "...")
