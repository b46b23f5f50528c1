"""Numbers in English words, for tests of what turns words into digits."""

from __future__ import annotations

_SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = [(10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")]
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip


def cardinal(number: int, conjunction: bool = False) -> str:
    """`two hundred (and) five` of 205, up to 10^12; ``conjunction`` is for British `and`."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return _TENS[tens] + (f" {_SMALL[unit]}" if unit else "")
    value, name = next(scale for scale in _SCALES if scale[0] <= number)
    count, rest = divmod(number, value)
    words = f"{cardinal(count, conjunction)} {name}"
    if not rest:
        return words
    link = " and " if conjunction and rest < 100 else " "
    return words + link + cardinal(rest, conjunction)


def ordinal(number: int) -> str:
    """`two hundred fifth` of 205."""
    *words, last = cardinal(number).split()
    ending = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*words, _ORDINALS.get(last, ending)])


def year(number: int) -> str:
    """`nineteen oh five` of 1905, as years from 1100 to 2099 are said."""
    century, rest = divmod(number, 100)
    if number // 10 == 200:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"
