"""Grapheme-to-phoneme conversion: guessed pronunciations for words that are not in a lexicon.

>>> lexicon, guesses = g2p.complete(lexicon, ["xylophone", "1984"])
>>> print(guesses.report())
guessed  xylophone  Z AY L AH F OW N
left out 1984       '1' is no letter of the English alphabet
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon.g2p_cache import G2PCache
from asr_hlg.lexicon.g2p_network import MAX_SYMBOLS
from asr_hlg.lexicon.lexicon import Lexicon
from asr_hlg.lexicon.phones import IPA_TO_ARPABET, LETTERS, NEAREST

_SHORTEST = 6  # letters of a spelling that is divided if need be

OnProgress = Callable[[int], None]
"""Called with the number of words that have been done since the last call."""


class GraphemeToPhoneme(Protocol):
    """Model that converts a spelling to phones."""

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Phones of a word; a `LexiconError` with the reason if there are none."""
        ...


@runtime_checkable
class BatchG2P(GraphemeToPhoneme, Protocol):
    """Model that converts many spellings at a time, in less time than one by one."""

    def pronounce_all(
        self, words: Sequence[str], on_progress: OnProgress = lambda _: None
    ) -> list[tuple[str, ...] | LexiconError]:
        """Phones of every word, or the reason why it has none."""
        ...


class HamaG2P:
    """The neural grapheme-to-phoneme model of the package hama, in ARPAbet phones.

    A word takes less than a millisecond when there are many. Results are kept on disk, see
    :class:`asr_hlg.lexicon.g2p_cache.G2PCache`; the network is loaded with the first word that is
    not there.
    """

    def __init__(self) -> None:
        self._cache = G2PCache()

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Phones of an English word.

        Case, accents and apostrophes make no difference; the parts of a word between hyphens and
        full stops are pronounced separately, single letters by their names.

        Raises
        ------
        LexiconError
            If a letter is not one of the 26, if the model returns a tone, as it does for words
            that resemble Chinese ones, or if it returns no phones or no end.
        """
        (phones,) = self.pronounce_all([word])
        if isinstance(phones, LexiconError):
            raise phones
        return phones

    def pronounce_all(
        self, words: Sequence[str], on_progress: OnProgress = lambda _: None
    ) -> list[tuple[str, ...] | LexiconError]:
        """Phones of every word, or the error that :meth:`pronounce` raises for it."""
        parts: list[list[str] | LexiconError] = []
        for word in words:
            try:
                parts.append(_parts(word))
            except LexiconError as error:
                parts.append(error)
        spellings = dict.fromkeys(part for p in parts if isinstance(p, list) for part in p)
        others = [spelling for spelling in spellings if spelling not in LETTERS]
        on_progress(len(spellings) - len(others))
        ipa = self._transcribe(others, on_progress)
        return [
            p if isinstance(p, LexiconError) else _phones_of_word(word, p, ipa)
            for word, p in zip(words, parts, strict=True)
        ]

    def _transcribe(
        self, spellings: Sequence[str], on_progress: OnProgress = lambda _: None
    ) -> dict[str, Sequence[str]]:
        """IPA symbols of spellings, without those spellings for which the network does not end.

        It does not for some long ones, such as ``cholangiocarcinoma``, which are transcribed by
        halves.
        """
        found = self._cache.transcribe(spellings, on_progress)
        ipa = {spelling: found[spelling] for spelling in spellings if _ends(found[spelling])}
        halves = {
            spelling: (spelling[: len(spelling) // 2], spelling[len(spelling) // 2 :])
            for spelling in spellings
            if spelling not in ipa and len(spelling) >= _SHORTEST
        }
        if halves:
            parts = self._transcribe(list(dict.fromkeys(chain.from_iterable(halves.values()))))
            for spelling, (first, second) in halves.items():
                if first in parts and second in parts:
                    ipa[spelling] = [*parts[first], *parts[second]]
        return ipa


def _ends(ipa: Sequence[str]) -> bool:
    """Whether the network has ended a transcription, so that it is not cut off."""
    return len(ipa) < MAX_SYMBOLS - 1  # without the end symbol


def _phones_of_word(
    word: str, parts: Sequence[str], ipa: Mapping[str, Sequence[str]]
) -> tuple[str, ...] | LexiconError:
    """Phones of a word from the IPA symbols of its parts, or the reason why it has none.

    A part of one letter is the letter's name.
    """
    try:
        phones = tuple(phone for part in parts for phone in LETTERS.get(part) or _phones(ipa[part]))
    except LexiconError as error:
        return error
    except KeyError:
        return LexiconError("the network finds no end of its pronunciation")
    return phones or LexiconError(f"no phones for {word!r}")


def _phones(ipa: Sequence[str]) -> Iterator[str]:
    """ARPAbet phones of IPA symbols."""
    for symbol in ipa:
        plain = _without_marks(symbol)
        phone = IPA_TO_ARPABET.get(symbol) or IPA_TO_ARPABET.get(plain) or NEAREST.get(plain)
        if phone is not None:
            yield phone
        elif plain:
            raise LexiconError(f"{symbol!r} is not an English phone")


def _without_marks(ipa: str) -> str:
    """An IPA symbol without diacritics, ties, length marks and spaces."""
    letters = (c for c in unicodedata.normalize("NFD", ipa) if c not in " ɟʔ")
    return "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Lm"))


def _parts(word: str) -> list[str]:
    """Parts of a word that are pronounced separately, in the letters a to z."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    letters = "".join(c for c in plain if not unicodedata.combining(c) and c not in "'’")
    for letter in letters:
        if letter not in string.ascii_lowercase and letter not in "-. ":
            raise LexiconError(f"{letter!r} is no letter of the English alphabet")
    return re.split("[-. ]+", letters.strip("-. ")) if letters.strip("-. ") else []


@dataclass(frozen=True)
class Guesses:
    """Result of guessing the pronunciations of words.

    Attributes
    ----------
    pronunciations : mapping
        The phones of each word that could be pronounced.
    left_out : mapping
        The reason for each word that could not.
    """

    pronunciations: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]

    def report(self, limit: int | None = None) -> str:
        """One line per word: the guessed phones, or the reason why it is left out.

        Words after the first ``limit`` are only counted.
        """
        rows = [("guessed ", word, " ".join(p)) for word, p in self.pronunciations.items()]
        rows += [("left out", word, reason) for word, reason in self.left_out.items()]
        shown = rows[:limit]
        width = max((len(word) for _, word, _ in shown), default=0)
        lines = [f"{what} {word:<{width}}  {text}" for what, word, text in shown]
        more = len(rows) - len(shown)
        return "\n".join([*lines, f"and {more:,} more words"] if more else lines)


def guess(
    words: Iterable[str],
    model: GraphemeToPhoneme,
    missing_tokens: Callable[[tuple[str, ...]], Sequence[str]] = lambda phones: (),
    on_progress: OnProgress = lambda _: None,
) -> Guesses:
    """Guess the pronunciation of every word.

    Parameters
    ----------
    words : iterable of str
        Repeated words are pronounced once.
    model : GraphemeToPhoneme
        A word for which it raises a `LexiconError` is left out.
    missing_tokens : callable
        Returns the phones of a pronunciation that are not tokens of the acoustic model. A word
        with such phones is left out.
    on_progress : callable
        Called with the number of words that have been done since its last call.
    """
    pronunciations: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    distinct = list(dict.fromkeys(words))
    for word, phones in zip(distinct, _pronounce_all(model, distinct, on_progress), strict=True):
        if isinstance(phones, LexiconError):
            left_out[word] = phones.message
            continue
        missing = missing_tokens(phones)
        if missing:
            left_out[word] = f"the acoustic model has no {missing[0]!r}"
        else:
            pronunciations[word] = phones
    return Guesses(pronunciations, left_out)


def _pronounce_all(
    model: GraphemeToPhoneme, words: Sequence[str], on_progress: OnProgress
) -> Iterable[tuple[str, ...] | LexiconError]:
    """Phones of every word, or the reason why it has none; in batches if the model can."""
    if isinstance(model, BatchG2P):
        yield from model.pronounce_all(words, on_progress)
        return
    for word in words:
        try:
            yield model.pronounce(word)
        except LexiconError as error:
            yield error
        on_progress(1)


def complete(
    lexicon: Lexicon, words: Iterable[str], model: GraphemeToPhoneme | None = None
) -> tuple[Lexicon, Guesses]:
    """Lexicon extended by guesses for those of ``words`` that it does not contain.

    Parameters
    ----------
    lexicon : Lexicon
        If it has the tokens of an acoustic model, a guess with another phone is left out.
    words : iterable of str
    model : GraphemeToPhoneme, optional
        `HamaG2P` by default.

    Returns
    -------
    Lexicon
    Guesses
        For the words that were not in the lexicon.
    """
    unknown = (word for word in words if word not in lexicon)
    guesses = guess(unknown, model or HamaG2P(), lexicon.missing_tokens)
    return lexicon.extend(guesses.pronunciations.items()), guesses
