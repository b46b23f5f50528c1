"""Entropy pruning against the relative entropy that it is defined by, and against kaldingram."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kaldingram.prune import ArpaParser
from kaldingram.prune import prune as kaldingram_prune

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError
from tests.support.examples import examples
from tests.support.reference_lm import listed, log_prob, predicted_words, sums_to_one, texts


def perplexity_change(model: lm.ArpaModel, gram: tuple[str, ...]) -> float:
    """Perplexity after over before removing one n-gram, minus one: Stolcke's equation 3.

    Only the distribution after one history changes, so the sum runs over all words after it.
    """
    ngrams = listed(model)
    words = predicted_words(model)
    history = gram[:-1]

    def distribution(entries):
        return {w: math.exp(log_prob(entries, w, history, model.order)) for w in words}

    without = {g: numbers for g, numbers in ngrams.items() if g != gram}
    kept = [w for w in words if (*history, w) in without]
    seen = sum(math.exp(without[(*history, w)][0]) for w in kept)
    lower = sum(math.exp(log_prob(without, w, history[1:], model.order)) for w in kept)
    without[history] = (without[history][0], math.log((1 - seen) / (1 - lower)))
    before, after = distribution(ngrams), distribution(without)
    divergence = sum(before[w] * math.log(before[w] / after[w]) for w in words)
    context = 0.0
    for i, word in enumerate(history):
        # a sentence begins as often as one ends
        word = lm.EOS if (i, word) == (0, lm.BOS) else word
        context += log_prob(ngrams, word, history[:i], model.order)
    return math.expm1(math.exp(context) * divergence)


def some_model(seed: int, order: int) -> lm.ArpaModel:
    source = random.Random(seed)
    sentences = [source.choices("abcdef", range(1, 7), k=source.randint(1, 7)) for _ in range(40)]
    return lm.estimate(sentences, order)


@pytest.mark.parametrize("threshold", [1e-4, 1e-3, 5e-3])
@pytest.mark.parametrize("order", [2, 3])
def test_criterion(order, threshold):
    model = some_model(order, order)
    kept = set(listed(lm.prune(model, threshold)))
    removed = 0
    for gram in listed(model):
        if len(gram) == 1:
            assert gram in kept
            continue
        needed = any(len(longer) > len(gram) and longer[: len(gram)] == gram for longer in kept)
        helps = perplexity_change(model, gram) >= threshold
        assert (gram in kept) == (helps or needed), gram
        removed += gram not in kept
    assert removed > 0


@given(texts(), st.integers(1, 4), st.sampled_from([0, 1e-4, 1e-2, 1.0]))
@examples(30)
def test_pruned_models_are_models(sentences, order, threshold):
    model = lm.estimate(sentences, order)
    pruned = lm.prune(model, threshold)
    before, after = listed(model), listed(pruned)
    assert after.keys() <= before.keys()
    assert all(after[gram][0] == before[gram][0] for gram in after)
    assert sums_to_one(pruned, tolerance=1e-6)


def test_everything_can_go():
    model = some_model(1, 3)
    pruned = lm.prune(model, 1e9)
    assert pruned.counts == model.counts[:1]


def test_agrees_with_kaldingram(tmp_path):
    # It weighs bigrams after <s> by P(<s>) itself instead of P(</s>), so these may differ.
    model = some_model(5, 3)
    model.write(tmp_path / "lm.arpa")
    (theirs,) = ArpaParser().loadf(tmp_path / "lm.arpa", encoding="utf-8")
    kaldingram_prune(theirs, 1e-3, 1)
    ours = listed(lm.prune(model, 1e-3))
    expected = {
        (*h, w): p
        for table in theirs._ngrams.values()
        for h, after in table.items()
        for w, p in after.items()
    }

    def comparable(grams):
        return {gram for gram in grams if not (len(gram) == 2 and gram[0] == lm.BOS)}

    assert comparable(ours) == comparable(expected)
    assert 0 < len(ours) < sum(model.counts)
    for gram in comparable(ours):
        assert ours[gram][0] == pytest.approx(expected[gram] * math.log(10), abs=1e-5)
        backoff = theirs._log_bo(gram)
        if backoff is not None and gram != (lm.BOS,):
            assert ours[gram][1] == pytest.approx(backoff * math.log(10), abs=1e-4)


@given(texts(), st.integers(2, 4))
@examples(20)
def test_normalising_finds_the_weights_of_a_normalised_model(sentences, order):
    model = lm.estimate(sentences, order)
    again = lm.normalise(model)
    ngrams, words = listed(model), predicted_words(model)
    for gram, (_, backoff) in listed(again).items():
        # where every word follows, the back-off weight is arbitrary
        if any((*gram, word) not in ngrams for word in words):
            assert backoff == pytest.approx(ngrams[gram][1], abs=1e-6)


@pytest.mark.parametrize("threshold", [-1e-9, math.inf, math.nan])
def test_threshold_is_a_small_number(threshold):
    with pytest.raises(LanguageModelError):
        lm.prune(some_model(1, 2), threshold)


def test_probabilities_that_add_up_to_more_than_one():
    # quantised models have such histories; nothing may become NaN
    model = some_model(2, 2)
    high = lm.NGrams(
        *(getattr(model.orders[1], name) for name in ("history", "word")),
        np.maximum(model.orders[1].log_prob, -0.5),
        model.orders[1].log_backoff,
    )
    pruned = lm.prune(lm.ArpaModel(model.words, (model.orders[0], high)), 1e-4)
    assert all(np.isfinite(table.log_backoff).all() for table in pruned.orders)
