"""Regular expressions over words with what is written for each, for inverse text normalisation.

>>> seq(said("twenty", "2"), each({"one": "1", "two": "2"}))      # twenty one: 21, twenty two: 22
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


def said(words: str, output: str) -> Rule:
    """One or more words, of which the first has the output and the others have none."""
    first, *others = words.split()
    return seq(Rule("word", (), first, output), *(Rule("word", (), word, "") for word in others))


def put(output: str) -> Rule:
    """Output without a word."""
    return Rule("word", (), "", output)


def seq(*parts: Rule) -> Rule:
    """Parts after one another."""
    return Rule("sequence", parts) if len(parts) != 1 else parts[0]


def either(*parts: Rule) -> Rule:
    """One of the parts."""
    return Rule("choice", parts) if len(parts) != 1 else parts[0]


def opt(part: Rule) -> Rule:
    """The part, or nothing."""
    return either(part, put(""))


def each(pairs: dict[str, str], before: str = "", after: str = "") -> Rule:
    """One of the words, each with its output between ``before`` and ``after``."""
    return either(*(said(word, before + output + after) for word, output in pairs.items()))
