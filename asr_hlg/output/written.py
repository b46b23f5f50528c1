"""Written text: words with the capitals and punctuation of another transcript, numbers in digits.

>>> spoken = [Word(text, n, n + 1, 1.0) for n, text in enumerate("it cost five dollars".split())]
>>> [(word.text, word.start, word.end) for word in written(spoken, "It costs five dollars.")]
[('It', 0, 1), ('cost', 1, 2), ('$5.', 2, 4)]

The words are those that were chosen; the other transcript, Whisper's, only shows how they are
written. Where there is none, capitals and punctuation are not invented, and only numbers, dates and
the like are changed (:mod:`asr_hlg.output.itn`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import kaldialign

from asr_hlg.output.itn import rewrites
from asr_hlg.output.text import normalise
from asr_hlg.output.transcript import Word

_GAP = ""
_BEFORE = re.compile(r"^[\"'“‘«(\[¿¡]+")
_AFTER = re.compile(r"[.,;:?!…\"'”’»)\]–—-]+$")
_HYPHEN = re.compile(r"(?<=\w)([-‐‑–—]+)(?=\w)")
_CLAUSE_END = re.compile(r"[.,;:?!…–—]")
_SENTENCE_END = re.compile(r"[.?!…]")
_FIRST_PERSON = re.compile(r"i('\w+)?")
# How lexicons spell what is written as an abbreviation.
_SPELLED = {"mister": "mr", "missus": "mrs", "doctor": "dr", "saint": "st", "versus": "vs"}
_GROUPS = ("thousand", "million", "billion", "hundred")  # a comma after them stands in a number
_NO_NAMES = """
    a an the my your his her its our their this that these those some any no every each you he
    she we they it who which what and or but nor so if as because than when while where how
    why of in on at to by for from with without into onto upon over under about between
    through during against before after until since is are was were be been being has have had
    do does did would could should might must not there here then now also only even just
"""
"""Words that have a capital only at the start of a sentence."""


@dataclass(frozen=True)
class _Form:
    """Form of one word: what is written before it, itself, after it, and instead of a blank."""

    text: str
    before: str = ""
    after: str = ""
    hyphen: str = ""


def written(words: Sequence[Word], model: str = "") -> list[Word]:
    """Words as they are written: one for every part between two blanks.

    Parameters
    ----------
    words : sequence of Word
        Lower-case words of one piece of a recording.
    model : str
        A transcript of the same sound with capitals and punctuation; its words may differ.

    Returns
    -------
    list of Word
        Each from the start of the first word that it stands for to the end of the last one, with
        the least of their confidences.
    """
    forms = _forms([word.text for word in words], model)
    result: list[Word] = []
    hyphen = ""
    for start, stop, text in _parts([word.text for word in words], forms):
        group = words[start:stop]
        end, confidence = group[-1].end, min(word.confidence for word in group)
        if hyphen:
            before = result.pop()
            text, confidence = before.text + hyphen + text, min(confidence, before.confidence)
            result.append(Word(text, before.start, end, confidence))
        else:
            result.append(Word(text, group[0].start, end, confidence))
        hyphen = forms[stop - 1].hyphen
    return result


def joined(pieces: Iterable[Sequence[Word]]) -> list[Word]:
    """Written words of the pieces of a recording, in their order.

    A piece begins with a capital, whatever was before it. Where the piece before does not end a
    sentence, the capital is taken back from words that are no names.
    """
    result: list[Word] = []
    for first, *others in filter(None, pieces):
        goes_on = bool(result) and not _SENTENCE_END.search(result[-1].text)
        if goes_on and _AFTER.sub("", first.text).lower() in _NO_NAMES.split():
            first = replace(first, text=first.text.lower())
        result += [first, *others]
    return result


def _parts(words: Sequence[str], forms: Sequence[_Form]) -> Iterator[tuple[int, int, str]]:
    """Rewritten and other words with their punctuation, as (start, stop, text)."""
    position = 0
    for clause_start, clause_stop in _clauses(words, forms):
        for found in rewrites(words[clause_start:clause_stop]):
            start, stop = clause_start + found.start, clause_start + found.stop
            yield from _single(forms, position, start)
            after = forms[stop - 1].after
            if found.text.endswith(".") and after.startswith("."):
                after = after[1:]
            yield start, stop, forms[start].before + found.text + after
            position = stop
    yield from _single(forms, position, len(words))


def _single(forms: Sequence[_Form], start: int, stop: int) -> Iterator[tuple[int, int, str]]:
    for n in range(start, stop):
        yield n, n + 1, forms[n].before + forms[n].text + forms[n].after


def _clauses(words: Sequence[str], forms: Sequence[_Form]) -> Iterator[tuple[int, int]]:
    """First words of clauses and the words after their last ones; no number crosses their ends."""
    start = 0
    for position, form in enumerate(forms, start=1):
        is_end = _CLAUSE_END.search(form.after) or form.hyphen in ("–", "—")
        in_number = form.after == "," and words[position - 1] in _GROUPS
        in_title = form.after == "." and words[position - 1] in _SPELLED
        if position == len(forms) or (is_end and not in_number and not in_title):
            yield start, position
            start = position


def _forms(words: Sequence[str], model: str) -> list[_Form]:
    """Forms of words after a written text, with whose words they are aligned."""
    units = list(_units(model))
    forms = [_Form(word) for word in words]
    if not units:
        return forms
    keys = [_key(unit.text) for unit in units]
    pairs = kaldialign.align(keys, [_key(word) for word in words], _GAP)
    for unit_range, word_range in _blocks(pairs):
        _copy_forms(units, unit_range, forms, word_range)
    if forms and units[0].text[:1].isupper():
        forms[0] = replace(forms[0], text=forms[0].text[:1].upper() + forms[0].text[1:])
    return [
        replace(form, text=form.text.capitalize()) if _FIRST_PERSON.fullmatch(form.text) else form
        for form in forms
    ]


def _blocks(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[range, range]]:
    """Indices of units and words that belong together: pairs of equal ones, and what is between."""
    unit = word = unit_start = word_start = 0
    for left, right in pairs:
        if left == right:
            if unit > unit_start or word > word_start:
                yield range(unit_start, unit), range(word_start, word)
            yield range(unit, unit + 1), range(word, word + 1)
            unit_start, word_start = unit + 1, word + 1
        unit += left != _GAP
        word += right != _GAP
    if unit > unit_start or word > word_start:
        yield range(unit_start, unit), range(word_start, word)


def _copy_forms(
    units: Sequence[_Form], unit_range: range, forms: list[_Form], word_range: range
) -> None:
    """Give the words of a block the forms of its units.

    Blocks of equal lengths are paired one by one. Otherwise, what is before the first unit and
    after the last one is kept, with the capital of a sentence's start.
    """
    if not unit_range:
        return
    if not word_range:
        _keep_sentence_end(units, unit_range, forms, word_range.start)
        return
    if len(unit_range) == len(word_range):
        for u, w in zip(unit_range, word_range, strict=True):
            forms[w] = _like(forms[w].text, units[u])
        if unit_range[-1] + 1 == len(units) or word_range[-1] + 1 == len(forms):
            forms[word_range[-1]] = replace(forms[word_range[-1]], hyphen="")
        return
    first, last = units[unit_range[0]], units[unit_range[-1]]
    head, tail = word_range[0], word_range[-1]
    opening = _like(forms[head].text, first)
    forms[head] = replace(forms[head], text=opening.text, before=first.before)
    forms[tail] = replace(forms[tail], after=last.after)


def _keep_sentence_end(
    units: Sequence[_Form], unit_range: range, forms: list[_Form], position: int
) -> None:
    """Keep the end of a sentence whose last words were not chosen."""
    ends = [units[u].after for u in unit_range if _SENTENCE_END.search(units[u].after)]
    if ends and position > 0 and not _SENTENCE_END.search(forms[position - 1].after):
        forms[position - 1] = replace(forms[position - 1], after=ends[-1], hyphen="")
    elif position > 0:
        forms[position - 1] = replace(forms[position - 1], hyphen="")


def _like(word: str, unit: _Form) -> _Form:
    """Word in the form of a unit, which is the same word or one in its place."""
    if _key(unit.text) == _key(word):
        return unit
    text = word.capitalize() if unit.text[:1].isupper() else word
    return replace(unit, text=text)


def _units(model: str) -> Iterator[_Form]:
    """Words of a written text with the punctuation around them, parted at hyphens."""
    for field in model.split():
        pieces = _HYPHEN.split(field)
        for text, hyphen in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
            before = _BEFORE.match(text)
            core = text[before.end() :] if before else text
            after = _AFTER.search(core)
            core = core[: after.start()] if after else core
            if normalise(core):
                yield _Form(core, before[0] if before else "", after[0] if after else "", hyphen)


def _key(word: str) -> str:
    """Form in which a written and a spoken word are compared."""
    plain = normalise(word).replace(" ", "")
    return _SPELLED.get(plain, plain)
