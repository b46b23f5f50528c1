"""Entries of a lexicon: a strict reader, checks, and disambiguation symbols."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import NamedTuple

from asr_hlg.errors import LexiconError
from asr_hlg.files import text_lines
from asr_hlg.fst import symbols

_ALTERNATE = re.compile(r"(?<=.)\(\d+\)$")
_DECIMAL = re.compile(r"\d*\.\d+(?:[eE][-+]?\d+)?|\d+\.\d*|\d+[eE]-\d+")
_NUMBER = re.compile(rf"{_DECIMAL.pattern}|\d+")
_OUTPUT_SYMBOL = re.compile(r"\[.*\]")
_RESERVED_WORDS = frozenset([symbols.EPS, "<s>", "</s>"])
_RESERVED_PHONES = frozenset([symbols.EPS, symbols.BLANK])


class Pronunciation(NamedTuple):
    """A word with one of its pronunciations; ``path`` and ``line`` are for error messages."""

    word: str
    phones: tuple[str, ...]
    probability: float = 1.0
    path: str | None = None
    line: int | None = None


Entry = Pronunciation | tuple[str, tuple[str, ...]] | tuple[str, tuple[str, ...], float]


def parse(path: Path, probabilities: bool) -> Iterator[Pronunciation]:
    """Read the pronunciations of ``lexicon.txt`` or, with probabilities, ``lexiconp.txt``.

    A number with a decimal point after the word is the probability under any name of the file. Of
    the four numbers after the word in dictionaries of MFA and in Kaldi's
    ``lexiconp_silprob.txt``, the first is the probability of the pronunciation; the others, of
    silence before and after the word, are not used. As in CMUdict, a line that begins with ``;;;``
    and what follows a field ``#`` are comments, and ``and(2)`` is another pronunciation of ``and``.
    """
    name = str(path)
    for number, line in text_lines(path, LexiconError):
        if line.startswith(";;;"):
            continue
        word, *fields = line.split()
        fields = [_ALTERNATE.sub("", word), *takewhile(lambda field: field != "#", fields)]
        if len(fields) > 2 and _OUTPUT_SYMBOL.fullmatch(fields[1]):
            raise LexiconError(
                f"{fields[1]} after the word is an output symbol of HTK and Julius",
                path=path,
                line=number,
                remedy="remove this column",
            )
        probability = 1.0
        numbers = _count_numbers(fields[1:-1])
        if numbers:
            probability = float(fields[1])
            del fields[1 : 1 + numbers]
        elif probabilities:
            try:
                probability = float(fields.pop(1))
            except (IndexError, ValueError):
                raise LexiconError(
                    f"expected a probability after the word {fields[0]!r}", path=path, line=number
                ) from None
        yield Pronunciation(fields[0], tuple(fields[1:]), probability, name, number)


def _count_numbers(fields: Sequence[str]) -> int:
    """How many fields after a word are probabilities: 1, 4 or none.

    One has a decimal point, since phones may be integers; of four, two at least.
    """
    first = fields[:4]
    if len(first) == 4 and all(map(_NUMBER.fullmatch, first)):
        decimals = sum(1 for field in first if _DECIMAL.fullmatch(field))
        if decimals > 1:
            return 4
    return 1 if sum(1 for _ in takewhile(_DECIMAL.fullmatch, fields)) == 1 else 0


def check(entries: Sequence[Pronunciation]) -> None:
    """Raise a LexiconError for entries from which a wrong L would be compiled."""
    if not entries:
        raise LexiconError("a lexicon needs at least one word")
    seen: dict[tuple[str, tuple[str, ...]], Pronunciation] = {}
    for entry in entries:
        word, phones, probability, _, _ = entry
        problem = None
        if not phones:
            problem = f"word {word!r} has no pronunciation"
        elif word in _RESERVED_WORDS or symbols.is_disambig(word):
            problem = f"{word!r} is a reserved symbol and cannot be a word"
        elif not 0 < probability <= 1:
            problem = f"probability {probability} of word {word!r} is not in (0, 1]"
        elif (word, phones) in seen:
            first = seen[word, phones]
            where = f", first on line {first.line}" if first.line else ""
            problem = f"{word!r} has the pronunciation '{' '.join(phones)}' twice{where}"
        if problem:
            raise LexiconError(problem, path=entry.path, line=entry.line)
        seen[word, phones] = entry
    names = {phone for entry in entries for phone in entry.phones}
    bad = {name for name in names if name in _RESERVED_PHONES or symbols.is_disambig(name)}
    for entry in entries if bad else ():
        for phone in bad.intersection(entry.phones):
            raise LexiconError(
                f"{phone!r} is a reserved symbol and cannot be a phone of {entry.word!r}",
                path=entry.path,
                line=entry.line,
            )


def disambiguate(sequences: Sequence[tuple[str, ...]]) -> list[int]:
    """Number k of the disambiguation symbol ``#k`` of each pronunciation, 0 for none.

    Kaldi's rule (``add_lex_disambig.pl``): a pronunciation gets a symbol if another word has
    the same one or one that begins with it; equal pronunciations get 1, 2, … in turn.
    """
    count = Counter(sequences)
    # In lexicographic order, a sequence that begins with s follows s directly.
    ordered = sorted(count)
    needs = {s for s, after in pairwise(ordered) if after[: len(s)] == s}
    needs.update(s for s, times in count.items() if times > 1)
    used: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for sequence in sequences:
        if sequence in needs:
            used[sequence] += 1
            numbers.append(used[sequence])
        else:
            numbers.append(0)
    return numbers
