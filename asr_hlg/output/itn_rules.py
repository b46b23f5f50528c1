"""Rules of inverse text normalisation for English, as regular expressions of word and output.

Numbers from 10 on are written in digits, smaller ones only where digits are usual: in dates, times,
amounts of money, percentages, decimals, telephone numbers, and after words such as `chapter`. The
same holds for ordinals: `21st`, but `first` and `wait a second`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from asr_hlg.output.english import MONTHS
from asr_hlg.output.itn_expressions import Rule, each, either, opt, put, said, seq
from asr_hlg.output.numbers import TEENS, TENS, UNITS


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
    with_unit = seq(each(_TENS), each(_UNITS))
    return either(each(_TEENS), with_unit, each(_TENS, after="0"))


def _below_100() -> Rule:
    return either(each(_UNITS), _two_digits())


def _and(part: Rule) -> Rule:
    """Part with `and` before it or not."""
    return seq(opt(said("and", "")), part)


@cache
def _last_two() -> Rule:
    """The last two digits after `hundred`: 00 to 99."""
    some = either(each(_UNITS, before="0"), _two_digits())
    return either(put("00"), _and(some))


@cache
def _hundreds() -> Rule:
    """100 to 999."""
    return seq(either(each(_UNITS), said("a", "1")), said("hundred", ""), _last_two())


@cache
def _last_three() -> Rule:
    """The last three digits after a scale: 001 to 999."""
    units = each(_UNITS, before="00")
    return either(_and(either(units, seq(put("0"), _two_digits()))), _hundreds())


@cache
def _thousands() -> Rule:
    """1000 to 999,999; a comma from 10,000 on."""
    rest = either(put("000"), _last_three())
    few = seq(either(each(_UNITS), said("a", "1")), said("thousand", ""), rest)
    many = seq(either(_two_digits(), _hundreds()), said("thousand", ","), rest)
    as_hundreds = seq(_two_digits(), said("hundred", ""), _last_two())  # twelve hundred
    return either(few, many, as_hundreds)


@cache
def _millions() -> Rule:
    """1,000,001 to 999,999,999 that are no whole millions."""
    count = either(_below_100(), _hundreds())
    thousands = seq(_last_three(), said("thousand", ","), either(put("000"), _last_three()))
    rest = either(thousands, seq(put("000,"), _last_three()))
    return seq(count, said("million", ","), rest)


@cache
def _digit() -> Rule:
    """One digit of a sequence."""
    return either(each(_UNITS), said("zero", "0"), said("oh", "0"), said("o", "0"))


@cache
def _decimal() -> Rule:
    """Number with a decimal point: two point five."""
    whole = either(each(_UNITS), said("zero", "0"), _two_digits(), _hundreds(), _thousands())
    fraction = either(Rule("repeated", (_digit(),)), _two_digits())
    return seq(whole, said("point", "."), fraction)


def _scales() -> Rule:
    return either(*(said(word, f" {word}") for word in ("million", "billion", "trillion")))


@cache
def _scaled() -> Rule:
    """2 million, 2.5 billion."""
    count = either(each(_UNITS), _two_digits(), _hundreds(), _decimal(), said("a", "1"))
    return seq(count, _scales())


@cache
def _quantity() -> Rule:
    """Any number, in digits."""
    return either(
        each(_UNITS), _two_digits(), _hundreds(), _thousands(), _millions(), _decimal(), _scaled()
    )


def _cardinals() -> Rule:
    """Numbers that are written in digits wherever they stand; not `a hundred`."""
    hundreds = seq(each(_UNITS), said("hundred", ""), _last_two())
    counted = seq(either(each(_UNITS), _two_digits(), hundreds, _decimal()), _scales())
    rest = either(put("000"), _last_three())
    few = seq(each(_UNITS), said("thousand", ""), rest)
    many = seq(either(_two_digits(), hundreds), said("thousand", ","), rest)
    as_hundreds = seq(_two_digits(), said("hundred", ""), _last_two())
    return either(
        _two_digits(), hundreds, few, many, as_hundreds, _millions(), _decimal(), counted
    )  # fmt: skip


def _ordinals() -> Rule:
    """10th to 999th."""
    with_unit = seq(each(_TENS), each(_UNIT_ORDINALS))
    two_digits = either(each(_TEEN_ORDINALS), each(_TEN_ORDINALS), with_unit)
    rest = either(_and(either(each(_UNIT_ORDINALS, before="0"), two_digits)))
    hundreds = seq(each(_UNITS), said("hundred", ""), rest)
    return either(two_digits, hundreds, seq(each(_UNITS), said("hundredth", "00th")))


def _day(ordinal: bool, ending: bool) -> Rule:
    """Day of a month: said as an ordinal or not, written with its ending or not."""
    if not ordinal:
        tens = seq(said("twenty", "2"), each(_UNITS))
        thirty = either(said("thirty", "30"), said("thirty one", "31"))
        return either(each(_UNITS), each(_TEENS), said("twenty", "20"), tens, thirty)
    cut = None if ending else -2
    units = {word: output[:cut] for word, output in _UNIT_ORDINALS.items()}
    teens = {word: output[:cut] for word, output in _TEEN_ORDINALS.items()}
    end = "th" if ending else ""
    return either(
        each(units),
        each(teens),
        seq(said("twenty", "2"), each(units)),
        said("twentieth", "20" + end),
        said("thirtieth", "30" + end),
        seq(said("thirty", "3"), said("first", units["first"])),
    )


@cache
def _year(first: tuple[str, ...], second_teens: bool) -> Rule:
    """Year said as two numbers of two digits, of which the first is given."""
    centuries = each({word: (_TEENS | {"twenty": "20"})[word] for word in first})
    tens = either(seq(each(_TENS), each(_UNITS)), each(_TENS, after="0"))
    oh = seq(either(said("oh", "0"), said("o", "0")), each(_UNITS))
    return seq(centuries, either(tens, oh, each(_TEENS)) if second_teens else either(tens, oh))


_MODERN = ("sixteen", "seventeen", "eighteen", "nineteen", "twenty")
_OLDER = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen")


def _any_year() -> Rule:
    two_thousand = seq(said("two thousand", "2"), either(put("000"), _last_three()))
    hundred = seq(each(_TEENS), said("hundred", "00"))
    return either(_year(_MODERN, True), _year(_OLDER, True), two_thousand, hundred)


def _month(names: Sequence[str]) -> Rule:
    return either(*(said(name, name.capitalize()) for name in names))


def _dates() -> Rule:
    """June 3; June 3, 2012; June 2012; 3rd of June 1984."""
    year = seq(put(", "), _any_year())
    ordinal = seq(opt(said("the", "")), put(" "), _day(ordinal=True, ending=False))
    plain = seq(put(" "), _day(ordinal=False, ending=False))
    usual = [name for name in MONTHS if name not in _VERBS]
    return either(
        seq(_month(usual), either(ordinal, plain), opt(year)),
        seq(_month(_VERBS), either(ordinal, plain), year),
        seq(_month(MONTHS), put(" "), _any_year()),
        seq(
            _day(ordinal=True, ending=True),
            said("of", " of "),
            _month(MONTHS),
            opt(seq(put(" "), _any_year())),
        ),
    )


def _verb_dates() -> Rule:
    """March 2, May 1: after words that cannot stand before a verb."""
    ordinal = seq(opt(said("the", "")), put(" "), _day(ordinal=True, ending=False))
    return seq(_month(_VERBS), ordinal)


def _clock() -> tuple[Rule, Rule]:
    """Hours, and minutes behind a colon."""
    hours = each(_UNITS | {word: _TEENS[word] for word in ("ten", "eleven", "twelve")})
    tens = {word: _TENS[word] for word in ("twenty", "thirty", "forty", "fifty")}
    minutes = either(
        each(_TEENS),
        seq(each(tens), each(_UNITS)),
        each(tens, after="0"),
        seq(either(said("oh", "0"), said("o", "0")), each(_UNITS)),
    )
    return hours, seq(put(":"), minutes)


def _times() -> Rule:
    """2:30 p.m., 7 a.m., 5 o'clock, 9:45 in the morning."""
    hours, minutes = _clock()
    halves = either(
        said("a m", " a.m."), said("p m", " p.m."), said("am", " a.m."), said("pm", " p.m.")
    )
    parts = either(
        *(
            said(f"in the {part}", f" in the {part}")
            for part in ("morning", "afternoon", "evening")
        ),
        said("at night", " at night"),
        said("tonight", " tonight"),
    )
    return either(
        seq(hours, opt(minutes), halves),
        seq(hours, said("o'clock", " o'clock")),
        seq(hours, minutes, parts),
    )


def _money() -> Rule:
    """$25.50; $2.5 million; €15; £5.20."""
    cents = _and(either(each(_UNITS, before=".0"), seq(put("."), _two_digits())))
    currencies = [
        ("$", ("dollar", "dollars"), ("cent", "cents")),
        ("€", ("euro", "euros"), ("cent", "cents")),
    ]
    amounts = [
        seq(
            put(sign),
            _quantity(),
            either(*(said(name, "") for name in names)),
            opt(seq(cents, either(*(said(name, "") for name in parts)))),
        )
        for sign, names, parts in currencies
    ]
    pounds = either(said("pound", ""), said("pounds", ""))  # alone, they may be a weight
    return either(*amounts, seq(put("£"), _quantity(), pounds, cents, said("pence", "")))


def _telephone() -> Rule:
    """Digits said one by one: 555-0123, 919-555-0123, 210."""
    digit = _digit()
    first = either(each(_UNITS), said("zero", "0"))
    pairs = either(
        *(said(f"double {w}", 2 * d) for w, d in (_UNITS | {"oh": "0", "zero": "0"}).items())
    )
    triples = either(*(said(f"triple {w}", 3 * d) for w, d in (_UNITS | {"zero": "0"}).items()))
    dash = put("-")
    pair_or_digit = either(digit, pairs, triples)
    seven = seq(digit, digit, digit, dash, digit, digit, digit, digit)
    area = seq(first, digit, digit, dash)
    hundred = seq(first, said("hundred", "00"), dash)
    return either(
        seq(area, seven),
        seq(hundred, seven),
        seq(said("one", "1-"), either(area, hundred), seven),
        seq(first, digit, Rule("repeated", (pair_or_digit,))),
        seq(either(pairs, triples), Rule("repeated", (pair_or_digit,))),
    )


def _local_telephone() -> Rule:
    """Seven digits: 555-0123."""
    digit = _digit()
    area = seq(either(each(_UNITS), said("zero", "0")), digit, digit)
    return seq(area, put("-"), digit, digit, digit, digit)


def _web() -> Rule:
    """www.example.com, joe@gmail.com."""
    anything = Rule("any")
    dot = said("dot", ".")
    ends = either(*(said(name, name) for name in _TOP_LEVEL))
    more = either(*(said(f"dot {name}", f".{name}") for name in _TOP_LEVEL))
    domain = seq(anything, dot, ends, opt(more))
    mailers = either(*(said(name, name) for name in _MAILERS))
    mail = seq(
        anything, opt(seq(dot, anything)), said("at", "@"), mailers, dot, ends, opt(more)
    )  # fmt: skip
    return either(domain, seq(either(said("www", "www"), said("w w w", "www")), dot, domain), mail)


def rules() -> Iterator[tuple[float, Rule, tuple[str, ...]]]:
    """Cost of each rule, the rule, and the words of which one must stand before, if any.

    Of two rules for the same words the cheaper one is taken. A word that is copied costs 1.
    """
    hours, minutes = _clock()
    quantity = _quantity()
    percent = either(said("percent", "%"), said("per cent", "%"))
    degrees = either(said("degrees", " degrees"), said("degree", " degree"))
    two_digit_code = seq(either(each(_UNITS), said("zero", "0")), _digit())
    decades = seq(each({word: _TEENS[word] for word in _MODERN[:4]}), each(_DECADES))
    yield 0.40, _money(), ()
    yield 0.40, _dates(), ()
    yield 0.41, _verb_dates(), _BEFORE_DATES
    yield 0.40, _times(), ()
    yield 0.41, seq(hours, minutes), _BEFORE_TIMES
    yield 0.40, seq(quantity, percent), ()
    yield 0.40, seq(said("minus", "-"), quantity, degrees), ()
    yield 0.45, _year(_MODERN, True), ()
    yield 0.44, _year(_OLDER, False), _BEFORE_YEARS
    yield 0.45, decades, ()
    yield 0.43, either(quantity, two_digit_code), _LABELS
    yield 0.46, _telephone(), ()
    yield 0.45, _local_telephone(), ()
    yield 0.40, _web(), ()
    yield 0.50, _ordinals(), ()
    yield 0.50, _cardinals(), ()
    yield 0.50, either(said("mister", "Mr."), said("missus", "Mrs.")), ()


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
