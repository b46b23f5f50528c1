"""Entropy pruning of back-off models.

A model pruned to a tenth of its size has almost the same perplexity. ``kaldingram`` prunes with
the same criterion, but in plain Python (85 s and several GB on pocketsphinx's trigram), and it
takes P(<s>) itself, which is 1e-99, as the probability of the history ``<s>``: it removes every
bigram after ``<s>`` that no trigram needs, even if it is frequent at the start of a sentence.
Sums over whole tables take seconds.
"""

from __future__ import annotations

import numpy as np

from asr_hlg.errors import LanguageModelError
from asr_hlg.lm.ngrams import BOS, EOS, ArpaModel, Bools, Floats, Ints, NGrams, select

# Quantised or rounded probabilities of a history may add up to a little more than one.
_MIN_MASS = 1e-10


def prune(model: ArpaModel, threshold: float) -> ArpaModel:
    """Remove the n-grams that change the perplexity of a model least (Stolcke, 1998).

    An n-gram is removed if that increases the perplexity of the model, under its own
    distribution, by less than the factor 1 + ``threshold``, and if no longer n-gram that is kept
    has it as its history. Unigrams are kept. The back-off weights are computed anew.

    Parameters
    ----------
    model : ArpaModel
    threshold : float
        Relative change in perplexity, such as 1e-8 (little pruning) or 3e-7 (much). With 0 only
        n-grams whose removal lowers the perplexity are removed, and back-off weights are
        normalised.

    Notes
    -----
    A. Stolcke, "Entropy-based pruning of backoff language models", DARPA Broadcast News
    Transcription and Understanding Workshop, 1998, equations 3 to 7.
    """
    if not 0 <= threshold < np.inf:
        raise LanguageModelError(f"pruning threshold {threshold} is negative or not a number")
    keep: list[Bools] = [np.ones(count, dtype=bool) for count in model.counts]
    for n in range(model.order, 1, -1):
        change = _perplexity_change(model, n)
        needed = np.zeros(model.counts[n - 1], dtype=bool)
        if n < model.order:
            longer = model.orders[n]
            needed[longer.history[keep[n]]] = True
        keep[n - 1] = needed | (change >= threshold)
    return normalise(select(model, keep))


def normalise(model: ArpaModel) -> ArpaModel:
    """Compute every back-off weight anew, so that each history's probabilities add up to one.

    α(h) = (1 - Σ_w P(w|h)) / (1 - Σ_w P(w|h')), both sums over the words listed after h. If all
    words are listed, α(h) is undefined and becomes the numerator.
    """
    result = ArpaModel(model.words, model.orders[:1])
    for n in range(2, model.order + 1):
        table, lower = model.orders[n - 1], result.orders[-1]
        # the back-offs of order n-2 are final by now, so P(w|h') is too
        log_lower = result.log_prob(_without_first_word(result, table, n))
        unseen, unseen_lower = _unseen_mass(table, log_lower, len(lower))
        ratio = unseen / np.where(unseen_lower > _MIN_MASS, unseen_lower, 1.0)
        continued = np.bincount(table.history, minlength=len(lower)) > 0
        log_backoff = np.where(continued, np.log(ratio), 0.0)
        lower = NGrams(lower.history, lower.word, lower.log_prob, log_backoff)
        result = ArpaModel(model.words, (*result.orders[:-1], lower, table))
    return result


def _perplexity_change(model: ArpaModel, n: int) -> Floats:
    """Relative increase of the perplexity if only this n-gram is removed, for each of order n."""
    table, lower = model.orders[n - 1], model.orders[n - 2]
    h, log_p = table.history, table.log_prob
    log_lower = model.log_prob(_without_first_word(model, table, n))
    unseen, unseen_lower = _unseen_mass(table, log_lower, len(lower))
    p, q = np.exp(log_p), np.exp(log_lower)
    log_backoff = np.log(unseen[h] + p) - np.log(unseen_lower[h] + q)  # α'(h) after removal
    entropy = -np.exp(_log_joint(model, n - 1)[h]) * (
        p * (log_lower + log_backoff - log_p) + unseen[h] * (log_backoff - lower.log_backoff[h])
    )
    change: Floats = np.expm1(entropy)
    return change


def _log_joint(model: ArpaModel, n: int) -> Floats:
    """Log P(h) of the n-grams of order n, by the chain rule."""
    result = model.orders[0].log_prob.copy()
    if BOS in model.word_ids and EOS in model.word_ids:
        # as many sentences begin as end, and P(<s>) is zero since it is never predicted
        result[model.word_ids[BOS]] = result[model.word_ids[EOS]]
    for table in model.orders[1:n]:
        result = result[table.history] + table.log_prob
    return result


def _without_first_word(model: ArpaModel, table: NGrams, n: int) -> Ints:
    """Word ids of the n-grams of a table of order n, without their first words."""
    return np.column_stack([model.spell(n - 1, table.history), table.word])[:, 1:]


def _unseen_mass(table: NGrams, log_lower: Floats, num_histories: int) -> tuple[Floats, Floats]:
    """1 - Σ P(w|h) and 1 - Σ P(w|h') over the words listed after each history."""
    unseen = 1.0 - table.sums(np.exp(table.log_prob), num_histories)
    unseen_lower = 1.0 - table.sums(np.exp(log_lower), num_histories)
    return np.maximum(unseen, _MIN_MASS), np.maximum(unseen_lower, _MIN_MASS)
