"""Guessed pronunciations for words that a lexicon lacks.

>>> lexicon, guesses = g2p.complete(lexicon, ["xylophone", "naïve"])
>>> print(guesses.report())
guessed  xylophone  Z AY L AH F OW N
left out naïve      'i̯' is no English phone
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon import Lexicon
from asr_hlg.phones import IPA_TO_ARPABET


class GraphemeToPhoneme(Protocol):
    """What turns a spelling into phones."""

    def pronounce(self, word: str) -> tuple[str, ...]:
        """The phones of a word; a `LexiconError` says why there are none."""
        ...


class HamaG2P:
    """The neural grapheme-to-phoneme model of the package hama, in ARPAbet phones.

    It takes about 30 ms a word. The weights are read when the first word is pronounced.
    """

    @cached_property
    def _model(self):
        import hama

        return hama.G2PModel()

    def pronounce(self, word: str) -> tuple[str, ...]:
        """The phones of an English word.

        Raises
        ------
        LexiconError
            If the model hears a sound that English lacks, as it does in foreign words and
            digits, or if it hears nothing.
        """
        limit = self._model.max_output_len
        alignments = self._model.predict(word).alignments if word.strip() else []
        ipa = [alignment.phoneme for alignment in alignments]
        foreign = [symbol for symbol in ipa if symbol not in IPA_TO_ARPABET]
        if not ipa:
            raise LexiconError(f"no phones for {word!r}")
        if foreign:
            raise LexiconError(f"{foreign[0]!r} is no English phone")
        if len(ipa) >= limit:
            raise LexiconError(f"pronunciation is cut off after {limit} phones")
        return tuple(IPA_TO_ARPABET[symbol] for symbol in ipa)


@dataclass(frozen=True)
class Guesses:
    """What a model made of the words that it was asked for.

    ``pronunciations`` has the phones of each word that it could pronounce, ``left_out`` the
    reason for each that it could not.
    """

    pronunciations: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]

    def report(self) -> str:
        """One line for every word: what was guessed, or why it was left out."""
        width = max(map(len, [*self.pronunciations, *self.left_out]), default=0)
        lines = [f"guessed  {w:<{width}}  {' '.join(p)}" for w, p in self.pronunciations.items()]
        lines += [f"left out {w:<{width}}  {reason}" for w, reason in self.left_out.items()]
        return "\n".join(lines)


def guess(words: Iterable[str], model: GraphemeToPhoneme) -> Guesses:
    """Pronounce every word once; a word that fails does not stop the others."""
    pronunciations: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    for word in dict.fromkeys(words):
        try:
            pronunciations[word] = model.pronounce(word)
        except LexiconError as error:
            left_out[word] = error.message
    return Guesses(pronunciations, left_out)


def complete(
    lexicon: Lexicon, words: Iterable[str], model: GraphemeToPhoneme | None = None
) -> tuple[Lexicon, Guesses]:
    """A lexicon with a guess for every one of ``words`` that it lacks.

    Parameters
    ----------
    lexicon : Lexicon
        If the acoustic model's tokens were imposed on it, a guess with another phone is left out.
    words : iterable of str
    model : GraphemeToPhoneme, optional
        `HamaG2P` by default.

    Returns
    -------
    Lexicon
    Guesses
        Only the words that were missing.
    """
    guesses = guess((word for word in words if word not in lexicon), model or HamaG2P())
    pronunciations, left_out = dict(guesses.pronunciations), dict(guesses.left_out)
    for word, phones in guesses.pronunciations.items():
        missing = lexicon.missing_tokens(phones)
        if missing:
            left_out[word] = f"the acoustic model has no {missing[0]!r}"
            del pronunciations[word]
    return lexicon.extend(pronunciations.items()), Guesses(pronunciations, left_out)
