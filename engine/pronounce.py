"""Pronunciations of English words as ARPAbet with stress digits: dictionary, then guess.

gruut's dictionary (128,877 pronunciations in IPA with stress, in its package
`gruut-lang-en`, MIT) and its grapheme-to-phoneme model for the words outside it. Knows
words and their neighbours, nothing of digits, punctuation or symbol ids.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Phones = tuple[str, ...]

VOWELS = {
    "ɑ": "AA",
    "æ": "AE",
    "ʌ": "AH",
    "ə": "AH",
    "ɔ": "AO",
    "aʊ": "AW",
    "aɪ": "AY",
    "ɛ": "EH",
    "ɚ": "ER",
    "ɝ": "ER",
    "eɪ": "EY",
    "ɪ": "IH",
    "i": "IY",
    "oʊ": "OW",
    "ɔɪ": "OY",
    "ʊ": "UH",
    "u": "UW",
}
"""IPA vowel -> ARPAbet vowel; schwa is AH without stress."""

CONSONANTS = {
    "b": "B",
    "t͡ʃ": "CH",
    "d": "D",
    "ð": "DH",
    "f": "F",
    "ɡ": "G",
    "h": "HH",
    "d͡ʒ": "JH",
    "k": "K",
    "l": "L",
    "m": "M",
    "n": "N",
    "ŋ": "NG",
    "p": "P",
    "ɹ": "R",
    "s": "S",
    "ʃ": "SH",
    "t": "T",
    "θ": "TH",
    "v": "V",
    "w": "W",
    "j": "Y",
    "z": "Z",
    "ʒ": "ZH",
}

STRESS = {"ˈ": "1", "ˌ": "2"}

OWN = {
    "a": "AH0",
    "an": "AE1 N",
    "et": "EH2 T",
    "gonna": "G AA1 N AH0",
    "i'm": "AY1 M",
    "miz": "M IH1 Z",
    "o'clock": "AH0 K L AA1 K",
    "shh": "SH",
    "the": "DH AH0",
    "tis": "T IH1 Z",
    "to": "T UW1",
    "tv": "T IY1 V IY1",
    "twas": "T W AA1 Z",
    "used": "Y UW1 Z D",
    "were": "W ER1",
    "y'all": "Y AO1 L",
}
"""Words that the dictionary lacks, or gives in the form of hurried speech first."""

_LETTER_A = ("EY1",)
_USED_TO = ("Y", "UW1", "S", "T")
_BEFORE_VOWEL = {"the": ("DH", "IY0")}
_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}
_VOICELESS = {"P", "T", "K", "F", "TH"}
_INITIALISM = re.compile(r"[A-Za-z](?:\.[A-Za-z])+\.?")
_LONGEST_SPELLED_OUT = 5


class _Guesser(Protocol):
    def __call__(self, word: str) -> Sequence[str]: ...


class _Tagger(Protocol):
    def __call__(self, words: Sequence[str]) -> Sequence[str]: ...


_lock = threading.Lock()
"""The guesser and the tagger wrap one C++ object each, which keeps state between calls."""


def pronounce(words: Sequence[str]) -> list[Phones]:
    """Returns the phones of each word of one phrase, such as ("HH", "AH0", "L", "OW1").

    Each word is letters with apostrophes, or an initialism such as "U.S."; what the word
    means in it chooses between forms ("he read it", "I read a lot"). A word that
    cannot be sounded at all gets no phones. Full forms are preferred to hurried ones ("for"
    is F AO1 R), because a voice is trained on one form a word.
    """
    words = list(words)
    tags = _tags(tuple(words))
    found = [_word(word, tag) for word, tag in zip(words, tags, strict=True)]
    for i, word in enumerate(words):
        following = found[i + 1] if i + 1 < len(words) else ()
        if word.lower() == "a" and not following:
            found[i] = _LETTER_A
        elif word.lower() == "used" and words[i + 1 : i + 2] == ["to"]:
            found[i] = _USED_TO
        elif word.lower() in _BEFORE_VOWEL and following and is_vowel(following[0]):
            found[i] = _BEFORE_VOWEL[word.lower()]
    return found


def is_vowel(phone: str) -> bool:
    """Whether a phone such as AH0 or AH is a vowel."""
    return phone.rstrip("012") in _ARPABET_VOWELS


def from_ipa(ipa: Sequence[str]) -> Phones:
    """Maps IPA phonemes, stress marks in front, to ARPAbet; unknown ones are left out."""
    phones = []
    for phoneme in ipa:
        stress = STRESS.get(phoneme[:1], "0")
        bare = phoneme.lstrip("ˈˌ")
        if bare in VOWELS:
            phones.append(VOWELS[bare] + stress)
        elif bare in CONSONANTS:
            phones.append(CONSONANTS[bare])
    return tuple(phones)


@functools.lru_cache(maxsize=4096)
def _tags(words: tuple[str, ...]) -> tuple[str, ...]:
    """Parts of speech (Penn tags), only where some word has more than one form."""
    forms = _lexicon()
    if not any(len({role for role, _ in forms.get(word.lower(), ())}) > 1 for word in words):
        return ("",) * len(words)
    tagger = _tagger()
    with _lock:
        return tuple(tagger(words))


@functools.lru_cache(maxsize=65536)
def _word(word: str, tag: str) -> Phones:
    lower = word.lower().strip("'")
    if _INITIALISM.fullmatch(word):
        return _spelled_out(word)
    known = _known(lower, tag)
    if known:
        return known
    stem = _stem_of_s(lower)
    if stem:
        spoken = _word(word.strip("'")[: len(stem)], "")
        return (*spoken, *_plural(spoken)) if spoken else ()
    vowels = re.search(r"[aeiouy]", lower)
    shouted = word.isupper() and len(lower) <= _LONGEST_SPELLED_OUT
    if shouted or (not vowels and len(lower) <= _LONGEST_SPELLED_OUT):
        return _spelled_out(word)
    return _guess(lower)


def _known(word: str, tag: str) -> Phones:
    if word in OWN:
        return tuple(OWN[word].split())
    forms = _lexicon().get(word, ())
    if not forms:
        return ()
    for role in (tag, tag[:2]):
        for form_role, ipa in forms:
            if role and form_role == role:
                return from_ipa(ipa.split())
    first_role = forms[0][0]
    alike = [ipa for role, ipa in forms if role == first_role]
    stressed = [ipa for ipa in alike if "ˈ" in ipa]
    return from_ipa((stressed or alike)[0].split())


def _stem_of_s(word: str) -> str:
    """The word without a plural or possessive s, where that is worth a look; else nothing."""
    if word.endswith("'s"):
        return word[:-2]
    if word.endswith("s") and (word[:-1] in OWN or word[:-1] in _lexicon()):
        return word[:-1]
    return ""


def _plural(stem: Phones) -> Phones:
    last = stem[-1]
    if last in _SIBILANTS:
        return ("IH0", "Z")
    return ("S",) if last in _VOICELESS else ("Z",)


def _spelled_out(word: str) -> Phones:
    names: list[str] = []
    for letter in word.lower():
        if letter == "a":
            names.extend(_LETTER_A)
        elif letter.isalpha():
            names.extend(_known(letter, ""))
    return tuple(names)


def _guess(word: str) -> Phones:
    letters = re.sub(r"[^a-z]", "", word)
    if not letters:
        return ()
    guesser = _guesser()
    with _lock:
        phones = from_ipa(guesser(letters))
    stressed = any(phone.endswith("1") for phone in phones)
    if stressed or not any(map(is_vowel, phones)):
        return phones
    first = next(i for i, phone in enumerate(phones) if is_vowel(phone))
    return (*phones[:first], phones[first][:-1] + "1", *phones[first + 1 :])


def _language_folder() -> Path:
    return Path(str(importlib.resources.files("gruut_lang_en")))


@functools.cache
def _lexicon() -> dict[str, tuple[tuple[str, str], ...]]:
    """Word -> its (part of speech or "", IPA) forms, the usual one first.

    Read as a whole, because the database has no index: one lookup scans all of it.
    """
    lexicon: dict[str, tuple[tuple[str, str], ...]] = {}
    path = _language_folder() / "lexicon.db"
    with sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True) as connection:
        for word, role, ipa in connection.execute(
            "SELECT word, role, phonemes FROM word_phonemes ORDER BY word, pron_order"
        ):
            form = (role.removeprefix("gruut:"), ipa)
            lexicon[word] = (*lexicon.get(word, ()), form)
    connection.close()
    return lexicon


@functools.cache
def _guesser() -> _Guesser:
    from gruut.g2p import GraphemesToPhonemes

    guesser: _Guesser = GraphemesToPhonemes(_language_folder() / "g2p" / "model.crf")
    return guesser


@functools.cache
def _tagger() -> _Tagger:
    from gruut.pos import PartOfSpeechTagger

    tagger: _Tagger = PartOfSpeechTagger(_language_folder() / "pos" / "model.crf")
    return tagger


_ARPABET_VOWELS = set(VOWELS.values())
