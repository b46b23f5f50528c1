"""Reference implementation of back-off models and Kneser–Ney smoothing with dictionaries."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

from hypothesis import strategies as st

from asr_hlg import lm


def listed(model: lm.ArpaModel) -> dict[tuple[str, ...], tuple[float, float]]:
    """Log-probability and log back-off weight of every n-gram, by its words."""
    result = {}
    for n, table in enumerate(model.orders, start=1):
        for ids, p, b in zip(model.spell(n), table.log_prob, table.log_backoff, strict=True):
            result[tuple(model.words[i] for i in ids)] = (p, b)
    return result


def log_prob(ngrams: dict, word: str, history: tuple[str, ...], order: int) -> float:
    """Log P(word | history) of a back-off model, computed from the definition."""
    history = history[len(history) - min(order - 1, len(history)) :]
    if (*history, word) in ngrams:
        return ngrams[(*history, word)][0]
    if not history:
        return -math.inf
    backoff = ngrams[history][1] if history in ngrams else 0.0
    return backoff + log_prob(ngrams, word, history[1:], order)


def sentence_log_prob(model: lm.ArpaModel, sentence: tuple[str, ...]) -> float:
    ngrams = listed(model)
    tokens = (lm.BOS, *sentence, lm.EOS)
    return sum(log_prob(ngrams, tokens[i], tokens[:i], model.order) for i in range(1, len(tokens)))


def predicted_words(model: lm.ArpaModel) -> list[str]:
    return [word for word in model.words if word != lm.BOS]


def sums_to_one(model: lm.ArpaModel, tolerance: float = 1e-9) -> bool:
    """Whether P(· | h) adds up to one for every possible history."""
    ngrams = listed(model)
    words = predicted_words(model)
    histories = [h for n in range(model.order) for h in product(model.words, repeat=n)]
    return all(
        abs(sum(math.exp(log_prob(ngrams, w, h, model.order)) for w in words) - 1) < tolerance
        for h in histories
        if lm.EOS not in h and lm.BOS not in h[1:]
    )


def kneser_ney(
    sentences: list[tuple[str, ...]], order: int, modified: bool, extra: tuple[str, ...] = ()
):
    """P(w | h) of interpolated Kneser–Ney smoothing, Chen and Goodman's equations 25 to 27."""
    counts = _adjusted_counts(sentences, order)
    words = {word for sentence in sentences for word in sentence}
    num_words = len(words | {lm.EOS} | set(extra))
    discount = {n: _discounts(n, counts[n], modified) for n in counts}

    def probability(word, history):
        if history is None:
            return 1 / num_words
        n = len(history) + 1
        after = {g[-1]: c for g, c in counts[n].items() if g[:-1] == history}
        shorter = history[1:] if history else None
        if not after:
            return probability(word, shorter)
        total = sum(after.values())
        gamma = sum(discount[n][min(c, 3)] for c in after.values()) / total
        count = after.get(word, 0)
        return (count - discount[n][min(count, 3)]) / total + gamma * probability(word, shorter)

    return probability


def _adjusted_counts(sentences: list[tuple[str, ...]], order: int) -> dict[int, dict]:
    """Counts of the n-grams of each order; below the highest, of different words on the left."""
    raw: list[Counter] = [Counter() for _ in range(order + 1)]
    for sentence in sentences:
        tokens = (lm.BOS, *sentence, lm.EOS)
        for n in range(1, order + 1):
            raw[n].update(tokens[i : i + n] for i in range(len(tokens) - n + 1))
    counts: dict[int, dict] = {order: dict(raw[order])}
    for n in range(1, order):
        lefts = Counter(gram[1:] for gram in raw[n + 1])
        counts[n] = {g: raw[n][g] if g[0] == lm.BOS else lefts[g] for g in raw[n]}
    counts[1].pop((lm.BOS,), None)
    return counts


def _discounts(n: int, counts: dict, modified: bool) -> list[float]:
    """Discounts of counts of 0, 1, 2, and 3 or more."""
    num = Counter(counts.values())
    if n == 1:
        num[0] = 0
    y = num[1] / (num[1] + 2 * num[2]) if num[1] else 0.0
    if not modified:
        return [0, *([y] * 3 if 0 < y < 1 else [0.5] * 3)]
    if all(num[k] for k in (1, 2, 3)):
        discounts = [k - (k + 1) * y * num[k + 1] / num[k] for k in (1, 2, 3)]
        if all(0 < d <= k for k, d in enumerate(discounts, start=1)):
            return [0, *discounts]
    return [0, 0.5, 1.0, 1.5]


def texts(letters: str = "abcd", max_sentences: int = 8, max_words: int = 5):
    """A hypothesis strategy: a few sentences of one-letter words."""
    sentence = st.lists(st.sampled_from(letters), min_size=1, max_size=max_words).map(tuple)
    return st.lists(sentence, min_size=1, max_size=max_sentences)
