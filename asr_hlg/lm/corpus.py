"""Texts: sentences from files, and sentences as one array of word ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError
from asr_hlg.files import text_lines
from asr_hlg.lm.ngrams import BOS, EOS

Sentences = Iterable[str | Sequence[str]]

_ADDED = "the start and the end of a sentence are added automatically"


def read(path: str | Path) -> Iterator[list[str]]:
    """Sentences of a text file: one per line, words separated by white space; empty lines skipped.

    Parameters
    ----------
    path : str or Path
        UTF-8; gzipped if it ends in .gz.

    Raises
    ------
    LanguageModelError
        With the line: for text that is not UTF-8, and for a sentence with ``<s>`` or ``</s>``.
        For a file without a sentence.
    """
    is_empty = True
    for number, line in text_lines(path, LanguageModelError):
        words = line.split()
        for word in words:
            if word in (BOS, EOS):
                message = f"the sentence contains {word}"
                raise LanguageModelError(message, path=path, line=number, remedy=_ADDED)
        yield words
        is_empty = False
    if is_empty:
        raise LanguageModelError("has no sentence", path=path)


def split(sentences: Sentences) -> list[list[str]]:
    """Words of every sentence that has any; a string is split at white space.

    Raises
    ------
    LanguageModelError
        For a sentence with ``<s>``, ``</s>``, or a word that contains white space.
    """
    if isinstance(sentences, str):
        raise LanguageModelError(
            "one string is not a list of sentences", remedy="pass text.splitlines()"
        )
    result = []
    for number, sentence in enumerate(sentences, start=1):
        words = sentence.split() if isinstance(sentence, str) else list(sentence)
        for word in words:
            if word in (BOS, EOS):
                raise LanguageModelError(f"sentence {number} contains {word}", remedy=_ADDED)
            if word.split() != [word]:
                raise LanguageModelError(f"sentence {number} has {word!r} as a word")
        if words:
            result.append(words)
    return result


def encode(
    sentences: list[list[str]], word_ids: dict[str, int], unknown: int
) -> npt.NDArray[np.int64]:
    """Word ids of ``<s> … </s>`` of all sentences, one after the other.

    Parameters
    ----------
    sentences : list of list of str
    word_ids : dict
    unknown : int
        The id of words that are not in ``word_ids``.

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


def positions(sentences: list[list[str]]) -> npt.NDArray[np.int64]:
    """Position within its sentence of each token of :func:`encode`; 0 for ``<s>``."""
    lengths = np.array([len(sentence) + 2 for sentence in sentences], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    index: npt.NDArray[np.int64] = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return index
