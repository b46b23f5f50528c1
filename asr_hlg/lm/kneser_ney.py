"""Estimation of n-gram models from text, with interpolated Kneser–Ney smoothing.

``kaldingram`` estimates Kneser–Ney models with one discount, which back off and do not
interpolate; Chen and Goodman found interpolation with three discounts better throughout. It also
reads text as latin-1. The tests compare its discounted terms, which are the same, with ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.arpa import LOG_ZERO
from asr_hlg.lm.corpus import Sentences, encode, positions, split
from asr_hlg.lm.ngrams import BOS, EOS, ArpaModel, Floats, Ints, NGrams, without_empty


def estimate(
    sentences: Sentences,
    order: int = 3,
    *,
    modified: bool = True,
    vocabulary: Iterable[str] = (),
) -> ArpaModel:
    """Estimate an n-gram model with interpolated Kneser–Ney smoothing.

    P(w|h) = (c(hw) - D(c(hw))) / Σ_v c(hv) + γ(h) P(w|h'), where c counts occurrences in the
    longest n-grams and in those that begin with ``<s>``, and different words on the left in all
    others; γ(h) is the probability that the discounts D took from h; unigrams are interpolated
    with the uniform distribution over the vocabulary and ``</s>``. Every n-gram of the text is
    kept: see :func:`asr_hlg.lm.prune` for a smaller model.

    Example
    -------
    >>> model = estimate(["the cat sat", ["the", "hat"]], order=2)

    Parameters
    ----------
    sentences : iterable of str or of sequences of str
        Without ``<s>`` and ``</s>``. Empty ones are skipped.
    order : int
        The length of the longest n-grams.
    modified : bool
        Three discounts per order, for counts of one, two and more; otherwise one.
    vocabulary : iterable of str
        Words that get a probability even if they are not in the text, such as those of a lexicon.

    Raises
    ------
    LanguageModelError
        If there is no sentence, or a sentence contains ``<s>``, ``</s>`` or a word with white
        space.

    Notes
    -----
    S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language
    modeling", Harvard TR-10-98, 1998, equations 25 to 27. A text too small for its discounts
    (without n-grams seen once, for instance) gets 1/2 for plain and 1/2, 1, 3/2 for modified
    smoothing.
    """
    if order < 1:
        raise LanguageModelError(f"an n-gram model cannot have order {order}")
    texts = split(sentences)
    if not texts:
        raise LanguageModelError("there is no sentence to estimate a language model from")
    known = {word for text in texts for word in text}
    known.update(word for text in split([list(vocabulary)]) for word in text)
    words = (BOS, EOS, *sorted(known))
    orders: list[NGrams] = []
    for counts in _count(texts, words, order):
        lower = orders[-1] if orders else None
        discount = _discounts(counts.adjusted, modified)[np.minimum(counts.adjusted, 3)]
        size = 1 if lower is None else len(lower)
        total = np.bincount(counts.history, counts.adjusted, size)
        gamma = np.bincount(counts.history, discount, size) / np.maximum(total, 1)
        if lower is None:
            prob_lower = np.full(len(words), 1 / (len(words) - 1))  # <s> is never predicted
        else:
            prob_lower = np.exp(lower.log_prob)[counts.suffix]
            lower.log_backoff[total > 0] = np.log(gamma[total > 0])
        h = counts.history
        log_prob = np.log((counts.adjusted - discount) / total[h] + gamma[h] * prob_lower)
        if lower is None:
            log_prob[words.index(BOS)] = LOG_ZERO
        orders.append(NGrams(h, counts.word, log_prob, np.zeros(len(h))))
    return ArpaModel(words, without_empty(orders))


@dataclass(frozen=True)
class _Counts:
    """The n-grams of one order in a text, sorted by history and word.

    Attributes
    ----------
    history, suffix : np.ndarray
        Rows of the first and the last n-1 words in the table of the next lower order.
    word : np.ndarray
        The last word.
    adjusted : np.ndarray
        The counts of Kneser–Ney smoothing.
    """

    history: Ints
    word: Ints
    suffix: Ints
    adjusted: Ints


def _count(texts: list[list[str]], words: tuple[str, ...], order: int) -> list[_Counts]:
    """Adjusted counts of all orders."""
    ids = encode(texts, {word: index for index, word in enumerate(words)}, -1)
    position = positions(texts)
    size = len(words)
    zeros = np.zeros(size, dtype=np.int64)
    occurrences = np.bincount(ids, minlength=size)
    occurrences[words.index(BOS)] = 0
    raw = [_Counts(zeros, np.arange(size), zeros, occurrences)]
    row: npt.NDArray[np.int64] = ids  # of the n-gram that ends at each token
    for n in range(2, order + 1):
        ends = np.flatnonzero(position >= n - 1)
        key = row[ends - 1] * size + ids[ends]
        key, first, inverse, count = np.unique(key, True, True, True)
        raw.append(_Counts(key // size, key % size, row[ends[first]], count))
        row = np.full(len(ids), -1)
        row[ends] = inverse
    counts = []
    begins = np.arange(size) == words.index(BOS)
    for n, table in enumerate(raw, start=1):
        if n > 1:
            begins = begins[table.history]
        adjusted = table.adjusted
        if n < order:
            # an n-gram that does not begin a sentence has words on its left: one per longer n-gram
            left = np.bincount(raw[n].suffix, minlength=len(table.word))
            adjusted = np.where(begins, table.adjusted, left)
        counts.append(replace(table, adjusted=adjusted))
    return counts


def _discounts(adjusted: Ints, modified: bool) -> Floats:
    """Discounts of counts of 0, 1, 2, and 3 or more (Chen and Goodman, equation 26)."""
    num = np.bincount(np.minimum(adjusted, 5), minlength=6).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = num[1] / (num[1] + 2 * num[2])
        if not modified:
            return np.array([0, 1, 1, 1]) * (y if 0 < y < 1 else 0.5)
        k = np.arange(1, 4)
        result = k - (k + 1) * y * num[2:5] / num[1:4]
    if not ((result > 0) & (result <= k)).all():
        result = np.array([0.5, 1.0, 1.5])
    return np.concatenate([[0.0], result])
