"""English text in a form in which written and spoken texts of the same words are equal.

>>> normalise("Mr. Smith's flight leaves at 2:30 p.m.; it's $25.50!")
"mister smith's flight leaves at 2 3 0 pm it is 2 5 dollar 5 0"
>>> normalise("um mister smith's flight leaves at two thirty p m it is twenty five dollars fifty")
"mister smith's flight leaves at 2 3 0 pm it is 2 5 dollar 5 0"

The error rate of a recogniser that writes `lm` words must not depend on how a reference spells
numbers. Both texts are changed alike: numbers become digits (:mod:`asr_hlg.output.numbers`),
British spellings American (:mod:`asr_hlg.output.spelling`), contractions full forms, symbols words;
fillers, tags, case and punctuation disappear. What cannot be decided without knowing the words
that were said is decided once: `he's` is `he is`, `I'd` is `i would`, `St.` before a name is
`saint`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from asr_hlg.output.numbers import digits
from asr_hlg.output.spelling import american

FILLERS = frozenset(
    [
        "uh",
        "um",
        "mm",
        "hmm",
        "hm",
        "er",
        "erm",
        "ah",
        "eh",
        "mhm",
        "uhm",
        "huh",
        "uhuh",
        "mmhm",
        "mmhmm",
    ]
)
"""Sounds of hesitation and assent, which are left out."""

_FULL_FORMS = """
ain't|is not  can't|can not  cannot|can not  won't|will not  shan't|shall not  let's|let us
y'all|you all  ma'am|madam  'em|them  em|them  'cause|because  cos|because  'til|till  til|till
gonna|going to  wanna|want to  gotta|got to  kinda|kind of  sorta|sort of  gimme|give me
lemme|let me  dunno|do not know  y'know|you know  yknow|you know  okay|ok  alright|all right
mr|mister  mrs|missus  dr|doctor  prof|professor  vs|versus  jr|junior  sr|senior  etc|et cetera
st|saint  mt|mount  ave|avenue  blvd|boulevard  ai|a i  fl|flight level
email|e mail  emails|e mails  xray|x ray  xrays|x rays
anymore|any more  anytime|any time  backup|back up  callsign|call sign  checkout|check out
cellphone|cell phone  everyday|every day  firefox|fire fox  goodbye|good bye  healthcare|health care
lineup|line up  login|log in  offline|off line  online|on line  pickup|pick up
playlist|play list  pushback|push back  readback|read back  setup|set up
smartphone|smart phone  someday|some day  standby|stand by  streetlight|street light
streetlights|street lights  takeoff|take off  taxiway|taxi way  underway|under way
voicemail|voice mail  website|web site  websites|web sites  wifi|wi fi  worldwide|world wide
"""
_EXPANSIONS = {
    short: full.split()
    for short, full in (pair.split("|") for pair in re.split(r"\s\s+|\n", _FULL_FORMS.strip()))
}
_ENDINGS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would", "'m": "am"}
_WITH_IS = frozenset(
    ["he", "here", "how", "it", "she", "that", "there", "this", "what", "when", "where", "who"]
)

_TITLES = {
    "capt": "captain", "col": "colonel", "gen": "general", "gov": "governor", "hon": "honorable",
    "lt": "lieutenant", "rep": "representative", "rev": "reverend", "sen": "senator",
    "sgt": "sergeant", "no": "number", "nos": "numbers", "ltd": "limited", "inc": "incorporated",
    "corp": "corporation", "co": "company", "jan": "january", "feb": "february", "aug": "august",
    "sept": "september", "oct": "october", "nov": "november", "dec": "december",
}  # fmt: skip
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen", "₹": "rupees"}
_SCALES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion"}
_SYMBOLS = {
    "%": " percent ", "&": " and ", "@": " at ", "×": " times ", "=": " equals ", "°": " degrees ",
    "¢": " cents ",
}  # fmt: skip
# After a number: what abbreviations mean, and plurals, which abbreviations do not show.
_UNITS = {
    "m": "meter", "km": "kilometer", "kms": "kilometer", "cm": "centimeter", "mm": "millimeter",
    "kg": "kilogram", "kgs": "kilogram", "g": "gram", "mg": "milligram", "ml": "milliliter",
    "lb": "pound", "lbs": "pound", "oz": "ounce", "ft": "foot", "feet": "foot",
    "inches": "inch", "mi": "mile", "mph": "mile per hour", "kmh": "kilometer per hour",
    "kph": "kilometer per hour", "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz",
    "ghz": "gigahertz", "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte",
    "min": "minute", "mins": "minute", "hr": "hour", "hrs": "hour", "sec": "seconds",
    "secs": "seconds", "half": "2th", "halves": "2th", "quarter": "4th", "quarters": "4th",
}  # fmt: skip
_SINGULARS = [
    "meters",
    "kilometers",
    "centimeters",
    "millimeters",
    "kilograms",
    "grams",
    "milligrams",
    "milliliters",
    "pounds",
    "ounces",
    "miles",
    "kilobytes",
    "megabytes",
    "gigabytes",
    "terabytes",
    "minutes",
    "hours",
    "dollars",
    "cents",
    "euros",
    "rupees",
    "degrees",
]
_UNITS |= {plural: plural[:-1] for plural in _SINGULARS}

_TAG = re.compile(r"\[[^\[\]]*\]|<[^<>]*>|[♪♫]")
_ADDRESS = re.compile(r"\b[a-z][\w.@-]*\.(?:com|org|net|edu|gov|uk|io|ai|de|fr)\b")
_DOTTED = re.compile(r"\b([^\W\d_])\.\s?(?=[^\W\d_]\b\.?)")  # U.S., p. m.
_MONEY = re.compile(
    r"([$£€¥₹])\s?(\d+)(?:\.(\d\d)(?!\d)|((?:\.\d+)?)(?:\s?-?\s?(hundred|thousand|million|billion|"
    r"trillion|k|mn|m|bn|b)\b)?)"
)
_FRACTION = re.compile(r"(?<![\d/])(\d)/(\d|10)(?![\d/])")
_STREET = re.compile(r"(?<=\w )st\.?(?=\s*(?:[,;!?)]|$))")
_TITLE = re.compile(rf"\b({'|'.join(_TITLES)})\.(?=\s)")
_DATE = [
    (re.compile(rf"\b({'|'.join(MONTHS)}) (?:the )?((?:\d )?\d)th\b"), r"\1 \2"),
    (re.compile(rf"(?:\bthe )?\b((?:\d )?\d)th (?:of )?({'|'.join(MONTHS)})\b"), r"\1 \2"),
]
_CENTS = re.compile(r"((?:\d )+(?:dollar|pound|euro)) (?:and )?(\d(?: \d)?) (?:cent|pence)\b")
_LETTERS = re.compile(r"(?<![\w'])(?:[a-z] )+[a-z](?![\w'])")


def normalise(text: str) -> str:
    """English words as they are compared for error rates, with one blank between them.

    A second call gives the same text. Words keep their order, and no word depends on one that is
    not beside it, so the same function is applied to references and hypotheses.
    """
    previous = None
    while text != previous:  # initials can make a word that has a longer form, such as m r
        previous, text = text, _normalise_once(text)
    return text


def _normalise_once(text: str) -> str:
    """One round of all steps."""
    tokens = digits(list(_words(_replace_symbols(text))))
    joined = " ".join(_after_numbers(tokens))
    joined = _CENTS.sub(r"\1 \2", joined)
    for pattern, replacement in _DATE:
        joined = pattern.sub(replacement, joined)
    return _LETTERS.sub(_join_letters, joined)


def _replace_symbols(text: str) -> str:
    """Lower-case words, whole numbers, ordinals and apostrophes, with words for symbols."""
    for fraction, digits_of_it in (("½", " 1/2"), ("¼", " 1/4"), ("¾", " 3/4")):
        text = text.replace(fraction, digits_of_it)
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub("[’‘`´ʼ]", "'", text)
    text = _TAG.sub(" ", text)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = _MONEY.sub(_money, text)
    text = _STREET.sub("street", text)
    text = _TITLE.sub(lambda match: _TITLES[match[1]], text)
    text = _ADDRESS.sub(lambda match: match[0].replace(".", " dot "), text)
    text = _DOTTED.sub(r"\1 ", text)
    text = re.sub(r"\bkm/h\b", "kmh", text)
    text = re.sub(r"(?<![\w:])(\d{1,2}):00(?![\d:])", r"\1", text)
    text = re.sub(r"\b(\d\d?)[:.](\d\d)(?=\s?[ap]\.?\s?m\b)", r"\1 \2", text)
    text = re.sub(r"(?<=\d) 1/2\b", " and a half", text)
    text = _FRACTION.sub(_fraction, text)
    text = re.sub(r"(?<!\S)[-−](?=\d)", "minus ", text)
    text = re.sub(r"(?<=\d)\s*\+\s*(?=\d)", " plus ", text)
    text = re.sub(r"#(?=\d)", "number ", text)
    text = re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)
    text = re.sub(r"(?<=\d)\.(?=\d)", " point ", text)
    text = re.sub(r"\bper cent\b", "percent", text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1th", text)
    return "".join(" " if unicodedata.category(c)[0] in "PSCZ" and c != "'" else c for c in text)


def _money(match: re.Match[str]) -> str:
    """Amount with its currency in words behind it."""
    sign, whole, cents, fraction, scale = match.groups()
    scale = f" {_SCALES.get(scale, scale)}" if scale else ""
    rest = f" {int(cents)} cents" if cents and cents != "00" else ""
    return f" {whole}{fraction or ''}{scale} {_CURRENCIES[sign]}{rest} "


def _fraction(match: re.Match[str]) -> str:
    """A proper fraction as it is said: `3 4th`; anything else may be a date."""
    part, whole = match.groups()
    return f"{part} {whole}th" if int(part) < int(whole) else match[0]


def _words(text: str) -> Iterator[str]:
    """Words of a text in full form and American spelling, without fillers."""
    for part in text.split():
        # Charlie35 and FL210 are two words; 21th is an ordinal.
        for word in re.findall(r"\d+th\b|\d+(?=\D|$)|[^\d]+", part):
            word = word if word in _EXPANSIONS else word.strip("'")
            if word and word not in FILLERS:
                yield from _full_form(word)


def _full_form(word: str) -> list[str]:
    """A word without contraction, as one or more words."""
    if word in _EXPANSIONS:
        return _EXPANSIONS[word]
    for ending, full in _ENDINGS.items():
        if word.endswith(ending) and len(word) > len(ending):
            return [*_full_form(word.removesuffix(ending)), full]
    stem = word.removesuffix("'s")
    if stem != word and stem in _WITH_IS:
        return [stem, "is"]
    return [american(word)]


def _after_numbers(tokens: list[str]) -> Iterator[str]:
    """Tokens with units in one form, and hours without `o'clock`."""
    after_digit = False
    for token in tokens:
        if after_digit and token == "o'clock":
            continue
        if after_digit:
            token = _UNITS.get(token, token)
        yield token
        after_digit = token[0].isdigit() and token[-1].isdigit()


def _join_letters(match: re.Match[str]) -> str:
    """Initials as one word, `p m` as `pm`; `a`, `i` and `o` alone may be words."""
    letters = match[0].split()
    return match[0] if set(letters) <= set("aio") else "".join(letters)
