"""Normalised English: written and spoken forms of the same words are equal."""

from __future__ import annotations

import sys
from importlib import util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg.cli import main
from asr_hlg.output import text
from asr_hlg.output.english import normalise
from asr_hlg.output.numbers import digits
from asr_hlg.output.scoring import score
from asr_hlg.output.spelling import american
from tests.support.examples import examples
from tests.support.spoken_numbers import cardinal, ordinal, year

PAIRS = [
    ("Mr. Smith's flight leaves at 2:30 p.m.", "mister smith's flight leaves at two thirty p m"),
    ("2.30pm", "two thirty p m"),
    ("It's 5:00 PM.", "it's five p m"),
    ("5 o'clock", "five o'clock"),
    ("It cost $25.50!", "it cost twenty five dollars and fifty cents"),
    ("$1", "one dollar"),
    ("$2.5 million", "two point five million dollars"),
    ("£3m", "three million pounds"),
    ("25¢", "twenty five cents"),
    ("the 3rd of June", "the third of june"),
    ("June 3", "june third"),
    ("June 3rd, 2012", "june the third two thousand and twelve"),
    ("21 May", "the twenty first of may"),
    ("the 1990s", "the nineteen nineties"),
    ("the 21st century", "the twenty first century"),
    ("1/2 cup", "one half cup"),
    ("2½ cups", "two and a half cups"),
    ("2/3", "two thirds"),
    ("100%", "a hundred per cent"),
    ("1,234,567", "one million two hundred thirty four thousand five hundred and sixty seven"),
    ("12,000 feet", "one two thousand feet"),
    ("902", "nine oh two"),
    ("902", "nine hundred two"),
    ("555-0120", "five five five oh one two oh"),
    ("800-555-0120", "eight hundred five five five oh one two zero"),
    ("5,000,005 5", "five million five five"),
    ("3.14", "three point one four"),
    ("118.7", "one one eight decimal seven"),
    ("-5 degrees", "minus five degrees"),
    ("72°", "seventy two degrees"),
    ("10 km", "ten kilometres"),
    ("5 ft 10", "five feet ten"),
    ("No. 5, flight FL210", "number five flight flight level two one zero"),
    ("Charlie35", "charlie thirty five"),
    ("They've organised the U.S. centre.", "they have organized the u s center"),
    ("colour TV", "color t v"),
    ("I don't, can't and won't; she'll", "i do not cannot and will not she will"),
    ("He's here, let's go", "he is here let us go"),
    ("John's hat", "john's hat"),
    ("St. John's on Main St.", "saint john's on main street"),
    ("Uh, well-known (um) e-mail", "well known email"),
    ("[laughter] OK <noise> alright", "okay all right"),
    ("joe@example.com", "joe at example dot com"),
    ("AT&T", "a t and t"),
    ("“Caxton’s wood-blocks,” he said.", "caxton's wood blocks he said"),
]


@pytest.mark.parametrize(("written", "spoken"), PAIRS)
def test_written_and_spoken_forms_are_equal(written, spoken):
    assert normalise(written) == normalise(spoken)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("205", "two hundred fifty"),
        ("first", "one"),
        ("the hour", "the our"),
        ("four", "for"),
        ("wont", "want"),
        ("3.14", "314"),
        ("he had", "he has"),
        ("john's", "johns"),
    ],
)
def test_different_words_stay_different(one, other):
    assert normalise(one) != normalise(other)


PARTS = """one two twenty thirty hundred thousand million and oh o point a i m p s th first second
third half quarter dollars cents june may the of 5 12 205 2:30 3rd 21st $5 $2.50 1/2 1,000 -3 %
st. mr. dr no. u.s. a.m. pm o'clock i'd he's can't ' - . , : / + # ° ½ é ① ² st ft km k bn '90s n't
'm x's [x] <y> nineties minus plus dot com .5 5. 5.5.5 km/h $ £3m tonne organise isn'ts 'em'"""


@examples(400)
@given(
    st.one_of(
        st.text(max_size=12),
        st.lists(
            st.tuples(st.sampled_from(PARTS.split()), st.sampled_from(["", " ", " "])), max_size=8
        ).map(lambda parts: "".join(part + blank for part, blank in parts)),
    )
)
def test_a_second_call_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once
    assert once == " ".join(once.split())


@given(st.integers(0, 10**12 - 1), st.booleans())
def test_a_number_is_its_digits_whatever_the_spelling(number, conjunction):
    assert normalise(cardinal(number, conjunction)) == " ".join(str(number))
    assert normalise(f"{number:,}") == " ".join(str(number))


@given(st.integers(1, 10**6), st.integers(1100, 2099))
def test_ordinals_and_years(number, some_year):
    assert normalise(f"{number}th place") == normalise(f"{ordinal(number)} place")
    assert normalise(year(some_year)) == normalise(str(some_year))


@given(
    st.lists(st.sampled_from(["two", "five", "twenty", "hundred", "and", "oh", "cat"]), max_size=8)
)
def test_digits_keep_all_words_that_are_no_numbers(words):
    assert digits(words).count("cat") == words.count("cat")


@settings(deadline=None)
@given(st.lists(st.sampled_from(PAIRS), min_size=1, max_size=3))
def test_errors_are_symmetrical(pairs):
    # A reference in either form gives the same errors for a wrong hypothesis.
    written = " hat ".join(pair[0] for pair in pairs)
    spoken = " hat ".join(pair[1] for pair in pairs)
    for reference, hypothesis in ((written, "cat"), ("cat", written)):
        other = [spoken if text is written else text for text in (reference, hypothesis)]
        results = [
            score({"x": one}, {"x": two}, normalise=normalise).words.total
            for one, two in ((reference, hypothesis), other)
        ]
        assert results[0] == results[1]


@pytest.mark.parametrize(
    ("british", "expected"),
    [
        ("neighbourhood", "neighborhood"), ("honourable", "honorable"), ("metres", "meters"),
        ("theatre", "theater"), ("recognised", "recognized"), ("organisation", "organization"),
        ("analysing", "analyzing"), ("travelled", "traveled"), ("anaesthetic", "anesthetic"),
        ("grey", "gray"), ("manoeuvre", "maneuver"), ("foetus", "fetus"), ("diarrhoea", "diarrhea"),
        ("haemorrhage", "hemorrhage"), ("paediatric", "pediatric"), ("leukaemia", "leukemia"),
        ("encyclopaedia", "encyclopedia"), ("archaeology", "archeology"), ("oestrogen", "estrogen"),
        ("programme", "program"), ("fulfil", "fulfill"),
    ],
)  # fmt: skip
def test_spellings(british, expected):
    assert american(british) == expected
    assert american(american(british)) == american(british)


AMERICAN = """four hour our tour your course surprise promised advertising exercise noise otherwise
were there fire genre spelled controlled rolled metre's conversation sensation paradise premises
louder does shoe phoenix caesar poem hoed aerial israel michael toes hoes canoe wise basis"""


def test_other_words_stay_as_they_are():
    words = AMERICAN.split()
    assert [american(word) for word in words] == words


def test_the_command_line_compares_written_with_spoken_text(tmp_path, capsys):
    reference, hypothesis = tmp_path / "ref", tmp_path / "hyp"
    reference.write_text("a twenty five dollars for colour tv\n")
    hypothesis.write_text("a $25, um, for color TV.\n")
    rates = {}
    for rules in ("", "--normalise", "--normalise basic", "--normalise en", "--normalise=en"):
        assert main(["score", *rules.split(), str(reference), str(hypothesis)]) == 0
        rates[rules] = capsys.readouterr().out.split()[1]
    assert rates["--normalise en"] == rates["--normalise=en"] == "0.00%"
    assert rates["--normalise"] == rates["--normalise basic"] != "0.00%"
    assert rates[""] != rates["--normalise"]


def test_wild_recordings_score_as_with_their_own_normaliser(root):
    """Errors are those of the recordings' own scorer, but for initials, which it counts singly."""
    folder = root.parent / "shared" / "data" / "wild-dev"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    spec = util.spec_from_file_location("wild_score", folder / "score.py")
    theirs = util.module_from_spec(spec)
    sys.modules[spec.name] = theirs
    spec.loader.exec_module(theirs)
    references = text.read_transcripts(folder / "text")
    texts = list(references.values())
    for reference, hypothesis in zip(texts, texts[1:] + texts[:1], strict=True):
        wrong = hypothesis.capitalize() + "."
        ours = score({"x": reference}, {"x": wrong}, normalise=normalise).words.total
        initials = abs(ours - theirs.errors(theirs.norm(reference), theirs.norm(wrong))[0])
        assert initials <= ("p m" in reference + hypothesis)
