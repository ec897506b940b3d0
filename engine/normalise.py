"""Written English into words that can be spoken: accents, abbreviations, numbers, signs.

Text in, text out. Knows nothing of phones.
"""

from __future__ import annotations

import re
import unicodedata

from engine.numbers import read_numbers

ABBREVIATIONS = {
    "mrs": "missus",
    "mr": "mister",
    "dr": "doctor",
    "st": "saint",
    "co": "company",
    "jr": "junior",
    "maj": "major",
    "gen": "general",
    "drs": "doctors",
    "rev": "reverend",
    "lt": "lieutenant",
    "hon": "honorable",
    "sgt": "sergeant",
    "capt": "captain",
    "esq": "esquire",
    "ltd": "limited",
    "col": "colonel",
    "ft": "fort",
    "ms": "miz",
    "prof": "professor",
    "sr": "senior",
    "vs": "versus",
    "dept": "department",
    "approx": "approximately",
    "e.g": "for example",
    "i.e": "that is",
}
"""Read out when a full stop follows; the first 18 are those of WaveGrad 2's cleaners."""

SIGNS = {
    "%": " percent ",
    "&": " and ",
    "@": " at ",
    "+": " plus ",
    "=": " equals ",
    "°": " degrees ",
    "/": " ",
    "_": " ",
    "|": " ",
}

_FRACTIONS = {
    "½": " 1/2",
    "⅓": " 1/3",
    "⅔": " 2/3",
    "¼": " 1/4",
    "¾": " 3/4",
    "⅛": " 1/8",
}

_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # a title or a link, up to its end
    r"|\x1b[PX^_].*?(?:\x1b\\|$)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b.?",
    re.DOTALL,
)
_ABBREVIATION = re.compile(
    r"(?<![\w.])(?<!\d )(" + "|".join(re.escape(a) for a in ABBREVIATIONS) + r")\.(?!\w)",
    re.IGNORECASE,
)
_STREET = re.compile(r"(?<=\w )(St|st)\.(?=\s+[a-z]|\s*$|[,;:!?])")
_ETC = re.compile(r"\betc\b", re.IGNORECASE)
_NUMERO = re.compile(r"\bno\.\s*(?=\d)", re.IGNORECASE)
_INNER_DOT = re.compile(r"(?<=[a-z]{2})\.(?=[a-z]{2})")


def normalise(text: str) -> str:
    """Returns `text` as ASCII words and punctuation, nothing left to be read out.

    Accents and typographic signs become ASCII; control characters and terminal escape
    sequences are dropped; numbers, money, times, units and abbreviations become words (see
    `engine.numbers.read_numbers`). Case is kept: a word all in capitals may be read letter
    by letter. Never raises.
    """
    text = to_ascii(text)
    text = _STREET.sub("street", text)
    text = _NUMERO.sub("number ", text)
    text = _ABBREVIATION.sub(lambda m: ABBREVIATIONS[m[1].lower()], text)
    text = _ETC.sub("et cetera", text)
    text = read_numbers(text)
    text = _INNER_DOT.sub(" dot ", text)
    for sign, word in SIGNS.items():
        text = text.replace(sign, word)
    text = re.sub(r"[^A-Za-z'.,;:?!()\-\s]", " ", text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r" (?=[,.;:?!)](?:\s|$))", "", text)


def to_ascii(text: str) -> str:
    """Transliterates to ASCII but for £ € ¥ ¢ and the degree sign, which are read out later."""
    from unidecode import unidecode

    text = _ESCAPE.sub("", text)
    for sign, fraction in _FRACTIONS.items():
        text = text.replace(sign, fraction)
    kept = []
    for character in text:
        if character in "£€¥¢°":
            kept.append(character)
        elif character in "–—―":
            kept.append(" - " if character != "–" else "-")
        elif character.isspace():
            kept.append(" ")
        elif unicodedata.category(character)[0] != "C":
            kept.append(unidecode(character))
    return "".join(kept)
