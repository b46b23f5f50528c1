"""Numbers in digits as English words, in all ways in which they are usually read.

>>> read_number("1455")[:2]
[('fourteen', 'fifty', 'five'), ('one', 'thousand', 'four', 'hundred', 'fifty', 'five')]
>>> read_number("2:05")
[('two', 'oh', 'five'), ('five', 'past', 'two')]
"""

from __future__ import annotations

import re
from collections.abc import Callable

from asr_hlg.output.numbers import TEENS, TENS, UNITS, ordinal_of

Reading = tuple[str, ...]
"""Words that are said for one token of a text."""

_SCALES = [(10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand")]
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
}
_FRACTIONS = {"½": ("1", "2"), "¼": ("1", "4"), "¾": ("3", "4"), "⅓": ("1", "3"), "⅔": ("2", "3")}
_WITH_ARTICLE = (100, *(value for value, _ in _SCALES))  # a hundred, a million
_LARGEST = 10**15

_INTEGER = re.compile(r"\d{1,3}(?:,\d{3})+|\d+")


def read_number(token: str) -> list[Reading]:
    """Ways to read a token with digits; none if it is no number that is known here.

    Integers, years, decimals, ordinals, decades, amounts of money, percentages, times, fractions,
    ranges, and digit by digit.
    """
    for pattern, read in _PATTERNS:
        match = pattern.fullmatch(token)
        if match:
            return list(dict.fromkeys(read(match)))
    return []


def cardinal(number: int, with_and: bool = False) -> Reading:
    """Words of an integer below 10^15, `and` before the last two digits or not."""
    if number < 20:
        return ((UNITS + TEENS)[number],)
    if number < 100:
        tens, unit = divmod(number, 10)
        return (TENS[tens - 2], *((UNITS[unit],) if unit else ()))
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        words: Reading = (UNITS[hundreds], "hundred")
        if not rest:
            return words
        return (*words, *(("and",) if with_and else ()), *cardinal(rest))
    for value, name in _SCALES:
        if number >= value:
            count, rest = divmod(number, value)
            words = (*cardinal(count, with_and), name)
            if not rest:
                return words
            joint = ("and",) if with_and and rest < 100 else ()
            return (*words, *joint, *cardinal(rest, with_and))
    raise AssertionError(number)


def _integers(digits: str) -> list[Reading]:
    """Ways to read an integer: as a year, a cardinal, in pairs, or digit by digit."""
    plain = digits.replace(",", "")
    number = int(plain)
    by_digit = [tuple(UNITS[int(digit)] for digit in plain)]
    if "0" in plain:
        by_digit.append(tuple("oh" if digit == "0" else UNITS[int(digit)] for digit in plain))
    if number >= _LARGEST or (plain[0] == "0" and len(plain) > 1):
        return by_digit
    readings = [cardinal(number), cardinal(number, with_and=True)]
    if number in _WITH_ARTICLE:
        readings.append(("a", *cardinal(number)[1:]))
    if "," in digits:
        return readings
    if len(plain) == 4 and plain[1:3] != "00":
        readings = [*_year(number), *readings]
    if len(plain) == 3 and plain[0] != "0":
        rest = int(plain[1:])
        if rest:
            after = ("oh", UNITS[rest]) if rest < 10 else cardinal(rest)
            readings.append((UNITS[int(plain[0])], *after))
    return readings if len(plain) == 1 else [*readings, *by_digit]


def _year(number: int) -> list[Reading]:
    """A number of four digits in pairs: fourteen fifty five, nineteen oh five."""
    high, low = divmod(number, 100)
    if not low:
        return [(*cardinal(high), "hundred")]
    pairs = [(*cardinal(high), *(cardinal(low) if low > 9 else ("oh", UNITS[low])))]
    return [*pairs, (*cardinal(high), "hundred", "and", *cardinal(low))]


def _ordinals(digits: str) -> list[Reading]:
    number = int(digits.replace(",", ""))
    if number >= _LARGEST:
        return []
    both = [cardinal(number), cardinal(number, with_and=True)]
    readings = [(*words[:-1], ordinal_of(words[-1])) for words in both]
    return [*readings, *(("the", *reading) for reading in readings)]


def _decades(match: re.Match[str]) -> list[Reading]:
    """The 1480s, or the 80s."""
    readings = _integers(match[1])
    return [
        (*words[:-1], words[-1][:-1] + "ies" if words[-1].endswith("y") else words[-1] + "s")
        for words in readings[:2]
    ]


def _decimal(match: re.Match[str]) -> list[Reading]:
    whole = _integers(match[1])[:2] if match[1] else [("zero",), ()]
    digits = tuple(UNITS[int(digit)] for digit in match[2])
    readings = [(*words, "point", *digits) for words in whole]
    if len(match[2]) == 2 and match[2][0] != "0":
        readings.append((*whole[0], "point", *cardinal(int(match[2]))))
    return readings


def _money(match: re.Match[str]) -> list[Reading]:
    sign, whole, cents = match[1], match[2], match[3]
    one, many, cent, all_cents = _CURRENCIES[sign]
    number = int(whole.replace(",", ""))
    readings = []
    for words in _integers(whole)[:3]:
        amount = (*words, one if number == 1 else many)
        if cents is None or cents == "00":
            readings += [amount, words]
            continue
        if len(cents) != 2:
            readings += [(*words, "point", *(UNITS[int(c)] for c in cents), many)]
            continue
        few = cardinal(int(cents))
        unit = cent if int(cents) == 1 else all_cents
        readings += [(*amount, "and", *few, unit), (*amount, *few, unit), (*amount, *few)]
        readings += [(*words, *few)]
    return readings


def _time(match: re.Match[str]) -> list[Reading]:
    hour, minute = int(match[1]), int(match[2])
    hours = cardinal(hour)
    if not minute:
        return [(*hours, "o'clock"), hours, (*hours, "hundred")]
    minutes = cardinal(minute) if minute > 9 else ("oh", UNITS[minute])
    readings: list[Reading] = [(*hours, *minutes)]
    names = {15: ("a", "quarter"), 30: ("half",)}
    if minute <= 30:
        readings.append((*names.get(minute, cardinal(minute)), "past", *hours))
        if minute == 15:
            readings.append(("quarter", "past", *hours))
    return readings


def _fraction(match: re.Match[str]) -> list[Reading]:
    """Two thirds, or both numbers one after the other."""
    top, bottom = int(match[1]), int(match[2])
    if max(top, bottom) >= _LARGEST:
        return _several(match)
    both = cardinal(top), cardinal(bottom)
    parts = _parts_of_one(top, bottom) if bottom > 1 else []
    return [*parts, both[0] + both[1], (*both[0], "over", *both[1])]


def _parts_of_one(top: int, bottom: int) -> list[Reading]:
    """A half, three quarters, twenty one hundredths."""
    *before, last = cardinal(bottom)
    names = [name for number, name in ((2, "half"), (4, "quarter")) if number == bottom]
    readings: list[Reading] = []
    for name in (*names, ordinal_of(last)):
        if top == 1:
            readings += [("a", *before, name), ("one", *before, name)]
        else:
            plural = "halves" if name == "half" else name + "s"
            readings.append((*cardinal(top), *before, plural))
    return readings


def _mixed(match: re.Match[str]) -> list[Reading]:
    """A fraction of one character, after an integer or alone: two and a half."""
    parts = _parts_of_one(int(_FRACTIONS[match[2]][0]), int(_FRACTIONS[match[2]][1]))
    if not match[1]:
        return parts
    return [(*cardinal(int(match[1])), "and", *part) for part in parts]


def _several(match: re.Match[str]) -> list[Reading]:
    """Numbers with signs between them: ranges, dates, scores, telephone numbers."""
    parts = [_integers(part) for part in re.findall(r"\d+", match[0])]
    first = tuple(word for part in parts for word in part[0])
    readings = [first]
    if len(parts) == 2:
        readings += [
            (*a, link, *b)
            for link in ("to", "and", "dash")
            for a in parts[0][:1]
            for b in parts[1][:1]
        ]
    readings.append(tuple(UNITS[int(digit)] for digit in match[0] if digit.isdigit()))
    readings.append(tuple("oh" if d == "0" else UNITS[int(d)] for d in match[0] if d.isdigit()))
    return readings


def _with(words: Callable[[Reading], list[Reading]]) -> Callable[[re.Match[str]], list[Reading]]:
    """Readings of the number in the first group, each changed by a function."""

    def read(match: re.Match[str]) -> list[Reading]:
        return [changed for reading in read_number(match[1])[:3] for changed in words(reading)]

    return read


_NUMBER = r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
_PATTERNS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], list[Reading]]]] = [
    (_INTEGER, lambda match: _integers(match[0])),
    (re.compile(r"(\d[\d,]*)(?:st|nd|rd|th)"), lambda match: _ordinals(match[1])),
    (re.compile(r"'?(\d{1,2}0|\d000)'?s"), _decades),
    (re.compile(r"(\d{1,2}[1-9]0|\d{2}00)'?s"), _decades),
    (re.compile(r"(\d[\d,]*)?\.(\d+)"), _decimal),
    (re.compile(r"([$£€])(\d[\d,]*)(?:\.(\d+))?"), _money),
    (re.compile(r"([01]?\d|2[0-4]):([0-5]\d)"), _time),
    (re.compile(_NUMBER + "%"), _with(lambda words: [(*words, "percent")])),
    (re.compile(_NUMBER + "°"), _with(lambda words: [(*words, "degrees"), words])),
    (re.compile(r"[-−]" + _NUMBER), _with(lambda w: [("minus", *w), ("negative", *w), w])),
    (re.compile("#" + _NUMBER), _with(lambda words: [("number", *words), words])),
    (re.compile(r"(\d+)/(\d+)"), _fraction),
    (re.compile(r"(\d*)([½¼¾⅓⅔])"), _mixed),
    (re.compile(r"\d+(?:[-–—:/.]\d+)+"), _several),
]
