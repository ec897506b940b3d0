from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import audio
from engine.align import ALIGN_HZ, align
from engine.intervals import AlignError, Interval, durations, read_textgrid
from engine.text import transcribe

SPEECH = Path(__file__).parent.parent / "data" / "speech"
SOON = SPEECH / "arctic_a0102_1592746203.flac"
ROLLED = SPEECH / "arctic_a0242_1592711518.flac"

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "say ""x1 = 2"""
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 6
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = "sil"
        intervals [2]:
            xmin = 0.1
            xmax = 0.2
            text = "S"
        intervals [3]:
            xmin = 0.2
            xmax = 0.5
            text = ""
        intervals [4]:
            xmin = 0.5
            xmax = 0.9
            text = "spn"
        intervals [5]:
            xmin = 0.9
            xmax = 1.25
            text = "EY1"
        intervals [6]:
            xmin = 1.25
            xmax = 1.5
            text = "sp"
'''

SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
2
"TextTier"
"events"
0
1.5
1
0.7
"breath"
"IntervalTier"
"phones"
0
1.5
6
0
0.1
"sil"
0.1
0.2
"S"
0.2
0.5
""
0.5
0.9
"spn"
0.9
1.25
"EY1"
1.25
1.5
"sp"
"""

INSIDE = [
    Interval("S", 0.1, 0.2),
    Interval("sp", 0.2, 0.5),
    Interval("spn", 0.5, 0.9),
    Interval("EY1", 0.9, 1.25),
]


def heard(path: Path) -> torch.Tensor:
    wave, hz = audio.read(path)
    return audio.resample(wave, hz, ALIGN_HZ)


# --- TextGrid and frames -------------------------------------------------------


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_textgrid_keeps_what_lies_between_its_first_and_last_phone(tmp_path, text, encoding):
    path = tmp_path / "clip.TextGrid"
    path.write_bytes(text.encode(encoding))
    assert read_textgrid(path) == INSIDE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a TextGrid"),
        ("no grid", "not a TextGrid"),
        (SHORT[:150], "not a TextGrid"),
        (SHORT.replace("<exists>\n2\n", "<exists>\n1e999\n"), "not a TextGrid"),
        (SHORT.replace("<exists>\n2\n", "<exists>\n-1\n"), "not a TextGrid"),
        (LONG.replace("size = 6", "size = 1e12"), "not a TextGrid"),
        (LONG.replace("size = 6", "size = 6.5"), "not a TextGrid"),
        (LONG.replace("xmax = 1.5", "xmax = 1e999"), "not a TextGrid"),
        (
            LONG.replace("xmin = 0\n            xmax = 0.1", "xmin = -1\n            xmax = 0.1"),
            "not a TextGrid",
        ),
        (SHORT.replace("0.2\n0.5", "0.3\n0.5"), "not a TextGrid"),
        (SHORT.replace('"phones"', '"phone"'), 'no tier "phones"; its tiers: phone'),
        (SHORT.replace('"S"', '""').replace('"EY1"', '""'), "holds no phone"),
    ],
)
def test_a_damaged_textgrid_is_refused(tmp_path, text, reason):
    path = tmp_path / "clip.TextGrid"
    path.write_text(text)
    with pytest.raises(AlignError, match=reason):
        read_textgrid(path)


def test_a_missing_textgrid_is_refused(tmp_path):
    with pytest.raises(AlignError, match="cannot be read"):
        read_textgrid(tmp_path / "clip.TextGrid")


def test_durations_by_hand():
    # ends 0.1 0.2 0.5 0.9 1.25 s are 7.35 14.7 36.75 66.15 91.875 frames
    assert durations(INSIDE) == [15 - 7, 37 - 15, 66 - 37, 92 - 66]


@given(st.lists(st.floats(0.0, 2.0), min_size=1, max_size=30))
def test_durations_sum_to_the_whole_and_are_never_negative(lengths):
    ends = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    intervals = [Interval("AA1", a, b) for a, b in pairwise(ends)]
    frames = durations(intervals)
    assert sum(frames) == round(ends[-1] * 73.5)
    assert min(frames) >= 0


# --- forced alignment ----------------------------------------------------------


def test_speech_is_aligned_phone_by_phone_with_its_stress():
    words = transcribe("He will follow us soon.")
    wave = heard(SOON)
    intervals = align(wave, words)
    assert [i.phone for i in intervals if i.phone != "sp"] == [
        phone for word in words for phone in word.phones if phone != "sp"
    ]
    ends = [intervals[0].start_seconds, *(i.end_seconds for i in intervals)]
    assert [i.start_seconds for i in intervals] == ends[:-1]
    assert 0 <= ends[0] < 0.2
    assert ends[-1] <= len(wave) / ALIGN_HZ
    assert all(0.0 < i.end_seconds - i.start_seconds < 0.6 for i in intervals)


def test_fricatives_are_found_where_the_high_frequencies_are():
    wave = heard(SOON)
    intervals = align(wave, transcribe("He will follow us soon."))

    def share_above_4_khz(interval: Interval) -> float:
        first, last = (round(t * ALIGN_HZ) for t in (interval.start_seconds, interval.end_seconds))
        power = torch.fft.rfft(wave[first:last]).abs().square()
        return float(power[len(power) // 2 :].sum() / power.sum())

    fricatives = [share_above_4_khz(i) for i in intervals if i.phone == "S"]
    vowels = [share_above_4_khz(i) for i in intervals if i.phone[-1].isdigit()]
    assert min(fricatives) > 3 * max(vowels)


def test_a_pause_is_found_where_it_is_and_not_where_the_comma_is():
    half = heard(SOON)
    wave = torch.cat([half, torch.zeros(ALIGN_HZ // 2), heard(ROLLED)])
    intervals = align(wave, transcribe("He will, follow us soon I saw it when she rolled"))
    (pause,) = [i for i in intervals if i.phone == "sp" and i.end_seconds - i.start_seconds > 0.3]
    middle = (pause.start_seconds + pause.end_seconds) / 2
    assert abs(middle - (len(half) / ALIGN_HZ + 0.25)) < 0.2


def test_level_and_earlier_clips_change_nothing():
    words = transcribe("He will follow us soon.")
    first = align(heard(SOON), words)
    align(heard(ROLLED), transcribe("I saw it when she rolled."))
    again = align(heard(SOON) * 0.01, words)
    assert [i.phone for i in again] == [i.phone for i in first]
    assert again == first


@pytest.mark.parametrize(
    ("seconds", "text", "reason"),
    [
        (0.3, "He will follow us soon.", "too short for its words"),
        (1.0, "He will follow us soon.", "silent"),
    ],
)
def test_what_cannot_be_aligned_is_refused(seconds, text, reason):
    with pytest.raises(AlignError, match=reason):
        align(torch.zeros(round(seconds * ALIGN_HZ)), transcribe(text))


def test_words_that_were_not_said_are_refused():
    for other in ("Typography was beautiful.", "A big dog ate up my cake."):
        with pytest.raises(AlignError, match="do not fit"):
            align(heard(SOON), transcribe(other))


def test_no_words_are_refused():
    with pytest.raises(AlignError, match="no words"):
        align(torch.ones(ALIGN_HZ), ())
