"""Digits into words: amounts, years, ordinals, fractions, times, money, measures.

Text in, text out, ASCII but for the signs of currencies. Knows no other abbreviations.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inflect import engine as Inflect

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

_MOST_DIGITS = 15
"""Longer numbers are read digit by digit."""

_ROMAN = {"I": 1, "V": 5, "X": 10}

_DIGITS = r"\d{1,3}(?:,\d{3})+|\d+"
_NUMBER = rf"(?:{_DIGITS})(?:\.\d+)?"
_SCALE = r"hundred|thousand|million|billion|trillion"
_SCALE_LETTERS = {"k": "thousand", "m": "million", "b": "billion"}
_UNIT = r"[kcm]?m|[km]?g|ft|lbs?|oz|mph|[kMG]?Hz|[kKMG]B|ms|dB"

_HASH = re.compile(r"#\s*(?=\d)")
_MONEY = re.compile(rf"([$£€¥])\s*({_NUMBER})(?:\s*({_SCALE})\b|([KMBkmb])\b)?", re.IGNORECASE)
_CENTS = re.compile(rf"(?<![\d,.])({_NUMBER})\s*¢")
_CLOCK = re.compile(r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])")
_ORDINAL = re.compile(rf"(?<![\d,.])({_DIGITS})(?:st|nd|rd|th)\b", re.IGNORECASE)
_FRACTION = re.compile(r"(?:(?<!\d)(\d{1,3})\s+)?(?<![\d/.])(\d{1,2})/(\d{1,3})(?![\d/])")
_PHONE_NUMBER = re.compile(r"(?<![\d-])(?:\d{3}-)?\d{3}-\d{4}(?![\d-])")
_RANGE = re.compile(rf"(?<![\d.-])({_NUMBER})( ?)-\2({_NUMBER})(?![\d-])")
_MINUS = re.compile(r"(?<![\w)])-\s?(?=\d)")
_WITH_UNIT = re.compile(rf"(?<!\w)({_NUMBER})\s?({_UNIT})\b(?:\.(?=\s+[a-z]))?")
_DECADE = re.compile(r"\b([1-2]\d\d0|\d0)'?s\b")
_JOINED = re.compile(r"(?<=\d)-(?=\w)|(?<=\w)-(?=\d)")
_PLAIN = re.compile(_NUMBER)
_LEADING_POINT = re.compile(r"(?<!\d)\.(?=\d)")
_NUMERAL = re.compile(r"\b(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3})(?<=[IVX])\b(?!\.\w|')")


def read_numbers(text: str) -> str:
    """Returns `text` with every number in words, spaces around them.

    A year from 1000 to 3000 is read in pairs unless a comma groups its digits; digits are
    read one by one behind a point, behind a leading zero, in telephone numbers and where
    there are more than 15. Roman numerals count from II to XXXIX. Never raises.
    """
    for pattern, reading in _READINGS:
        text = pattern.sub(reading, text)
    return text


def _numeral(match: re.Match[str]) -> str:
    values = [_ROMAN[letter] for letter in match[0]]
    following = [*values[1:], 0]
    return _words(sum(v if v >= n else -v for v, n in zip(values, following, strict=True)))


def _money(match: re.Match[str]) -> str:
    one, many, hundredth, hundredths = CURRENCIES[match[1]]
    amount = match[2].replace(",", "")
    scale = match[3] or _SCALE_LETTERS.get((match[4] or "").lower())
    if scale:
        return f" {_decimal(amount)} {scale} {many} "
    whole, _, part = amount.partition(".")
    if len(part) not in (0, 2):
        return f" {_decimal(amount)} {many} "
    cents = int(part or 0)
    said = []
    if whole.strip("0") or not cents:
        said.append(f"{_decimal(whole)} {one if whole == '1' else many}")
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
    digits = match[1].replace(",", "")
    if len(digits) > _MOST_DIGITS:
        return f" {_decimal(digits)} "
    return f" {_words(int(digits), ordinal=True)} "


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
    if len(whole) > _MOST_DIGITS or (len(whole) > 1 and whole.startswith("0")):
        said = " ".join(_words(int(digit)) for digit in whole)
    else:
        said = _words(int(whole))
    if part:
        said += " point " + " ".join(_words(int(digit)) for digit in part)
    return said


@functools.cache
def _inflect() -> Inflect:
    import inflect

    return inflect.engine()


@functools.lru_cache(maxsize=4096)
def _words(number: int, *, ordinal: bool = False) -> str:
    # inflect's annotations take no int
    plain: Any = number
    said = str(_inflect().number_to_words(plain, andword=""))
    if ordinal:
        said = str(_inflect().ordinal(said))
    return said.replace(",", "")


_READINGS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_NUMERAL, _numeral),
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
    (_JOINED, " "),
    (_PLAIN, _plain),
)
"""Tried in this order: what a sign or a neighbour marks, before bare digits."""
