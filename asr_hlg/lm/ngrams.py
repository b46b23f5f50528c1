"""Back-off n-gram models, stored as arrays.

A model of a few million n-grams must be read, pruned and compiled into a graph in seconds, so
there is no Python object per n-gram. Each order is a table sorted by (history, word), where the
history is a row of the table of the next lower order. The tables together are a trie, in which
binary search looks up millions of n-grams in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm import arpa

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BOS = "<s>"
EOS = "</s>"

_MAX_ROWS = 200_000  # n-grams in memory as text at the same time


@dataclass(frozen=True, eq=False)
class NGrams:
    """The n-grams of one order, sorted by history and then by word.

    Attributes
    ----------
    history : np.ndarray
        int32 ``(num,)``: row of the first n-1 words in the table of order n-1; 0 for unigrams.
    word : np.ndarray
        int32 ``(num,)``: the last word, as a position in ``ArpaModel.words``.
    log_prob : np.ndarray
        float64 ``(num,)``: natural log of P(word | history); ``-inf`` where it is zero.
    log_backoff : np.ndarray
        float64 ``(num,)``: natural log of the weight with which the n-gram, taken as a
        history, multiplies the order below; 0 where it has none.
    """

    history: Ints
    word: Ints
    log_prob: Floats
    log_backoff: Floats

    def __len__(self) -> int:
        return len(self.word)

    def sums(self, values: Floats, num_histories: int) -> Floats:
        """Sum of ``values`` (one per n-gram) over the n-grams of each history."""
        sums = np.bincount(self.history, weights=values, minlength=num_histories)
        return sums.astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class ArpaModel:
    """A back-off n-gram model: P(w | h), or α(h) P(w | h') if (h, w) is not listed.

    Example
    -------
    >>> model = estimate(["the cat sat", "the hat"], order=2)
    >>> model.counts
    (6, 6)
    >>> model.write("cat.arpa")

    Attributes
    ----------
    words : tuple of str
        The vocabulary, with ``<s>`` and ``</s>`` if the model has them; row i of the unigrams is
        word i.
    orders : tuple of NGrams
        One table per order, unigrams first.
    """

    words: tuple[str, ...]
    orders: tuple[NGrams, ...]

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.orders)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of n-grams of each order."""
        return tuple(len(table) for table in self.orders)

    @cached_property
    def word_ids(self) -> dict[str, int]:
        """Position in ``words`` of each word."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def _keys(self) -> tuple[npt.NDArray[np.int64], ...]:
        """For each order (history, word) as one number, sorted, for binary search."""
        size = len(self.words)
        return tuple(t.history.astype(np.int64) * size + t.word for t in self.orders)

    def find(self, ngrams: Ints) -> npt.NDArray[np.int64]:
        """Rows of n-grams in the table of their order.

        Parameters
        ----------
        ngrams : np.ndarray
            int ``(num, n)`` word ids, n at least 1; -1 stands for an unknown word.

        Returns
        -------
        np.ndarray
            int64 ``(num,)``: rows in the table of order n, -1 for an n-gram that is not listed.
        """
        row: npt.NDArray[np.int64] = ngrams[:, 0].astype(np.int64)
        for n in range(1, ngrams.shape[1]):
            row = self.extend(n, row, ngrams[:, n])
        return row

    def extend(self, n: int, row: Ints, word: Ints) -> npt.NDArray[np.int64]:
        """Rows in order n+1 of n-grams (rows of order n, or -1) followed by a word (or -1)."""
        keys = self._keys[n]
        if len(keys) == 0:
            return np.full(len(row), -1, dtype=np.int64)
        key = row * len(self.words) + word
        index = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where((keys[index] == key) & (row >= 0) & (word >= 0), index, -1)

    def spell(self, n: int, rows: Ints | None = None) -> npt.NDArray[np.int32]:
        """Word ids of n-grams of order n: int32 ``(num, n)``, of all rows or of those given."""
        row: Ints = np.arange(len(self.orders[n - 1])) if rows is None else rows
        ngrams = np.empty((len(row), n), dtype=np.int32)
        for column in range(n - 1, -1, -1):
            table = self.orders[column]
            ngrams[:, column] = table.word[row]
            row = table.history[row]
        return ngrams

    def log_prob(self, ngrams: Ints) -> Floats:
        """Natural log of P(last word | the words before it), with back-off.

        Parameters
        ----------
        ngrams : np.ndarray
            int ``(num, n)`` word ids, n from 1 to the model's order; -1 for an unknown word.

        Returns
        -------
        np.ndarray
            float64 ``(num,)``: ``-inf`` if the last word is unknown.
        """
        n = ngrams.shape[1]
        row = self.find(ngrams)
        result = np.where(row >= 0, self.orders[n - 1].log_prob[row], -np.inf)
        missing = np.flatnonzero(row < 0)
        if n > 1 and len(missing):
            short = ngrams[missing]
            context = self.find(short[:, :-1])
            backoff = np.where(context >= 0, self.orders[n - 2].log_backoff[context], 0.0)
            result[missing] = backoff + self.log_prob(short[:, 1:])
        return result

    def write(self, path: str | Path) -> None:
        """Write an ARPA file (UTF-8, log10, seven decimals; gzipped if it ends in .gz)."""
        arpa.write(path, self.words, self.counts, self._sections())

    def _sections(self) -> Iterator[tuple[npt.NDArray[np.int32], Floats, Floats]]:
        for n, table in enumerate(self.orders, start=1):
            for start in range(0, len(table), _MAX_ROWS):
                rows = np.arange(start, min(start + _MAX_ROWS, len(table)))
                yield self.spell(n, rows), table.log_prob[rows], table.log_backoff[rows]

    @classmethod
    def read(cls, path: str | Path) -> ArpaModel:
        """Read an ARPA file (UTF-8; gzipped if it ends in .gz).

        Raises
        ------
        LanguageModelError
            With the line: as :func:`asr_hlg.lm.arpa.read` does, and for an n-gram that is listed
            twice or whose history is not listed.
        """
        words, sections = arpa.read(path)
        ngrams, log_probs, log_backoffs, lines = zip(*sections, strict=True)
        try:
            return build(words, ngrams, log_probs, log_backoffs)
        except BadNGram as error:
            line = int(lines[error.order - 1][error.row])
            raise LanguageModelError(error.message, path=path, line=line) from None


class BadNGram(LanguageModelError):
    """An n-gram that does not fit the model, with its order and its row in what was read."""

    def __init__(self, message: str, order: int = 1, row: int = 0):
        super().__init__(message)
        self.order = order
        self.row = row


def build(
    words: Sequence[str],
    ngrams: Sequence[Ints],
    log_probs: Sequence[Floats],
    log_backoffs: Sequence[Floats],
) -> ArpaModel:
    """Make a model from n-grams, which may be in any order within their tables.

    Parameters
    ----------
    words : sequence of str
        The vocabulary; the unigrams are these words in this order.
    ngrams : sequence of np.ndarray
        For every order n, int ``(num, n)`` word ids.
    log_probs, log_backoffs : sequence of np.ndarray
        For every order, ``(num,)`` natural logs.

    Raises
    ------
    BadNGram
        For an n-gram that is listed twice, or whose history is not listed.
    """
    model = ArpaModel(tuple(words), ())
    for n, (ids, log_prob, log_backoff) in enumerate(
        zip(ngrams, log_probs, log_backoffs, strict=True), start=1
    ):
        history = model.find(ids[:, :-1]) if n > 1 else np.zeros(len(ids), dtype=np.int64)
        if (history < 0).any():
            row = int(np.argmax(history < 0))
            text = " ".join(words[i] for i in ids[row])
            raise BadNGram(f"n-gram {text!r} has a history that is not listed", n, row)
        key = history * len(words) + ids[:, -1]
        order = np.argsort(key, kind="stable")
        repeated = np.flatnonzero(np.diff(key[order]) == 0)
        if len(repeated):
            row = int(order[repeated + 1].min())
            text = " ".join(words[i] for i in ids[row])
            raise BadNGram(f"n-gram {text!r} is listed twice", n, row)
        table = NGrams(
            history[order].astype(np.int32),
            ids[order, -1].astype(np.int32),
            np.asarray(log_prob, dtype=np.float64)[order],
            np.asarray(log_backoff, dtype=np.float64)[order],
        )
        model = ArpaModel(model.words, (*model.orders, table))
    return ArpaModel(model.words, without_empty(model.orders))


def select(model: ArpaModel, keep: Sequence[Bools]) -> ArpaModel:
    """Copy of a model with some of its n-grams; probabilities and back-offs stay as they are.

    Parameters
    ----------
    keep : sequence of np.ndarray
        For every order bool ``(num,)``. All unigrams must be kept, and the history of every kept
        n-gram.
    """
    orders: list[NGrams] = []
    new_row: Ints = np.zeros(1, dtype=np.int32)
    for table, kept in zip(model.orders, keep, strict=True):
        orders.append(
            NGrams(
                new_row[table.history[kept]],
                table.word[kept],
                table.log_prob[kept],
                table.log_backoff[kept],
            )
        )
        new_row = (np.cumsum(kept) - 1).astype(np.int32)
    return ArpaModel(model.words, without_empty(orders))


def without_empty(orders: Sequence[NGrams]) -> tuple[NGrams, ...]:
    """The orders up to the last that has an n-gram; the header of a file may list more."""
    return tuple(orders[: max(n for n, table in enumerate(orders, start=1) if len(table))])
