"""Inverse text normalisation: a list of cases, and properties for any words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.output.english import normalise
from asr_hlg.output.itn import rewrites
from asr_hlg.output.itn_rules import vocabulary
from tests.support.spoken_numbers import cardinal, ordinal, year

CASES = [
    tuple(line.split(" | "))
    for line in (Path(__file__).parent / "itn_cases.txt").read_text(encoding="utf-8").splitlines()
]
# How often a digit is repeated is not said by other spellings, nor are signs of the web.
OTHER_WORDS = ("double", "triple", "w w w", "o'clock")


def convert(text: str) -> str:
    words = text.split()
    parts, position = [], 0
    for found in rewrites(words):
        assert position <= found.start < found.stop <= len(words)
        parts += [*words[position : found.start], found.text]
        position = found.stop
    return " ".join(parts + words[position:])


@pytest.mark.parametrize(("spoken", "written"), CASES)
def test_cases(spoken, written):
    assert convert(spoken) == written


@pytest.mark.parametrize(("spoken", "written"), CASES)
def test_written_forms_are_scored_as_the_spoken_ones(spoken, written):
    if not any(word in spoken for word in OTHER_WORDS):
        assert normalise(written) == normalise(spoken)


@given(st.integers(0, 10**9 - 1), st.booleans())
def test_cardinals(number, conjunction):
    written = convert(cardinal(number, conjunction))
    if number < 10:
        assert written == cardinal(number)
    elif number % 10**6 == 0:
        assert written == f"{number // 10**6} million"
    elif number % 100 == 0 and number < 10_000:
        assert written == str(number)
    else:
        assert written == (str(number) if number < 10_000 else f"{number:,}")


@given(st.integers(1, 999))
def test_ordinals(number):
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    written = convert(f"the {ordinal(number)} place")
    assert written == (
        f"the {number}{ending} place" if number > 9 else f"the {ordinal(number)} place"
    )


@given(st.integers(1600, 2099), st.integers(1, 31))
def test_years_and_dates(some_year, day):
    assert convert(f"in {year(some_year)}") == f"in {some_year}"
    written = convert(f"on june {ordinal(day)} {year(some_year)}")
    assert written == f"on June {day}, {some_year}"


@given(st.integers(1, 12), st.integers(0, 59))
def test_times(hour, minute):
    said = "" if minute == 0 else f"oh {cardinal(minute)}" if minute < 10 else cardinal(minute)
    written = convert(f"come at {cardinal(hour)} {said} p m")
    assert written == (f"come at {hour}:{minute:02} p.m." if minute else f"come at {hour} p.m.")


@given(st.integers(1, 10**6), st.integers(1, 99))
def test_money(dollars, cents):
    written = convert(f"{cardinal(dollars)} dollars and {cardinal(cents)} cents")
    whole = f"{dollars:,}" if dollars >= 10_000 else str(dollars)
    if dollars < 10**6:
        assert written == f"${whole}.{cents:02}"


@given(st.lists(st.sampled_from([*sorted(vocabulary()), "cat", "hat"]), max_size=8))
def test_any_words_have_a_written_form(words):
    converted = convert(" ".join(words))
    assert converted.count("cat") == words.count("cat")
    if "cat" in words and not {"dot", "at"} & set(words):  # no number extends over another word
        left, right = " ".join(words).split("cat", 1)
        assert converted == " ".join(filter(None, [convert(left), "cat", convert(right)]))
