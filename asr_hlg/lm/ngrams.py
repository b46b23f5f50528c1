"""The n-gram model itself: what ARPA files, tries and estimation turn into.

A model of a few million n-grams must be read, pruned and turned into a graph in seconds, so
there is no object per n-gram. An order is a table sorted by (history, word), its history being
a row of the table below: together they are a trie that binary search walks for millions of
n-grams at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asr_hlg.errors import LanguageModelError

BOS = "<s>"
EOS = "</s>"


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

    history: np.ndarray
    word: np.ndarray
    log_prob: np.ndarray
    log_backoff: np.ndarray

    def __len__(self) -> int:
        return len(self.word)

    def sums(self, values: np.ndarray, num_histories: int) -> np.ndarray:
        """Add up ``values`` (one per n-gram) for every history."""
        return np.bincount(self.history, weights=values, minlength=num_histories)


@dataclass(frozen=True, eq=False)
class ArpaModel:
    """A back-off n-gram model: P(w | h), or α(h) P(w | h') where (h, w) is not listed.

    Example
    -------
    >>> model = estimate(["the cat sat", "the hat"], order=2)
    >>> model.counts
    (6, 6)
    >>> model.write("cat.arpa")

    Attributes
    ----------
    words : tuple of str
        The vocabulary, with ``<s>`` and ``</s>`` where the model knows them; row i of the
        unigrams is word i.
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
        """How many n-grams each order has."""
        return tuple(len(table) for table in self.orders)

    @cached_property
    def word_ids(self) -> dict[str, int]:
        """From a word to its position in ``words``."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def _keys(self) -> tuple[np.ndarray, ...]:
        # (history, word) as one sorted number, for binary search
        size = len(self.words)
        return tuple(t.history.astype(np.int64) * size + t.word for t in self.orders)

    def find(self, ngrams: np.ndarray) -> np.ndarray:
        """Look n-grams up.

        Parameters
        ----------
        ngrams : np.ndarray
            int ``(num, n)`` word ids, n at least 1; -1 stands for an unknown word.

        Returns
        -------
        np.ndarray
            int64 ``(num,)``: rows in the table of order n, -1 where the n-gram is not listed.
        """
        row = ngrams[:, 0].astype(np.int64)
        for n in range(1, ngrams.shape[1]):
            row = self.extend(n, row, ngrams[:, n])
        return row

    def extend(self, n: int, row: np.ndarray, word: np.ndarray) -> np.ndarray:
        """Rows in order n+1 of n-grams (rows of order n, or -1) followed by a word (or -1)."""
        keys = self._keys[n]
        if len(keys) == 0:
            return np.full(len(row), -1, dtype=np.int64)
        wanted = row * len(self.words) + word
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((keys[place] == wanted) & (row >= 0) & (word >= 0), place, -1)

    def spell(self, n: int, rows: np.ndarray | None = None) -> np.ndarray:
        """The words of n-grams of order n: int32 ``(num, n)``, for all rows or those given."""
        row = np.arange(len(self.orders[n - 1])) if rows is None else rows
        ngrams = np.empty((len(row), n), dtype=np.int32)
        for column in range(n - 1, -1, -1):
            table = self.orders[column]
            ngrams[:, column] = table.word[row]
            row = table.history[row]
        return ngrams

    def log_prob(self, ngrams: np.ndarray) -> np.ndarray:
        """Natural log of P(last word | the words before it), backing off where needed.

        Parameters
        ----------
        ngrams : np.ndarray
            int ``(num, n)`` word ids, n from 1 to the model's order; -1 for an unknown word.

        Returns
        -------
        np.ndarray
            float64 ``(num,)``: ``-inf`` where the last word is unknown.
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
        from asr_hlg.lm import arpa  # which needs this class

        arpa.write(self, path)

    @classmethod
    def read(cls, path: str | Path) -> ArpaModel:
        """Read an ARPA file strictly: see :func:`asr_hlg.lm.arpa.read`."""
        from asr_hlg.lm import arpa

        return arpa.read(path)


class BadNGram(LanguageModelError):
    """An n-gram that does not fit the model: which row of which order, for readers to locate."""

    def __init__(self, message: str, order: int = 1, row: int = 0):
        super().__init__(message)
        self.order = order
        self.row = row


def build(
    words: Sequence[str],
    ngrams: Sequence[np.ndarray],
    log_probs: Sequence[np.ndarray],
    log_backoffs: Sequence[np.ndarray],
) -> ArpaModel:
    """Sort n-grams in any order into a model.

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
        by_key = np.argsort(key, kind="stable")
        repeated = np.flatnonzero(np.diff(key[by_key]) == 0)
        if len(repeated):
            row = int(by_key[repeated + 1].min())
            text = " ".join(words[i] for i in ids[row])
            raise BadNGram(f"n-gram {text!r} is listed twice", n, row)
        table = NGrams(
            history[by_key].astype(np.int32),
            ids[by_key, -1].astype(np.int32),
            np.asarray(log_prob, dtype=np.float64)[by_key],
            np.asarray(log_backoff, dtype=np.float64)[by_key],
        )
        model = ArpaModel(model.words, (*model.orders, table))
    return ArpaModel(model.words, without_empty(model.orders))


def select(model: ArpaModel, keep: Sequence[np.ndarray]) -> ArpaModel:
    """Keep some n-grams of every order; probabilities and back-offs stay as they are.

    Parameters
    ----------
    keep : sequence of np.ndarray
        For every order bool ``(num,)``. Unigrams must all be kept, and a kept n-gram's history
        too.
    """
    orders: list[NGrams] = []
    new_row = np.zeros(1, dtype=np.int32)
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
    """The orders up to the last that has an n-gram: a header may announce more."""
    return tuple(orders[: max(n for n, table in enumerate(orders, start=1) if len(table))])
