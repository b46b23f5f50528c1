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
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon.lexicon import Lexicon
from asr_hlg.lexicon.phones import IPA_TO_ARPABET, NEAREST

if TYPE_CHECKING:
    import hama


class GraphemeToPhoneme(Protocol):
    """Model that converts a spelling to phones."""

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Phones of a word; a `LexiconError` with the reason if there are none."""
        ...


class HamaG2P:
    """The neural grapheme-to-phoneme model of the package hama, in ARPAbet phones.

    It takes about 30 ms per word. The weights are loaded with the first word.
    """

    @cached_property
    def _model(self) -> hama.G2PModel:
        import hama

        return hama.G2PModel()

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Phones of an English word.

        Case, accents and apostrophes make no difference; the parts of a word between hyphens and
        full stops are pronounced separately.

        Raises
        ------
        LexiconError
            If a letter is not one of the 26, if the model returns a tone, as it does for words
            that resemble Chinese ones, or if it returns no phones.
        """
        phones = tuple(phone for part in _parts(word) for phone in self._phones(part))
        if not phones:
            raise LexiconError(f"no phones for {word!r}")
        return phones

    def _phones(self, letters: str) -> Iterator[str]:
        limit = self._model.max_output_len - 1  # without the end symbol
        ipa = [alignment.phoneme for alignment in self._model.predict(letters).alignments]
        if len(ipa) >= limit:
            raise LexiconError(f"pronunciation is cut off after {limit} phones")
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

    def report(self) -> str:
        """One line per word: the guessed phones, or the reason why it is left out."""
        width = max(map(len, [*self.pronunciations, *self.left_out]), default=0)
        lines = [f"guessed  {w:<{width}}  {' '.join(p)}" for w, p in self.pronunciations.items()]
        lines += [f"left out {w:<{width}}  {reason}" for w, reason in self.left_out.items()]
        return "\n".join(lines)


def guess(
    words: Iterable[str],
    model: GraphemeToPhoneme,
    missing_tokens: Callable[[tuple[str, ...]], Sequence[str]] = lambda phones: (),
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
    """
    pronunciations: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    for word in dict.fromkeys(words):
        try:
            phones = model.pronounce(word)
        except LexiconError as error:
            left_out[word] = error.message
            continue
        missing = missing_tokens(phones)
        if missing:
            left_out[word] = f"the acoustic model has no {missing[0]!r}"
        else:
            pronunciations[word] = phones
    return Guesses(pronunciations, left_out)


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
