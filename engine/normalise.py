"""Written English into words that can be spoken: numbers, money, abbreviations, signs.

Text in, text out. Knows nothing of phones.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inflect import engine as Inflect

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

CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
}
"""Sign -> one and many of the unit, one and many of its hundredth."""

UNITS = {
    "km": "kilometers",
    "m": "meters",
    "cm": "centimeters",
    "mm": "millimeters",
    "kg": "kilograms",
    "g": "grams",
    "mg": "milligrams",
    "ft": "feet",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "mph": "miles per hour",
    "hz": "hertz",
    "khz": "kilohertz",
    "mhz": "megahertz",
    "ghz": "gigahertz",
    "kb": "kilobytes",
    "mb": "megabytes",
    "gb": "gigabytes",
    "ms": "milliseconds",
    "db": "decibels",
}
"""Units that are read out when a number stands before them."""

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

_ROMAN = {"I": 1, "V": 5, "X": 10}

_DIGITS = r"\d{1,3}(?:,\d{3})+|\d+"
_NUMBER = rf"(?:{_DIGITS})(?:\.\d+)?"
_SCALE = r"hundred|thousand|million|billion|trillion"
_UNIT = "|".join(sorted(UNITS, key=len, reverse=True))

_ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # a title or a link, up to its end
    r"|\x1b[PX^_].*?(?:\x1b\\|$)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b.?",
    re.DOTALL,
)
_ABBREVIATION = re.compile(
    r"(?<![\w.])(" + "|".join(re.escape(a) for a in ABBREVIATIONS) + r")\.(?!\w)", re.IGNORECASE
)
_STREET = re.compile(r"(?<=\w )(St|st)\.(?=\s+[a-z]|\s*$|[,;:!?])")
_ETC = re.compile(r"\betc\b", re.IGNORECASE)
_NUMERO = re.compile(r"\bno\.\s*(?=\d)", re.IGNORECASE)
_HASH = re.compile(r"#\s*(?=\d)")
_MONEY = re.compile(rf"([$£€¥])\s*({_NUMBER})(?:\s*({_SCALE})\b)?", re.IGNORECASE)
_CENTS = re.compile(rf"({_NUMBER})\s*¢")
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])")
_ORDINAL = re.compile(rf"({_DIGITS})(?:st|nd|rd|th)\b", re.IGNORECASE)
_FRACTION = re.compile(r"(?:(?<!\d)(\d{1,3})\s+)?(?<![\d/.])(\d{1,2})/(\d{1,3})(?![\d/])")
_PHONE_NUMBER = re.compile(r"(?<![\d-])(?:\d{3}-)?\d{3}-\d{4}(?![\d-])")
_RANGE = re.compile(rf"(?<![\d.-])({_NUMBER})( ?)-\2({_NUMBER})(?![\d-])")
_MINUS = re.compile(r"(?<![\w)])-\s?(?=\d)")
_WITH_UNIT = re.compile(rf"(?<!\w)({_NUMBER})\s?({_UNIT})\b(?:\.(?=\s+[a-z]))?", re.IGNORECASE)
_DECADE = re.compile(r"\b([1-2]\d\d0|\d0)'?s\b")
_PLAIN = re.compile(_NUMBER)
_LEADING_POINT = re.compile(r"(?<!\d)\.(?=\d)")
_NUMERAL = re.compile(r"\b(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3})\b(?!\.\w|')")
_INNER_DOT = re.compile(r"(?<=[a-z]{2})\.(?=[a-z]{2})")


def normalise(text: str) -> str:
    """Returns `text` as ASCII words and punctuation, nothing left to be read out.

    Accents and typographic signs become ASCII; control characters and terminal escape
    sequences are dropped; numbers, money, times, units and abbreviations become words.
    Years from 1000 to 3000 are read in pairs unless a comma groups their digits. Case is
    kept: whether a word is all capitals matters to its pronunciation. Never raises.
    """
    text = to_ascii(text)
    text = _STREET.sub("street", text)
    text = _NUMERO.sub("number ", text)
    text = _ABBREVIATION.sub(lambda m: ABBREVIATIONS[m[1].lower()], text)
    text = _ETC.sub("et cetera", text)
    text = _NUMERAL.sub(lambda m: _words(_roman(m[0])), text)
    for pattern, reading in _READINGS:
        text = pattern.sub(reading, text)
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


def _money(match: re.Match[str]) -> str:
    one, many, hundredth, hundredths = CURRENCIES[match[1]]
    amount, scale = match[2].replace(",", ""), match[3]
    if scale:
        return f" {_decimal(amount)} {scale} {many} "
    whole, _, part = amount.partition(".")
    if len(part) not in (0, 2):
        return f" {_decimal(amount)} {many} "
    cents = int(part or 0)
    said = []
    if int(whole) or not cents:
        said.append(f"{_words(int(whole))} {one if int(whole) == 1 else many}")
    if cents:
        said.append(f"{_words(cents)} {hundredth if cents == 1 else hundredths}")
    return f" {' and '.join(said)} "


def _cents(match: re.Match[str]) -> str:
    return f" {_decimal(match[1])} {'cent' if match[1] == '1' else 'cents'} "


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    if minute == 0:
        return f" {_words(hour)} o'clock "
    return f" {_words(hour)} {'oh ' if minute < 10 else ''}{_words(minute)} "


def _ordinal(match: re.Match[str]) -> str:
    return f" {_words(int(match[1].replace(',', '')), ordinal=True)} "


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match[1], int(match[2]), int(match[3])
    if bottom in (2, 4):
        name = {2: "half", 4: "quarter"}[bottom]
        many = {2: "halves", 4: "quarters"}[bottom]
    elif bottom > 2:
        name = _words(bottom, ordinal=True)
        many = name + "s"
    else:
        return f" {_words(top)} over {_words(bottom)} "
    if whole and top == 1:
        said = f"{_words(int(whole))} and a {name}"
    elif whole:
        said = f"{_words(int(whole))} and {_words(top)} {many}"
    else:
        said = f"{_words(top)} {name if top == 1 else many}"
    return f" {said} "


def _digits(match: re.Match[str]) -> str:
    return f" {' '.join(_words(int(digit)) for digit in match[0] if digit.isdigit())} "


def _range(match: re.Match[str]) -> str:
    low, high = (float(match[i].replace(",", "")) for i in (1, 3))
    return f" {match[1]}{' to ' if low < high else ' '}{match[3]} "


def _with_unit(match: re.Match[str]) -> str:
    unit = UNITS[match[2].lower()]
    if match[1] == "1" and match[2].lower() not in ("hz", "khz", "mhz", "ghz"):
        unit = "mile per hour" if unit == "miles per hour" else unit.removesuffix("s")
        unit = {"feet": "foot"}.get(unit, unit)
    return f" {match[1]} {unit} "


def _decade(match: re.Match[str]) -> str:
    number = int(match[1])
    if number == 2000:
        return " two thousands "
    century = f"{_words(number // 100)} " if number >= 100 else ""
    tens = _words(number % 100) if number % 100 else "hundred"
    return f" {century}{tens[:-1]}ies " if tens.endswith("y") else f" {century}{tens}s "


def _plain(match: re.Match[str]) -> str:
    written = match[0]
    if written.isdigit() and len(written) == 4 and 1000 < int(written) < 3000:
        return f" {_year(int(written))} "
    return f" {_decimal(written.replace(',', ''))} "


def _year(year: int) -> str:
    if year % 1000 == 0 or 2000 < year < 2010:
        return _words(year)
    century, rest = divmod(year, 100)
    if rest == 0:
        return f"{_words(century)} hundred"
    return f"{_words(century)} {'oh ' if rest < 10 else ''}{_words(rest)}"


def _decimal(number: str) -> str:
    """Digits with an optional point; digit by digit behind it, or where a zero leads."""
    whole, _, part = number.replace(",", "").partition(".")
    if len(whole) > 15 or (len(whole) > 1 and whole.startswith("0")):
        said = " ".join(_words(int(digit)) for digit in whole)
    else:
        said = _words(int(whole))
    if part:
        said += " point " + " ".join(_words(int(digit)) for digit in part)
    return said


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(v if v >= n else -v for v, n in zip(values, following, strict=True))


@functools.cache
def _inflect() -> Inflect:
    import inflect

    return inflect.engine()


def _words(number: int, *, ordinal: bool = False) -> str:
    if number >= 10**30:
        return _decimal(str(number))
    said = str(_inflect().number_to_words(number, andword=""))
    if ordinal:
        said = str(_inflect().ordinal(said))
    return said.replace(",", "")


_READINGS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_HASH, "number "),
    (_MONEY, _money),
    (_CENTS, _cents),
    (_CLOCK, _clock),
    (_ORDINAL, _ordinal),
    (_DECADE, _decade),
    (_FRACTION, _fraction),
    (_LEADING_POINT, "0."),
    (_PHONE_NUMBER, _digits),
    (_RANGE, _range),
    (_MINUS, " minus "),
    (_WITH_UNIT, _with_unit),
    (_PLAIN, _plain),
)
"""Tried in this order: what a sign or a neighbour marks, before bare digits."""
