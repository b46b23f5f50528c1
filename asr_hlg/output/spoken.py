"""Written text as it is spoken: the words that may be said for every token of a line.

>>> readings("Dr. Smith paid $25.")
[('Dr.', [('doctor',), ('drive',)]), ('Smith', [('smith',)]), ('paid', [('paid',)]),
 ('$25.', [('twenty', 'five', 'dollars'), ('twenty', 'five')])]

How a number or an abbreviation was read cannot be told from the text, so that all usual ways are
given, the most usual first; alignment chooses the one that the sound contains. The language is
English; in other languages all but numbers, symbols and abbreviations is as here.
"""

from __future__ import annotations

import re
import unicodedata

from asr_hlg.output.number_words import Reading, cardinal, read_number
from asr_hlg.output.numbers import ordinal_of

_MAX_READINGS = 12

_ABBREVIATIONS = """
mr.|mister  mrs.|missus|misses  ms.|miz|miss  dr.|doctor|drive  st.|saint|street  prof.|professor
messrs.|messieurs  capt.|captain  col.|colonel  gen.|general  gov.|governor  hon.|honorable
lt.|lieutenant  maj.|major  rep.|representative  rev.|reverend  sen.|senator  sgt.|sergeant
no.|number|no  nos.|numbers  vol.|volume  vols.|volumes  ch.|chapter  fig.|figure  p.|page|p
pp.|pages  ed.|edition|editor  etc.|et cetera|and so on  &c.|et cetera  e.g.|for example|e g
i.e.|that is|i e  viz.|namely|viz  cf.|compare|c f  vs.|versus  v.|versus|v  jr.|junior  sr.|senior
esq.|esquire  ltd.|limited  inc.|incorporated  corp.|corporation  co.|company  bros.|brothers
dept.|department  mt.|mount  ft.|fort|feet  ave.|avenue  blvd.|boulevard  rd.|road  jan.|january
feb.|february  mar.|march  apr.|april  jun.|june  jul.|july  aug.|august  sep.|september
sept.|september  oct.|october  nov.|november  dec.|december  mon.|monday  tue.|tuesday
tues.|tuesday  wed.|wednesday  thu.|thursday  thurs.|thursday  fri.|friday  sat.|saturday
sun.|sunday  a.m.|a m  p.m.|p m  a.d.|a d  b.c.|b c  o.k.|o k|okay  ok|o k|okay  mph|miles per hour
&|and  +|plus|and  =|equals|is  %|percent  @|at  #|number|hash  °|degrees  §|section  ×|times|by
km|kilometers|kilometer|k m  cm|centimeters|centimeter  mm|millimeters|millimeter
kg|kilograms|kilogram|kilos  mg|milligrams|milligram  lb|pounds|pound  lbs|pounds  oz|ounces|ounce
hz|hertz  khz|kilohertz  mhz|megahertz  ghz|gigahertz  km/h|kilometers per hour|kilometers an hour
"""
_READINGS: dict[str, list[Reading]] = {
    short: [tuple(reading.split()) for reading in long]
    for short, *long in (pair.split("|") for pair in re.split(r"\s\s+|\n", _ABBREVIATIONS.strip()))
}
_WITHOUT_STOP = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "messrs",
        "etc",
        "vs",
        "jr",
        "sr",
        "esq",
        "ltd",
        "vol",
        "capt",
        "lt",
        "sgt",
    ]
)
_NOUNS = frozenset(["sun", "sat", "mar", "fig", "gen", "rep", "mon", "col", "ed", "p", "v"])
_SYMBOLS = "&+=%@#°§×"
_SCALES = ("hundred", "thousand", "million", "billion", "trillion")
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros"}
_ROMAN = re.compile(r"(?=[IVXLC])(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_DOTTED = re.compile(r"(?:[^\W\d_]\.){2,}")
_NUMBER_AND_UNIT = re.compile(r"([$£€#]?\d[\d,.:/]*)([^\W\d_]+|°[CF]?)")
_INSIDE = "'"  # of words
_AROUND_NUMBERS = "$£€%°#§½¼¾⅓⅔'-−"


def readings(line: str) -> list[tuple[str, list[Reading]]]:
    """Tokens of a line, which blanks separate, each with the ways in which it may be said.

    A token of punctuation alone, such as a dash, becomes the end of the token before it, or the
    begin of the first one. A line of punctuation alone has no tokens.
    """
    tokens: list[tuple[str, list[Reading]]] = []
    waiting = ""
    is_mixed = line.upper() != line
    pieces = line.split()
    for number, token in enumerate(pieces):
        after = pieces[number + 1] if number + 1 < len(pieces) else ""
        before = pieces[number - 1] if number else ""
        found = _token(token, before, after, is_mixed)
        if found:
            tokens.append((waiting + token, found[:_MAX_READINGS]))
            waiting = ""
        elif tokens:
            tokens[-1] = (f"{tokens[-1][0]} {token}", tokens[-1][1])
        else:
            waiting += token + " "
    return tokens


def spoken(line: str) -> str:
    """The most usual words of a line, separated by blanks."""
    return " ".join(word for _, ways in readings(line) for word in ways[0])


def _token(token: str, before: str, after: str, is_mixed: bool) -> list[Reading]:
    """Ways to say a token; none for punctuation."""
    text = unicodedata.normalize("NFC", re.sub("[’‘`´ʼ]", "'", token))
    if re.fullmatch(r"\[[^\[\]]*\]|<[^<>]*>|[♪♫]+", text):  # [music], <noise>
        return []
    short = _abbreviated(text)
    if short:
        return _abbreviation(short, text, after)
    core = _stripped(text, keep=_AROUND_NUMBERS)
    if any(character.isdigit() for character in core) or re.search("[½¼¾⅓⅔]", core):
        return _number(_stripped(text, keep=_AROUND_NUMBERS).rstrip("-−"), after)
    core = _stripped(core)
    if core.casefold() in _SCALES and before[:1] in _CURRENCIES:
        return [(core.casefold(), _CURRENCIES[before[0]]), (core.casefold(),)]
    if _DOTTED.fullmatch(core + "."):
        return [tuple(core.casefold().replace(".", " ").split())]
    return _words(core, is_mixed)


def _abbreviated(text: str) -> str:
    """The key of ``_READINGS`` that a token is, or an empty text."""
    for core in (text, _stripped(text, keep="." + _SYMBOLS), _stripped(text, keep=_SYMBOLS)):
        known = core.casefold()
        if known in _READINGS:
            return known
        if known + "." in _READINGS and known in _WITHOUT_STOP:
            return known + "."
    return ""


def _abbreviation(short: str, text: str, after: str) -> list[Reading]:
    """Ways to say an abbreviation; before a name, a saint is no street."""
    ways = _READINGS[short]
    if short in ("st.", "dr.", "ft.") and not after[:1].isupper():
        ways = ways[::-1]
    plain = re.sub(r"[^\w]", "", short)
    if short.count(".") == 1 and (plain,) not in ways:  # the end of a sentence
        return [(plain,), *ways] if text[0].islower() and plain in _NOUNS else [*ways, (plain,)]
    return ways


def _number(token: str, after: str) -> list[Reading]:
    """Ways to say a token with digits."""
    ways = read_number(token.strip("'")) or read_number(token)
    if token[0] in _CURRENCIES and after.rstrip(".,;:!?").casefold() in _SCALES:
        return read_number(token[1:]) or ways  # 5 million dollars
    scale = token.casefold().rstrip(".,;:!?")
    if ways:
        return ways
    match = _NUMBER_AND_UNIT.fullmatch(token)
    if match:
        numbers = read_number(match[1])[:4]
        unit = match[2].casefold()
        units = _READINGS.get(unit) or _READINGS.get(unit + ".") or [tuple(unit)]
        units = [*units, *([(unit,)] if len(unit) > 2 else [])]
        if unit[0] == "°":
            units = [
                ("degrees",),
                ("degrees", {"c": "celsius", "f": "fahrenheit"}.get(unit[-1], "")),
            ]
        return [(*n, *(w for w in u if w)) for n in numbers for u in units if n]
    parts = re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)?", scale)
    ways = [()]
    for part in parts:
        some = read_number(part)[:3] if part[0].isdigit() else [(part,), tuple(part)][: len(part)]
        ways = [(*way, *more) for way in ways for more in some][:_MAX_READINGS]
    return [way for way in ways if way]


def _words(core: str, is_mixed: bool) -> list[Reading]:
    """Ways to say a token of letters, which may be a compound, initials or a Roman number."""
    pattern = rf"[^\W_]+(?:[{_INSIDE}][^\W_]+)*{_INSIDE}?"
    parts = re.findall(pattern, core)
    words = tuple(part.casefold() for part in parts)
    if not words:
        return []
    ways = [words]
    if len(parts) > 1 and "-" in core:
        ways.append(("".join(words),))
    if len(parts) == 1 and words[0].endswith("'"):
        ways = [(words[0].rstrip("'"),)]
    if is_mixed and len(parts) == 1 and core.isupper() and 2 <= len(core) <= 6:
        ways.append(tuple(core.casefold()))
        if _ROMAN.fullmatch(core):
            value = _roman(core)
            *first, last = cardinal(value)
            ordinal = (*first, ordinal_of(last))
            ways = [(*first, last), ordinal, ("the", *ordinal), *ways]
    return ways


def _roman(text: str) -> int:
    """Value of a Roman number."""
    values = [_ROMAN_VALUES[character] for character in text]
    return sum(
        -value if any(later > value for later in values[k + 1 : k + 2]) else value
        for k, value in enumerate(values)
    )


def _stripped(text: str, keep: str = "") -> str:
    """Text without the punctuation and symbols at its ends, apart from some."""

    def is_outer(character: str) -> bool:
        return unicodedata.category(character)[0] in "PSCZ" and character not in keep

    begin, end = 0, len(text)
    while begin < end and is_outer(text[begin]):
        begin += 1
    while end > begin and is_outer(text[end - 1]):
        end -= 1
    return text[begin:end]
