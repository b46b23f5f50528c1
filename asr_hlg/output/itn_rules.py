"""Rules of inverse text normalisation for English, as regular expressions of word and output.

Numbers from 10 on are written in digits, smaller ones only where digits are usual: in dates, times,
amounts of money, percentages, decimals, telephone numbers, and after words such as `chapter`. The
same holds for ordinals: `21st`, but `first` and `wait a second`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from asr_hlg.output.english import MONTHS
from asr_hlg.output.numbers import TEENS, TENS, UNITS

COPY = "<copy>"
"""Output label for the input word itself."""


@dataclass(frozen=True)
class Rule:
    """Regular expression over words, each with the string that is written for it.

    ``kind`` is a word with its output, a sequence or a choice of the parts, a choice that is
    repeated once or more, or any word, which is copied. An empty word is read without input.
    """

    kind: Literal["word", "sequence", "choice", "repeated", "any"]
    parts: tuple[Rule, ...] = ()
    word: str = ""
    output: str = ""


def _w(word: str, output: str) -> Rule:
    """Words that are written as ``output``: the first one stands for all."""
    first, *others = word.split()
    return _seq(Rule("word", (), first, output), *(Rule("word", (), w, "") for w in others))


def _put(output: str) -> Rule:
    """Output without a word."""
    return Rule("word", (), "", output)


def _seq(*parts: Rule) -> Rule:
    return Rule("sequence", parts) if len(parts) != 1 else parts[0]


def _or(*parts: Rule) -> Rule:
    return Rule("choice", parts) if len(parts) != 1 else parts[0]


def _opt(part: Rule) -> Rule:
    return _or(part, _put(""))


def _each(pairs: dict[str, str], before: str = "", after: str = "") -> Rule:
    return _or(*(_w(word, before + output + after) for word, output in pairs.items()))


def _pairs(words: str, outputs: str) -> dict[str, str]:
    return dict(zip(words.split(), outputs.split(), strict=True))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_UNITS = {word: str(value) for value, word in enumerate(UNITS) if value}
_TEENS = {word: str(value) for value, word in enumerate(TEENS, start=10)}
_TENS = {word: str(value) for value, word in enumerate(TENS, start=2)}
_UNIT_ORDINALS = _pairs(
    "first second third fourth fifth sixth seventh eighth ninth",
    "1st 2nd 3rd 4th 5th 6th 7th 8th 9th",
)
_TEEN_ORDINALS = {
    {"twelve": "twelfth"}.get(word, word + "th"): output + "th" for word, output in _TEENS.items()
}
_TEN_ORDINALS = {word[:-1] + "ieth": output + "0th" for word, output in _TENS.items()}
_DECADES = {word[:-1] + "ies": output + "0s" for word, output in _TENS.items()}
_VERBS = ("march", "may")  # months only beside a year, or after certain words
_BEFORE_DATES = _words("on by until till since from before after of this next last every was is")
_LABELS = _words(
    """apartment article channel chapter class exit figure flight gate grade highway interstate item
    lane level lot number page part phase platform room route row section seat step suite table
    track unit verse version volume"""
)
_BEFORE_TIMES = _words("at by until till before after around about from since to")
_BEFORE_YEARS = _words(
    "in since of year by until till from around about before after during and to"
)
_TOP_LEVEL = _words("com org net edu gov co uk io ai")
_MAILERS = _words("gmail yahoo hotmail outlook icloud aol protonmail example")


@cache
def _two_digits() -> Rule:
    """10 to 99."""
    with_unit = _seq(_each(_TENS), _each(_UNITS))
    return _or(_each(_TEENS), with_unit, _each(_TENS, after="0"))


def _below_100() -> Rule:
    return _or(_each(_UNITS), _two_digits())


def _and(part: Rule) -> Rule:
    """Part with `and` before it or not."""
    return _seq(_opt(_w("and", "")), part)


@cache
def _last_two() -> Rule:
    """The last two digits after `hundred`: 00 to 99."""
    some = _or(_each(_UNITS, before="0"), _two_digits())
    return _or(_put("00"), _and(some))


@cache
def _hundreds() -> Rule:
    """100 to 999."""
    return _seq(_or(_each(_UNITS), _w("a", "1")), _w("hundred", ""), _last_two())


@cache
def _last_three() -> Rule:
    """The last three digits after a scale: 001 to 999."""
    units = _each(_UNITS, before="00")
    return _or(_and(_or(units, _seq(_put("0"), _two_digits()))), _hundreds())


@cache
def _thousands() -> Rule:
    """1000 to 999,999; a comma from 10,000 on."""
    rest = _or(_put("000"), _last_three())
    few = _seq(_or(_each(_UNITS), _w("a", "1")), _w("thousand", ""), rest)
    many = _seq(_or(_two_digits(), _hundreds()), _w("thousand", ","), rest)
    as_hundreds = _seq(_two_digits(), _w("hundred", ""), _last_two())  # twelve hundred
    return _or(few, many, as_hundreds)


@cache
def _millions() -> Rule:
    """1,000,001 to 999,999,999 that are no whole millions."""
    count = _or(_below_100(), _hundreds())
    thousands = _seq(_last_three(), _w("thousand", ","), _or(_put("000"), _last_three()))
    rest = _or(thousands, _seq(_put("000,"), _last_three()))
    return _seq(count, _w("million", ","), rest)


@cache
def _digit() -> Rule:
    """One digit of a sequence."""
    return _or(_each(_UNITS), _w("zero", "0"), _w("oh", "0"), _w("o", "0"))


@cache
def _decimal() -> Rule:
    """Number with a decimal point: two point five."""
    whole = _or(_each(_UNITS), _w("zero", "0"), _two_digits(), _hundreds(), _thousands())
    fraction = _or(Rule("repeated", (_digit(),)), _two_digits())
    return _seq(whole, _w("point", "."), fraction)


def _scales() -> Rule:
    return _or(*(_w(word, f" {word}") for word in ("million", "billion", "trillion")))


@cache
def _scaled() -> Rule:
    """2 million, 2.5 billion."""
    count = _or(_each(_UNITS), _two_digits(), _hundreds(), _decimal(), _w("a", "1"))
    return _seq(count, _scales())


@cache
def _quantity() -> Rule:
    """Any number, in digits."""
    return _or(
        _each(_UNITS), _two_digits(), _hundreds(), _thousands(), _millions(), _decimal(), _scaled()
    )


def _cardinals() -> Rule:
    """Numbers that are written in digits wherever they stand; not `a hundred`."""
    hundreds = _seq(_each(_UNITS), _w("hundred", ""), _last_two())
    counted = _seq(_or(_each(_UNITS), _two_digits(), hundreds, _decimal()), _scales())
    rest = _or(_put("000"), _last_three())
    few = _seq(_each(_UNITS), _w("thousand", ""), rest)
    many = _seq(_or(_two_digits(), hundreds), _w("thousand", ","), rest)
    as_hundreds = _seq(_two_digits(), _w("hundred", ""), _last_two())
    return _or(
        _two_digits(), hundreds, few, many, as_hundreds, _millions(), _decimal(), counted
    )  # fmt: skip


def _ordinals() -> Rule:
    """10th to 999th."""
    with_unit = _seq(_each(_TENS), _each(_UNIT_ORDINALS))
    two_digits = _or(_each(_TEEN_ORDINALS), _each(_TEN_ORDINALS), with_unit)
    rest = _or(_and(_or(_each(_UNIT_ORDINALS, before="0"), two_digits)))
    hundreds = _seq(_each(_UNITS), _w("hundred", ""), rest)
    return _or(two_digits, hundreds, _seq(_each(_UNITS), _w("hundredth", "00th")))


def _day(ordinal: bool, ending: bool) -> Rule:
    """Day of a month: said as an ordinal or not, written with its ending or not."""
    if not ordinal:
        tens = _seq(_w("twenty", "2"), _each(_UNITS))
        thirty = _or(_w("thirty", "30"), _w("thirty one", "31"))
        return _or(_each(_UNITS), _each(_TEENS), _w("twenty", "20"), tens, thirty)
    cut = None if ending else -2
    units = {word: output[:cut] for word, output in _UNIT_ORDINALS.items()}
    teens = {word: output[:cut] for word, output in _TEEN_ORDINALS.items()}
    end = "th" if ending else ""
    return _or(
        _each(units),
        _each(teens),
        _seq(_w("twenty", "2"), _each(units)),
        _w("twentieth", "20" + end),
        _w("thirtieth", "30" + end),
        _seq(_w("thirty", "3"), _w("first", units["first"])),
    )


@cache
def _year(first: tuple[str, ...], second_teens: bool) -> Rule:
    """Year said as two numbers of two digits, of which the first is given."""
    centuries = _each({word: (_TEENS | {"twenty": "20"})[word] for word in first})
    tens = _or(_seq(_each(_TENS), _each(_UNITS)), _each(_TENS, after="0"))
    oh = _seq(_or(_w("oh", "0"), _w("o", "0")), _each(_UNITS))
    return _seq(centuries, _or(tens, oh, _each(_TEENS)) if second_teens else _or(tens, oh))


_MODERN = ("sixteen", "seventeen", "eighteen", "nineteen", "twenty")
_OLDER = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen")


def _any_year() -> Rule:
    two_thousand = _seq(_w("two thousand", "2"), _or(_put("000"), _last_three()))
    hundred = _seq(_each(_TEENS), _w("hundred", "00"))
    return _or(_year(_MODERN, True), _year(_OLDER, True), two_thousand, hundred)


def _month(names: Sequence[str]) -> Rule:
    return _or(*(_w(name, name.capitalize()) for name in names))


def _dates() -> Rule:
    """June 3; June 3, 2012; June 2012; 3rd of June 1984."""
    year = _seq(_put(", "), _any_year())
    ordinal = _seq(_opt(_w("the", "")), _put(" "), _day(ordinal=True, ending=False))
    plain = _seq(_put(" "), _day(ordinal=False, ending=False))
    usual = [name for name in MONTHS if name not in _VERBS]
    return _or(
        _seq(_month(usual), _or(ordinal, plain), _opt(year)),
        _seq(_month(_VERBS), _or(ordinal, plain), year),
        _seq(_month(MONTHS), _put(" "), _any_year()),
        _seq(
            _day(ordinal=True, ending=True),
            _w("of", " of "),
            _month(MONTHS),
            _opt(_seq(_put(" "), _any_year())),
        ),
    )


def _verb_dates() -> Rule:
    """March 2, May 1: after words that cannot stand before a verb."""
    ordinal = _seq(_opt(_w("the", "")), _put(" "), _day(ordinal=True, ending=False))
    return _seq(_month(_VERBS), ordinal)


def _clock() -> tuple[Rule, Rule]:
    """Hours, and minutes behind a colon."""
    hours = _each(_UNITS | {word: _TEENS[word] for word in ("ten", "eleven", "twelve")})
    tens = {word: _TENS[word] for word in ("twenty", "thirty", "forty", "fifty")}
    minutes = _or(
        _each(_TEENS),
        _seq(_each(tens), _each(_UNITS)),
        _each(tens, after="0"),
        _seq(_or(_w("oh", "0"), _w("o", "0")), _each(_UNITS)),
    )
    return hours, _seq(_put(":"), minutes)


def _times() -> Rule:
    """2:30 p.m., 7 a.m., 5 o'clock, 9:45 in the morning."""
    hours, minutes = _clock()
    halves = _or(_w("a m", " a.m."), _w("p m", " p.m."), _w("am", " a.m."), _w("pm", " p.m."))
    parts = _or(
        *(_w(f"in the {part}", f" in the {part}") for part in ("morning", "afternoon", "evening")),
        _w("at night", " at night"),
        _w("tonight", " tonight"),
    )
    return _or(
        _seq(hours, _opt(minutes), halves),
        _seq(hours, _w("o'clock", " o'clock")),
        _seq(hours, minutes, parts),
    )


def _money() -> Rule:
    """$25.50; $2.5 million; €15; £5.20."""
    cents = _and(_or(_each(_UNITS, before=".0"), _seq(_put("."), _two_digits())))
    currencies = [
        ("$", ("dollar", "dollars"), ("cent", "cents")),
        ("€", ("euro", "euros"), ("cent", "cents")),
    ]
    amounts = [
        _seq(
            _put(sign),
            _quantity(),
            _or(*(_w(name, "") for name in names)),
            _opt(_seq(cents, _or(*(_w(name, "") for name in parts)))),
        )
        for sign, names, parts in currencies
    ]
    pounds = _or(_w("pound", ""), _w("pounds", ""))  # alone, they may be a weight
    return _or(*amounts, _seq(_put("£"), _quantity(), pounds, cents, _w("pence", "")))


def _telephone() -> Rule:
    """Digits said one by one: 555-0123, 919-555-0123, 210."""
    digit = _digit()
    first = _or(_each(_UNITS), _w("zero", "0"))
    pairs = _or(*(_w(f"double {w}", 2 * d) for w, d in (_UNITS | {"oh": "0", "zero": "0"}).items()))
    triples = _or(*(_w(f"triple {w}", 3 * d) for w, d in (_UNITS | {"zero": "0"}).items()))
    dash = _put("-")
    pair_or_digit = _or(digit, pairs, triples)
    seven = _seq(digit, digit, digit, dash, digit, digit, digit, digit)
    area = _seq(first, digit, digit, dash)
    hundred = _seq(first, _w("hundred", "00"), dash)
    return _or(
        _seq(area, seven),
        _seq(hundred, seven),
        _seq(_w("one", "1-"), _or(area, hundred), seven),
        _seq(first, digit, Rule("repeated", (pair_or_digit,))),
        _seq(_or(pairs, triples), Rule("repeated", (pair_or_digit,))),
    )


def _local_telephone() -> Rule:
    """Seven digits: 555-0123."""
    digit = _digit()
    area = _seq(_or(_each(_UNITS), _w("zero", "0")), digit, digit)
    return _seq(area, _put("-"), digit, digit, digit, digit)


def _web() -> Rule:
    """www.example.com, joe@gmail.com."""
    anything = Rule("any")
    dot = _w("dot", ".")
    ends = _or(*(_w(name, name) for name in _TOP_LEVEL))
    more = _or(*(_w(f"dot {name}", f".{name}") for name in _TOP_LEVEL))
    domain = _seq(anything, dot, ends, _opt(more))
    mailers = _or(*(_w(name, name) for name in _MAILERS))
    mail = _seq(
        anything, _opt(_seq(dot, anything)), _w("at", "@"), mailers, dot, ends, _opt(more)
    )  # fmt: skip
    return _or(domain, _seq(_or(_w("www", "www"), _w("w w w", "www")), dot, domain), mail)


def rules() -> Iterator[tuple[float, Rule, tuple[str, ...]]]:
    """Cost of each rule, the rule, and the words of which one must stand before, if any.

    Of two rules for the same words the cheaper one is taken. A word that is copied costs 1.
    """
    hours, minutes = _clock()
    quantity = _quantity()
    percent = _or(_w("percent", "%"), _w("per cent", "%"))
    degrees = _or(_w("degrees", " degrees"), _w("degree", " degree"))
    two_digit_code = _seq(_or(_each(_UNITS), _w("zero", "0")), _digit())
    decades = _seq(_each({word: _TEENS[word] for word in _MODERN[:4]}), _each(_DECADES))
    yield 0.40, _money(), ()
    yield 0.40, _dates(), ()
    yield 0.41, _verb_dates(), _BEFORE_DATES
    yield 0.40, _times(), ()
    yield 0.41, _seq(hours, minutes), _BEFORE_TIMES
    yield 0.40, _seq(quantity, percent), ()
    yield 0.40, _seq(_w("minus", "-"), quantity, degrees), ()
    yield 0.45, _year(_MODERN, True), ()
    yield 0.44, _year(_OLDER, False), _BEFORE_YEARS
    yield 0.45, decades, ()
    yield 0.43, _or(quantity, two_digit_code), _LABELS
    yield 0.46, _telephone(), ()
    yield 0.45, _local_telephone(), ()
    yield 0.40, _web(), ()
    yield 0.50, _ordinals(), ()
    yield 0.50, _cardinals(), ()
    yield 0.50, _or(_w("mister", "Mr."), _w("missus", "Mrs.")), ()


@cache
def vocabulary() -> frozenset[str]:
    """All words that some rule names."""

    def words(rule: Rule) -> Iterator[str]:
        if rule.word:
            yield rule.word
        for part in rule.parts:
            yield from words(part)

    named = {word for _, rule, before in rules() for word in (*before, *words(rule))}
    return frozenset(named)
