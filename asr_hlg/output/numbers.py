"""English number words as digits, so that `two hundred and five`, `205` and `two oh five` agree.

How a number was said cannot be told from digits: `902` is `nine hundred two` or `nine oh two`. So
every number becomes its digits, one a token, whatever it was written or said like.

>>> digits("on the twenty first of two hundred and five".split())
['on', 'the', '2', '1th', 'of', '2', '0', '5']
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = [
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
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = (
    {word: str(value) for value, word in enumerate(UNITS + TEENS)}
    | {word: str(10 * value) for value, word in enumerate(TENS, start=2)}
    | {"niner": "9", "fourty": "40"}
)
_IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ZEROS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_OH = ("oh", "o")
_ORDINAL = "th"
_MANY_DIGITS = 3  # after so many, a last `oh` is a zero and not an exclamation


def ordinal_of(word: str) -> str:
    """Ordinal of a cardinal's last word: `twelfth` of `twelve`."""
    regular = word[:-1] + "ieth" if word.endswith("y") else word + "th"
    return _IRREGULAR.get(word, regular)


_ORDINALS = {ordinal_of(word): word for word in (*_SMALL, *_ZEROS)}
# Parts of a whole, as in `two thirds`; `seconds` are a time.
_ORDINALS |= {word + "s": base for word, base in list(_ORDINALS.items()) if word != "second"}
_DECADES = {word[:-1] + "ies": word for word in TENS}
_STARTS = {*_SMALL, *(o for o, base in _ORDINALS.items() if base in _SMALL), *_DECADES}


@dataclass(frozen=True)
class _Number:
    """A number's digits, its ending (`th`, `s` or none), and the token after its last one."""

    digits: str
    ending: str
    stop: int


def digits(tokens: Sequence[str]) -> list[str]:
    """Replace the numbers of a text by their digits, one a token.

    Ordinals have `th` after their last digit, plurals of tens (`nineties`) are followed by `s`.
    `and` inside a number disappears, `oh` inside a number is 0, and `point` and `decimal` between
    numbers are `point`. The result of a second call is the same.

    Parameters
    ----------
    tokens : sequence of str
        Lower-case words, whole numbers (`205`), and ordinals (`5th`).
    """
    result: list[str] = []
    position = run = 0  # digits since the last word that is no number
    while position < len(tokens):
        number = _number(tokens, position)
        if number is not None:
            result += _spread(number)
            run += len(number.digits)
            position = number.stop
            continue
        token = tokens[position]
        if run and token in _OH and (run >= _MANY_DIGITS or _number_after_ohs(tokens, position)):
            result.append("0")
            run += 1
        else:
            is_point = token in ("point", "decimal") and _is_number(tokens, position + 1)
            result.append("point" if run and is_point else token)
            run = 0
        position += 1
    return result


def _spread(number: _Number) -> list[str]:
    """Tokens of a number."""
    tokens = list(number.digits)
    if number.ending == "s":
        return [*tokens, "s"]
    tokens[-1] += number.ending
    return tokens


def _number_after_ohs(tokens: Sequence[str], position: int) -> bool:
    while position < len(tokens) and tokens[position] in _OH:
        position += 1
    return _is_number(tokens, position)


def _is_number(tokens: Sequence[str], position: int) -> bool:
    """Whether a number begins at a token."""
    if position >= len(tokens):
        return False
    token = tokens[position]
    return token in _STARTS or _is_digits(token.removesuffix(_ORDINAL))


def _is_digit(tokens: Sequence[str], position: int) -> bool:
    """Whether a token is one digit."""
    token = tokens[position] if position < len(tokens) else ""
    return token in UNITS or (len(token) == 1 and _is_digits(token))


def _is_digits(token: str) -> bool:
    return token.isascii() and token.isdigit()


def _number(tokens: Sequence[str], position: int) -> _Number | None:
    """The number that begins at a token, if one does.

    A scale (`hundred`, `million`) puts zeros after what stands before it, and a smaller number
    after the scale takes the place of the last of them.
    """
    after_article = position + 1 < len(tokens) and tokens[position + 1] in _ZEROS
    if tokens[position] == "a" and after_article:
        number = _Number("1", "", position + 1)
    else:
        small = _small(tokens, position)
        if small is None:
            return None
        number = small
    return _scaled(tokens, number, max(_ZEROS.values()) + 1)


def _scaled(tokens: Sequence[str], number: _Number, limit: int) -> _Number:
    """A number with the scales after it, which have fewer zeros than ``limit``."""
    while not number.ending and number.stop < len(tokens):
        word = tokens[number.stop]
        scale = _ORDINALS.get(word, word)
        if scale not in _ZEROS or _ZEROS[scale] >= limit:
            break
        zeros = _ZEROS[scale]
        ending = _ORDINAL if word in _ORDINALS else ""
        number = _Number(number.digits + "0" * zeros, ending, number.stop + 1)
        if ending:
            break
        rest = _remainder(tokens, number.stop, zeros)
        if rest is not None:
            filled = number.digits[:-zeros] + rest.digits.zfill(zeros)
            number = _Number(filled, rest.ending, rest.stop)
    return number


def _remainder(tokens: Sequence[str], position: int, zeros: int) -> _Number | None:
    """The number after a scale, if it is smaller than the scale and not itself scaled like it."""
    after_and = position + 1 < len(tokens) and tokens[position] == "and"
    position += after_and
    may_be_spelled = zeros == _ZEROS["hundred"] and not after_and
    if may_be_spelled and all(_is_digit(tokens, n) for n in (position, position + 1)):
        return None  # digits said one by one: eight hundred, five five five
    small = _small(tokens, position)
    if small is None or small.ending == "s" or small.digits.startswith("0"):
        return None
    number = _scaled(tokens, small, zeros)
    if len(number.digits) > zeros:
        return None
    following = tokens[number.stop] if number.stop < len(tokens) else ""
    # Hundreds may be followed by a larger scale: two hundred thousand.
    next_zeros = _ZEROS.get(_ORDINALS.get(following, following), 0)
    belongs_to_next = next_zeros == zeros or (next_zeros > zeros and zeros > _ZEROS["hundred"])
    return None if belongs_to_next and not number.ending else number


def _small(tokens: Sequence[str], position: int) -> _Number | None:
    """A number below 100 in words, or one in digits."""
    if not _is_number(tokens, position):
        return None
    token = tokens[position]
    if _is_digits(token):
        return _Number(token, "", position + 1)
    if _is_digits(token.removesuffix(_ORDINAL)):
        return _Number(token.removesuffix(_ORDINAL), _ORDINAL, position + 1)
    if token in _DECADES:
        return _Number(_SMALL[_DECADES[token]], "s", position + 1)
    if token in _ORDINALS:
        return _Number(_SMALL[_ORDINALS[token]], _ORDINAL, position + 1)
    if token in TENS and position + 1 < len(tokens):
        unit = tokens[position + 1]
        base = _ORDINALS.get(unit, unit)
        if base in UNITS[1:]:
            ending = _ORDINAL if unit in _ORDINALS else ""
            return _Number(_SMALL[token][0] + _SMALL[base], ending, position + 2)
    return _Number(_SMALL[token], "", position + 1)
