"""What is said for numbers, abbreviations and symbols of written text."""

from __future__ import annotations

import pytest

from asr_hlg.output.english import normalise
from asr_hlg.output.number_words import cardinal, read_number
from asr_hlg.output.spoken import readings, spoken


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("205", "two hundred and five"),
        ("205", "two oh five"),
        ("1455", "fourteen fifty five"),
        ("1900", "nineteen hundred"),
        ("1905", "nineteen oh five"),
        ("2005", "two thousand five"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("100", "a hundred"),
        ("007", "oh oh seven"),
        ("3.14", "three point one four"),
        ("21st", "twenty first"),
        ("1480s", "fourteen eighties"),
        ("'90s", "nineties"),
        ("$25.50", "twenty five dollars and fifty cents"),
        ("$1", "one dollar"),
        ("5%", "five percent"),
        ("2:05", "two oh five"),
        ("2:30", "half past two"),
        ("2/3", "two thirds"),
        ("1/2", "a half"),
        ("2½", "two and a half"),
        ("1914–18", "nineteen fourteen to eighteen"),
        ("-5", "minus five"),
        ("72°", "seventy two degrees"),
    ],
)
def test_numbers(token, words):
    assert tuple(words.split()) in read_number(token)


def test_words_are_no_numbers():
    assert read_number("abc") == read_number("") == read_number("10km") == []


@pytest.mark.parametrize("number", [0, 7, 13, 20, 21, 99, 100, 101, 999, 1000, 12_345, 10**9 + 7])
def test_a_cardinal_is_its_digits(number):
    """The digits of the words are those of the number, as `normalise` finds them."""
    digits = " ".join(str(number))
    assert normalise(" ".join(cardinal(number))) == digits
    assert normalise(" ".join(cardinal(number, with_and=True))) == digits


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Dr. Smith lives in St. John's.", "doctor smith lives in saint john's"),
        ("He walked down Baker St. at 5 p.m.", "he walked down baker street at five p m"),
        ("“Don’t,” he said — ‘it’s 5 %’", "don't he said it's five percent"),
        ("They paid $5 million, i.e. too much.", "they paid five million dollars that is too much"),
        ("the U.S. Army", "the u s army"),
        ("Chapter XIV.", "chapter fourteen"),
        ("ten-year-old cats/dogs", "ten year old cats dogs"),
        ("It ran 10km in 2020 & won.", "it ran ten kilometers in twenty twenty and won"),
        ("the sun. And the cat.", "the sun and the cat"),
        ("* * *", ""),
        ("[music] <noise> ♪", ""),
    ],
)
def test_lines(line, said):
    assert spoken(line) == said


def test_punctuation_stays_with_its_word():
    tokens = [token for token, _ in readings("— So, he said … “yes” !")]
    assert tokens == ["— So,", "he", "said …", "“yes” !"]
    ways = dict(readings("Call the BBC, NASA; I saw the fig."))
    assert ways["BBC,"] == [("bbc",), ("b", "b", "c")]
    assert ways["I"] == [("i",)]
    assert ("fig",) in ways["fig."]
    assert ("figure",) in ways["fig."]
    assert dict(readings("THE CAT"))["CAT"] == [("cat",)]
