"""Interpolation of two models into one, such as a general one and one of the task at hand."""

from __future__ import annotations

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.ngrams import ArpaModel, build
from asr_hlg.lm.pruning import normalise

_LOG_ZERO = -99.0 * np.log(10.0)  # as ARPA files have it


def interpolate(first: ArpaModel, second: ArpaModel, weight: float) -> ArpaModel:
    """Mix two models: P(w|h) = weight · P_first(w|h) + (1 - weight) · P_second(w|h).

    The result lists the n-grams of both and mixes exactly these; for the others its back-off
    weights are computed anew, so that every history's probabilities add up to one. That is what
    SRILM's ``ngram -mix-lm`` does, and what lets the mixture become one graph.

    Parameters
    ----------
    first, second : ArpaModel
        Vocabularies may differ: a word that one lacks has probability zero there.
    weight : float
        Of the first model, between 0 and 1.
    """
    if not 0 <= weight <= 1:
        raise LanguageModelError(f"interpolation weight {weight} is not between 0 and 1")
    words = list(dict.fromkeys((*first.words, *second.words)))
    position = {word: index for index, word in enumerate(words)}
    parts = [
        (model, np.array([position[word] for word in model.words]), share)
        for model, share in ((first, weight), (second, 1 - weight))
    ]
    tables = [
        _mix_order(n, parts, len(words)) for n in range(1, 1 + max(first.order, second.order))
    ]
    ngrams, log_probs = zip(*tables, strict=True)
    zeros = [np.zeros(len(table)) for table in ngrams]
    return normalise(build(words, ngrams, log_probs, zeros))


def _mix_order(n: int, parts, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of order n of all models, and their mixed log-probabilities."""
    listed = [place[model.spell(n)] for model, place, _ in parts if n <= model.order]
    ngrams = np.unique(np.concatenate(listed), axis=0)
    prob = np.zeros(len(ngrams))
    for model, place, share in parts:
        own = np.full(num_words, -1)
        own[place] = np.arange(len(place))
        prob += share * np.exp(model.log_prob(own[ngrams[:, -model.order :]]))
    with np.errstate(divide="ignore"):
        return ngrams, np.maximum(np.log(prob), _LOG_ZERO)
