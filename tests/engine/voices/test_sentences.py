"""The sentences that a voice's card is about: unseen, speakable, and heard without ambiguity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.data import read_prompts
from engine.pronounce import CONSONANTS, VOWELS
from engine.rewards.intelligibility import plain_words
from engine.text import PAUSE, phonemise

VOICES = Path(__file__).parents[3] / "engine" / "voices"
CORPORA = Path(__file__).parents[4] / "shared" / "corpus"
SENTENCES = read_prompts(VOICES / "sentences-50.txt")


def test_there_are_fifty_of_five_to_fourteen_words() -> None:
    assert len({plain_words(text) for text in SENTENCES}) == len(SENTENCES) == 50
    assert all(5 <= len(text.split()) <= 14 for text in SENTENCES)


def test_a_recogniser_writes_them_as_they_stand() -> None:
    """No numeral, abbreviation, apostrophe or hyphen: what normalising would have to settle."""
    for text in SENTENCES:
        assert re.fullmatch(r"[A-Z][a-z]*(?:,? [A-Za-z]+)+[.?]", text), text
        assert plain_words(text) == re.sub(r"[.,?]", "", text).lower()


def test_between_them_they_have_every_phone_of_english() -> None:
    spoken = {phone.rstrip("012") for text in SENTENCES for phone in phonemise(text)}
    assert spoken - {PAUSE} == {*VOWELS.values(), *CONSONANTS.values()}


def test_none_is_in_another_list() -> None:
    others = {path.name: read_prompts(path) for path in VOICES.glob("*.txt")}
    assert set(others.pop("sentences-50.txt")) == set(SENTENCES)
    known = {plain_words(text) for texts in others.values() for text in texts}
    assert len(known) > 100
    assert known.isdisjoint(plain_words(text) for text in SENTENCES)


def test_none_is_in_the_text_of_the_corpora() -> None:
    files = sorted(CORPORA.glob("*/metadata*.csv"))
    if not files:
        pytest.skip("the corpora are not here")
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    known = " | ".join(" ".join(re.findall(r"[a-z']+", line.lower())) for line in lines)
    assert len(lines) > 1000
    assert not [text for text in SENTENCES if plain_words(text) in known]
