"""English sentences into WaveGrad 2's symbols: stressed ARPAbet phones and pauses.

`phonemise` gives the phones of a text, `to_ids` their ids in the embedding of the encoder.
Knows neither audio nor tensors.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.normalise import normalise
from engine.pronounce import CONSONANTS, VOWELS, pronounce

PAUSE = "sp"
SILENCES = ("sp", "spn", "sil")

_VOWEL_NAMES = sorted(set(VOWELS.values()))
_CONSONANT_NAMES = CONSONANTS.values()
ARPABET = tuple(
    sorted(
        [*_CONSONANT_NAMES, *(vowel + digit for vowel in _VOWEL_NAMES for digit in ("", *"012"))]
    )
)
"""84 phones: consonants once, each vowel bare and with the stress digits 0, 1, 2."""

SYMBOLS = (
    "<pad>",
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    *"abcdefghijklmnopqrstuvwxyz",
    *"!'(),-.:~? ",
    *(f"@{phone}" for phone in (*ARPABET, *SILENCES)),
)
"""The 151 rows of the encoder's embedding, in maum-ai/wavegrad2's order."""

SYMBOL_TO_ID = {symbol: i for i, symbol in enumerate(SYMBOLS)}

MAX_PHONES = 1000
"""About a minute and a half of speech."""

MAX_CHARACTERS = 20_000

_PHONES = frozenset((*ARPABET, *SILENCES))
_BRACES = re.compile(r"\{([^{}]*)\}")
_TOKEN = re.compile(
    r"(?P<word>[A-Za-z](?:\.[A-Za-z])+(?![A-Za-z])\.?|[A-Za-z]+(?:'[A-Za-z]+)*)"
    r"|(?P<pause>[,;.?!:()]|(?<![A-Za-z'])-|-(?![A-Za-z]))"
)


class TextError(ValueError):
    """A text that cannot be spoken; its message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    """As read out, such as "hello"; empty for a pause."""
    phones: tuple[str, ...]
    """Stressed ARPAbet; ("sp",) for a pause. Never empty."""


def phonemise(text: str) -> tuple[str, ...]:
    """Returns the phones of `text`, such as ("HH", "AH0", "L", "OW1", "sp").

    Numbers and abbreviations are read out. Each of , ; . - ? ! : becomes one pause "sp",
    as in maum-ai/wavegrad2's inference, so a sentence ends in one; pauses neither double
    nor lead, and a hyphen inside a word is none. Phones in braces, {HH AH0 L OW1}, are
    taken as they stand. Deterministic.

    Raises:
        TextError: nothing to pronounce, too long, or an unknown phone in braces.
    """
    return tuple(phone for word in transcribe(text) for phone in word.phones)


def transcribe(text: str) -> tuple[Word, ...]:
    """The same as `phonemise`, word by word; what forced alignment needs.

    Raises:
        TextError: nothing to pronounce, too long, or an unknown phone in braces.
    """
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"The text has {len(text):,} characters; the most that is spoken at once is "
            f"{MAX_CHARACTERS:,}."
        )
    words: list[Word] = []
    for i, part in enumerate(_BRACES.split(text)):
        for word in _literal(part) if i % 2 else _spoken(part):
            doubled = word.phones == (PAUSE,) and (not words or words[-1].phones == (PAUSE,))
            if not doubled:
                words.append(word)
    if not any(word.text for word in words):
        raise TextError(f"There is no word to pronounce in {_quoted(text)}.")
    count = sum(len(word.phones) for word in words)
    if count > MAX_PHONES:
        raise TextError(
            f"The text has {count:,} phones; the most that is spoken at once is "
            f"{MAX_PHONES:,}, so split it into sentences."
        )
    return tuple(words)


def to_ids(phones: Sequence[str]) -> list[int]:
    """Ids of phones (without "@") in `SYMBOLS`.

    Raises:
        TextError: a phone is not in the table; the nearest ones are named.
    """
    for phone in phones:
        _check(phone)
    return [SYMBOL_TO_ID[f"@{phone}"] for phone in phones]


def _literal(braced: str) -> list[Word]:
    """The content of one pair of braces: a word, and pauses where it says sp, spn or sil."""
    words: list[Word] = []
    run: list[str] = []
    for written in braced.split():
        phone = written.lower() if written.lower() in SILENCES else written.upper()
        _check(phone)
        if phone not in SILENCES:
            run.append(phone)
            continue
        words.extend([Word(_spelling(run), tuple(run))] if run else [])
        words.append(Word("", (phone,)))
        run = []
    return [*words, *([Word(_spelling(run), tuple(run))] if run else [])]


def _spelling(phones: Sequence[str]) -> str:
    return "{" + " ".join(phones) + "}"


def _spoken(text: str) -> list[Word]:
    words: list[Word] = []
    for phrase in _phrases(normalise(text)):
        if phrase:
            pronounced = zip(phrase, pronounce(phrase), strict=True)
            words.extend(Word(word, phones) for word, phones in pronounced if phones)
        words.append(Word("", (PAUSE,)))
    return words[:-1]


def _phrases(text: str) -> list[list[str]]:
    """Words between pauses; n pauses make n + 1 phrases, some of them empty."""
    phrases: list[list[str]] = [[]]
    for token in _TOKEN.finditer(text):
        if token["pause"]:
            phrases.append([])
            continue
        phrases[-1].append(token["word"])
        ends_text = token.end() == len(text)
        if ends_text and token["word"].endswith("."):
            phrases.append([])
    return phrases


def _check(phone: str) -> None:
    if phone in _PHONES:
        return
    nearest = difflib.get_close_matches(phone.upper(), sorted(_PHONES), n=3, cutoff=0.4)
    hint = f"; the nearest are {', '.join(nearest)}" if nearest else ""
    raise TextError(f"{_quoted(phone)} is not a phone{hint}.")


def _quoted(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return repr(printable if len(printable) <= 40 else printable[:40] + "...")
