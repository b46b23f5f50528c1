"""Lexica of subwords: the tokens of a model that spell each word.

>>> speller = Speller.of(read_tokens("tokens.txt"), bpe="bpe.model")
>>> speller.spellings("hello")
[('▁he', 'll', 'o')]

A sentencepiece model splits words as in training. Without one, a word is split into the fewest
tokens; of characters there is only one way. Where tokens mark the begin of words with ``▁``, words
of Chinese characters may go without the mark. Tokens of bytes (:mod:`asr_hlg.lexicon.byte_level`)
are recognised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from asr_hlg.errors import LexiconError
from asr_hlg.lexicon import byte_level
from asr_hlg.lexicon.entries import Pronunciation
from asr_hlg.lexicon.token_files import SPACE, ModelTokens

Case = Literal["keep", "lower", "upper"]

_MAX_SHOWN = 8  # characters and words in a message


@dataclass
class Unspelled:
    """Words that the tokens cannot spell, and the characters at fault."""

    words: list[str] = field(default_factory=list)
    characters: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        characters = ", ".join(
            f"{character!r} ({count})"
            for character, count in self.characters.most_common(_MAX_SHOWN)
        )
        more = ", …" if len(self.characters) > _MAX_SHOWN else ""
        examples = " ".join(self.words[:_MAX_SHOWN])
        return (
            f"{len(self.words)} words have characters that the model's tokens lack: "
            f"{characters}{more}; for example {examples}"
        )


class Speller:
    """Splits words into tokens.

    Parameters
    ----------
    pieces : iterable of str
        The tokens that spell words.
    bpe : str or Path, optional
        A sentencepiece model with the same pieces.
    case : str
        ``lower`` or ``upper`` changes the case of words before they are spelled; their names stay.
    segmentations : int
        Ways to split a word, at most: the one of the sentencepiece model, then those with the
        fewest tokens.
    """

    def __init__(
        self,
        pieces: Iterable[str],
        *,
        bpe: str | Path | None = None,
        case: Case = "keep",
        segmentations: int = 1,
    ):
        self._pieces = frozenset(pieces)
        self._longest = max(map(len, self._pieces), default=0)
        self._marks_words = any(p.startswith(SPACE) and len(p) > 1 for p in self._pieces)
        self._is_byte_level = byte_level.is_byte_level(self._pieces)
        self._case, self._segmentations = case, segmentations
        self._model = None if bpe is None else _sentencepiece(Path(bpe))

    @classmethod
    def of(cls, tokens: ModelTokens, **options: Any) -> Speller:
        """Speller with the tokens of a model, without the one between words."""
        return cls(tokens.pieces - {tokens.boundary}, **options)

    def spellings(self, word: str) -> list[tuple[str, ...]]:
        """The ways to split a word; none where the tokens lack one of its characters."""
        text = _in_case(word, self._case)
        forms = byte_level.forms(text) if self._is_byte_level else [text]
        found: dict[tuple[str, ...], None] = {}
        if self._model is not None:
            for form in forms:
                pieces = tuple(self._model.encode(form, out_type=str))
                if self._pieces.issuperset(pieces):
                    found[pieces] = None
                    break
        if len(found) < self._segmentations:
            for start in (start for form in forms for start in self._starts(form)):
                if more := self._fewest(start, self._segmentations):
                    found.update(dict.fromkeys(more))
                    break
        return list(found)[: self._segmentations]

    def missing(self, word: str) -> list[str]:
        """Characters of a word that are in no token."""
        known = self._characters
        text = _in_case(word, self._case)
        return [character for character in text if not known.issuperset(self._written(character))]

    def fits_in_case(self, words: Iterable[str]) -> Case:
        """The case in which the tokens spell the most of some words; ``keep`` where it is one."""
        cases: tuple[Case, ...] = ("keep", "lower", "upper")
        known, written = self._characters, self._written
        counts = {
            case: sum(known.issuperset(written(_in_case(word, case))) for word in words)
            for case in cases
        }
        return max(cases, key=lambda case: counts[case])

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset("".join(self._pieces))

    def _written(self, text: str) -> str:
        """A text in the characters of the pieces."""
        return byte_level.encode(text) if self._is_byte_level else text

    def _starts(self, text: str) -> list[str]:
        """A word with the mark of its begin, where tokens have such a mark, and without it."""
        if not self._marks_words:
            return [text]
        text = text.replace(" ", SPACE)
        return [text, SPACE + text] if _is_chinese(text) else [SPACE + text]

    def _fewest(self, text: str, count: int) -> list[tuple[str, ...]]:
        """The ``count`` ways to split a text into the fewest pieces; of equals, longer ones first.

        Dynamic programming over the ends of the text's beginnings.
        """
        best: list[list[tuple[str, ...]]] = [[()]]
        for end in range(1, len(text) + 1):
            ways = [
                (*before, text[start:end])
                for start in range(max(0, end - self._longest), end)
                if text[start:end] in self._pieces
                for before in best[start]
            ]
            ways.sort(key=lambda pieces: (len(pieces), [-len(piece) for piece in pieces]))
            best.append(ways[:count])
        return best[-1]


def derive(words: Iterable[str], speller: Speller) -> tuple[list[Pronunciation], Unspelled]:
    """Pronunciations of words in tokens, and the words that have none.

    Several ways to split a word are equally probable.
    """
    entries: list[Pronunciation] = []
    unspelled = Unspelled()
    for word in words:
        spellings = speller.spellings(word)
        entries += [Pronunciation(word, pieces) for pieces in spellings]
        if not spellings:
            unspelled.words.append(word)
            unspelled.characters.update(set(speller.missing(word)))
    return entries, unspelled


def case_remedy(words: Iterable[str], speller: Speller) -> str | None:
    """Remedy for words that the tokens cannot spell, but could in another case."""
    case = speller.fits_in_case(list(words))
    if case == "keep":
        return None
    return f'the tokens are in {case} case: write case = "{case}" under [lexicon]'


def _in_case(word: str, case: Case) -> str:
    return {"keep": word, "lower": word.lower(), "upper": word.upper()}[case]


def _is_chinese(text: str) -> bool:
    """Whether a text has Chinese characters, kana or Hangul alone, between which are no spaces."""
    return bool(text) and all("\u3040" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" for c in text)


def _sentencepiece(path: Path) -> Any:
    """A sentencepiece model."""
    try:
        import sentencepiece
    except ImportError:
        raise LexiconError(
            "sentencepiece is not installed, which splits words as this file says",
            path=path,
            remedy="pip install 'asr-hlg[bpe]'",
        ) from None
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise LexiconError(f"not a sentencepiece model: {reason}", path=path) from None
