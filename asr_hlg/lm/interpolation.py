"""Linear interpolation of models, such as a general model and one of a domain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.arpa import LOG_ZERO
from asr_hlg.lm.corpus import Sentences, split
from asr_hlg.lm.evaluation import token_log_probs
from asr_hlg.lm.ngrams import ArpaModel, Floats, build
from asr_hlg.lm.pruning import normalise


def interpolate(models: Sequence[ArpaModel], weights: Sequence[float]) -> ArpaModel:
    """Mix models: P(w|h) = Σ weight · P_model(w|h).

    The result lists the n-grams of all models, with exactly these probabilities. For all other
    n-grams, its back-off weights are computed anew, so that the probabilities after each history
    add up to one. SRILM's ``ngram -mix-lm`` does the same; the mixture is one back-off model, and
    so can be compiled into one graph.

    Parameters
    ----------
    models : sequence of ArpaModel
        Vocabularies may differ: a word that is not in a model has probability zero there.
    weights : sequence of float
        One per model, each between 0 and 1, with the sum 1.

    Raises
    ------
    LanguageModelError
        For other weights.
    """
    if len(weights) != len(models):
        raise LanguageModelError(f"{len(models)} models cannot have {len(weights)} weights")
    if not (all(0 <= weight <= 1 for weight in weights) and abs(sum(weights) - 1) < 1e-6):
        shown = " ".join(f"{weight:g}" for weight in weights)
        raise LanguageModelError(f"interpolation weights {shown} are not shares that add up to 1")
    words = list(dict.fromkeys(word for model in models for word in model.words))
    ids = {word: index for index, word in enumerate(words)}
    word_maps = [np.array([ids[word] for word in model.words]) for model in models]
    max_order = max(model.order for model in models)
    orders = [
        _mix_order(n, models, word_maps, weights, len(words)) for n in range(1, 1 + max_order)
    ]
    ngrams, log_probs = zip(*orders, strict=True)
    zeros = [np.zeros(len(table)) for table in ngrams]
    return normalise(build(words, ngrams, log_probs, zeros))


def _mix_order(
    n: int,
    models: Sequence[ArpaModel],
    word_maps: Sequence[npt.NDArray[np.int64]],
    weights: Sequence[float],
    num_words: int,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The n-grams of order n of all models, and their mixed log-probabilities.

    ``word_maps`` has for each model the id in the mixture of each of its words.
    """
    listed = [
        word_map[model.spell(n)]
        for model, word_map in zip(models, word_maps, strict=True)
        if n <= model.order
    ]
    ngrams: npt.NDArray[np.int64] = np.unique(np.concatenate(listed), axis=0)
    prob = np.zeros(len(ngrams))
    for model, word_map, weight in zip(models, word_maps, weights, strict=True):
        inverse = np.full(num_words, -1)
        inverse[word_map] = np.arange(len(word_map))
        prob += weight * np.exp(model.log_prob(inverse[ngrams[:, -model.order :]]))
    with np.errstate(divide="ignore"):
        return ngrams, np.maximum(np.log(prob), LOG_ZERO)


def tune_weights(
    models: Sequence[ArpaModel], sentences: Sentences, max_iterations: int = 1000
) -> list[float]:
    """Interpolation weights that maximise the probability of a text, for :func:`interpolate`.

    Expectation maximisation over the words and sentence ends of the text, as in SRILM's
    ``compute-best-mix``: the new weight of a model is the mean of its posterior,
    weight · P_model(w|h) / Σ weight · P(w|h). Words that are in no model are left out.

    Parameters
    ----------
    models : sequence of ArpaModel
    sentences : iterable of str or of sequences of str
        Not a text that one of the models was estimated from: that model would get all the weight.
    max_iterations : int
        Iteration ends earlier when no weight changes by 1e-6.

    Raises
    ------
    LanguageModelError
        If there is no sentence with a known word, or a model has no ``</s>``.
    """
    texts = split(sentences)
    log_probs = np.stack([token_log_probs(model, texts) for model in models])
    probs = np.exp(np.nan_to_num(log_probs, nan=-np.inf))
    probs = probs[:, probs.sum(axis=0) > 0]
    weights = np.full(len(models), 1 / len(models))
    for _ in range(max_iterations):
        joint = weights[:, None] * probs
        updated = (joint / joint.sum(axis=0)).mean(axis=1)
        change = np.abs(updated - weights).max()
        weights = updated
        if change < 1e-6:
            break
    return [float(weight) for weight in weights]
