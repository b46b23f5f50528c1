"""Texts as one long array of word ids, with sentence boundaries in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.ngrams import BOS, EOS

Sentences = Iterable[str | Sequence[str]]


def split(sentences: Sentences) -> list[list[str]]:
    """The words of every sentence that has any; a string is split at its blanks."""
    if isinstance(sentences, str):
        raise LanguageModelError(
            "one string is not a list of sentences", remedy="pass text.splitlines()"
        )
    result = []
    for number, sentence in enumerate(sentences, start=1):
        words = sentence.split() if isinstance(sentence, str) else list(sentence)
        for word in words:
            if word in (BOS, EOS):
                raise LanguageModelError(
                    f"sentence {number} contains {word}", remedy="sentence ends are added here"
                )
            if word.split() != [word]:
                raise LanguageModelError(f"sentence {number} has {word!r} for a word")
        if words:
            result.append(words)
    return result


def encode(sentences: list[list[str]], word_ids: dict[str, int], unknown: int) -> np.ndarray:
    """Word ids of ``<s> … </s>`` of all sentences, one after the other.

    Parameters
    ----------
    sentences : list of list of str
    word_ids : dict
    unknown : int
        The id of words that ``word_ids`` lacks.

    Returns
    -------
    np.ndarray
        int64 ``(num_tokens,)``
    """
    bos, eos = word_ids.get(BOS, unknown), word_ids.get(EOS, unknown)
    ids: list[int] = []
    for sentence in sentences:
        ids.append(bos)
        ids.extend(word_ids.get(word, unknown) for word in sentence)
        ids.append(eos)
    return np.array(ids, dtype=np.int64)


def places(sentences: list[list[str]]) -> np.ndarray:
    """How many tokens of its own sentence stand before each token of :func:`encode`."""
    lengths = np.array([len(sentence) + 2 for sentence in sentences], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) - np.repeat(starts, lengths)
