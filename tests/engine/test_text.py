import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import pronounce
from engine.normalise import normalise
from engine.text import (
    ARPABET,
    MAX_PHONES,
    SYMBOL_TO_ID,
    SYMBOLS,
    TextError,
    phonemise,
    to_ids,
    transcribe,
)

ANY_TEXT = st.text(
    st.characters() | st.sampled_from("aeioustrnAEIOUVX'.,;:?!-{}$£€%&#0123456789\x1b[]m "),
    max_size=60,
)


def said(text: str) -> str:
    return " ".join(phonemise(text))


# --- symbols -------------------------------------------------------------------


def test_the_symbol_table_is_maums():
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 151
    places = {0: "<pad>", 1: "A", 27: "a", 53: "!", 63: " ", 64: "@AA", 144: "@W", 147: "@ZH"}
    places |= {148: "@sp", 149: "@spn", 150: "@sil"}
    assert {i: SYMBOLS[i] for i in places} == places
    assert ARPABET[:5] == ("AA", "AA0", "AA1", "AA2", "AE")
    assert len(ARPABET) == 84


def test_ids_are_those_of_the_prefixed_symbols():
    assert to_ids(("W", "IY1", "K", "sp")) == [SYMBOL_TO_ID[s] for s in ("@W", "@IY1", "@K", "@sp")]


def test_an_unknown_phone_is_refused_with_the_nearest_ones():
    with pytest.raises(TextError, match=r"'AAA' is not a phone; the nearest are .*AA"):
        to_ids(("AAA",))


# --- numbers, money, abbreviations ---------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("7", "seven"),
        ("1,500", "one thousand five hundred"),
        ("1905", "nineteen oh five"),
        ("2000", "two thousand"),
        ("2003", "two thousand three"),
        ("2024", "twenty twenty-four"),
        ("1900", "nineteen hundred"),
        ("the 1990s", "the nineteen nineties"),
        ("3.14", "three point one four"),
        (".5", "zero point five"),
        ("-5", "minus five"),
        ("007", "zero zero seven"),
        ("10-20", "ten to twenty"),
        ("1914–1918", "nineteen fourteen to nineteen eighteen"),
        ("555-1234", "five five five one two three four"),
        ("9-to-5", "nine to five"),
        ("21st", "twenty-first"),
        ("2,000th", "two thousandth"),
        ("1/2", "one half"),
        ("2 1/2", "two and a half"),
        ("1¾", "one and three quarters"),
        ("2/3", "two thirds"),
        ("1/0", "one over zero"),
        ("50%", "fifty percent"),
        ("#5", "number five"),
        ("no. 5", "number five"),
        ("10:30", "ten thirty"),
        ("7:05", "seven oh five"),
        ("5:00", "five o'clock"),
        ("$1", "one dollar"),
        ("$1,234.50", "one thousand two hundred thirty-four dollars and fifty cents"),
        ("$0.99", "ninety-nine cents"),
        ("$5 million", "five million dollars"),
        ("$3.5B", "three point five billion dollars"),
        ("£3.01", "three pounds and one penny"),
        ("€20", "twenty euros"),
        ("99¢", "ninety-nine cents"),
        ("5km", "five kilometers"),
        ("1 kg", "one kilogram"),
        ("44.1 kHz", "forty-four point one kilohertz"),
        ("20°C", "twenty degrees C"),
        ("World War II", "World War two"),
        ("XIV", "fourteen"),
        ("IIII", "IIII"),
    ],
)
def test_numbers_are_read_out(written, read):
    assert normalise(written) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Mr. Smith and Mrs. Jones", "mister Smith and missus Jones"),
        ("Dr. No vs. Lt. Col. Ray Jr.", "doctor No versus lieutenant colonel Ray junior"),
        ("St. Paul", "saint Paul"),
        ("Main St.", "Main street"),
        ("Ft. Knox is 5 ft. away", "fort Knox is five feet away"),
        ("salt & pepper", "salt and pepper"),
        ("this, e.g. that, etc.", "this, for example that, et cetera."),
        ("me@example.com", "me at example dot com"),
        ("naïve “café” — it’s…", "naive cafe - it's..."),
        ("and/or", "and or"),
    ],
)
def test_abbreviations_and_signs_are_read_out(written, read):
    assert normalise(written) == read


def test_terminal_escapes_and_control_characters_are_dropped():
    assert normalise("\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07herring\u200b\ud800") == "red herring"


def test_huge_numbers_are_read_digit_by_digit_and_fast():
    started = time.monotonic()
    for text in ("1" * 5000 + "th", "$" + "1" * 5000, "1," * 5000, "1/" * 5000, "-" * 9000):
        normalise(text)
    assert normalise("1" * 16) == " ".join(["one"] * 16)
    assert time.monotonic() - started < 20


# --- phones --------------------------------------------------------------------


def test_a_sentence_becomes_stressed_phones_and_ends_in_a_pause():
    assert said("Hello, world.") == "HH EH0 L OW1 sp W ER1 L D sp"


def test_pauses_neither_lead_nor_double():
    assert said("... well?! - well") == "W EH1 L sp W EH1 L"


def test_a_hyphen_inside_a_word_is_no_pause():
    assert said("twenty-one") == "T W EH1 N T IY0 W AH1 N"


def test_full_forms_are_preferred():
    assert said("for to of was can") == "F AO1 R T UW1 AH1 V W AA1 Z K AE1 N"


def test_the_and_a_follow_their_neighbours():
    assert said("the end") == "DH IY0 EH1 N D"
    assert said("the cat") == "DH AH0 K AE1 T"
    assert said("a plan") == "AH0 P L AE1 N"
    assert said("plan A") == "P L AE1 N EY1"


def test_the_sentence_chooses_between_forms():
    assert said("He read it.").split()[2:5] == ["R", "EH1", "D"]
    assert said("I will read it.").split()[4:7] == ["R", "IY1", "D"]
    assert said("They used to.").split()[2:6] == ["Y", "UW1", "S", "T"]
    assert said("They used it.").split()[2:6] == ["Y", "UW1", "Z", "D"]


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("U.S.", "Y UW1 EH1 S sp"),
        ("HTML", "EY1 CH T IY1 EH1 M EH1 L"),
        ("IBM's", "AY1 B IY1 EH1 M Z"),
        ("Zork's", "Z AO1 R K S"),
        ("tis", "T IH1 Z"),
    ],
)
def test_initials_and_possessives(text, phones):
    assert said(text) == phones


def test_an_unknown_word_is_guessed_with_one_main_stress_at_least():
    assert said("wavegrad blorpish").count("1") >= 2


def test_braces_are_taken_literally():
    assert phonemise("say {hh ah0 L OW1 sp}, {W}{IY1}") == (
        *("S", "EY1", "HH", "AH0", "L", "OW1", "sp", "W", "IY1"),
    )
    assert [w.text for w in transcribe("so {HH AY1}")] == ["so", "{HH AY1}"]


@pytest.mark.parametrize("text", ["", "  ", "!!!", "😀", "{sp}", "{}", "\x1b[31m", "'"])
def test_nothing_to_pronounce_is_refused_in_one_sentence(text):
    with pytest.raises(TextError, match=r"^There is no word to pronounce in .*\.$"):
        phonemise(text)


def test_an_unknown_phone_in_braces_is_refused():
    with pytest.raises(TextError, match=r"'OWE1' is not a phone; the nearest are .*OW1"):
        phonemise("{HH AH0 L OWE1}")


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(TextError, match=r"phones; the most .* is 1,000"):
        phonemise("word " * (MAX_PHONES // 2))
    with pytest.raises(TextError, match="30,000 characters"):
        phonemise("a" * 30_000)


def test_messages_never_carry_escape_sequences():
    with pytest.raises(TextError) as refused:
        phonemise("{\x1b[31m}")
    assert "\x1b" not in str(refused.value)


@settings(deadline=None, max_examples=100)
@given(ANY_TEXT)
@example("{" * 50)
@example("\ud800")
@example("1,000,000,000,000,000,000,000.5th$%")
@example("A.B.C.D")
@example("IIII VX XXXXI")
def test_any_text_gives_known_symbols_or_a_text_error(text):
    spoken = normalise(text)
    assert spoken.isascii()
    assert not any(character.isdigit() for character in spoken)
    try:
        phones = phonemise(text)
    except TextError:
        return
    assert all(0 < i < len(SYMBOLS) for i in to_ids(phones))
    assert phones[0] != "sp"
    assert phones == phonemise(text)


def test_the_dictionary_agrees_with_cmudict():
    """pocketsphinx carries CMUdict without stress: an independent transcription."""
    import pocketsphinx

    cmudict: dict[str, list[str]] = {}
    with open(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")) as file:
        for line in file:
            word, phones = line.strip().split(" ", 1)
            cmudict.setdefault(word.split("(")[0], []).append(phones)
    words = [word for word in cmudict if word.isalpha()][::60]
    assert len(words) > 1500
    agreeing = 0
    for word in words:
        (phones,) = pronounce.pronounce([word])
        agreeing += " ".join(phone.rstrip("012") for phone in phones) in cmudict[word]
    assert agreeing / len(words) > 0.9


def test_every_phone_of_the_dictionary_is_a_symbol():
    ipa = {p for forms in pronounce._lexicon().values() for _, form in forms for p in form.split()}
    assert all(len(to_ids(pronounce.from_ipa([phoneme]))) == 1 for phoneme in ipa)
