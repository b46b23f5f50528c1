"""Interpolated models against the weighted sum that defines them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError
from tests.support.examples import examples
from tests.support.reference_lm import listed, log_prob, sums_to_one, texts


@given(texts("abc"), texts("bcd"), st.integers(1, 3), st.integers(1, 3), st.floats(0.01, 0.99))
@examples(30)
def test_mixes_what_either_lists(left, right, left_order, right_order, weight):
    models = lm.estimate(left, left_order), lm.estimate(right, right_order)
    mixed = lm.interpolate(models, [weight, 1 - weight])
    parts = [listed(model) for model in models]
    ngrams = listed(mixed)
    assert set(ngrams) == set(parts[0]) | set(parts[1])
    assert sums_to_one(mixed, tolerance=1e-7)
    for gram, (found, _) in ngrams.items():
        if gram == (lm.BOS,):
            continue
        first, second = (
            math.exp(log_prob(part, gram[-1], gram[:-1], model.order))
            for part, model in zip(parts, models, strict=True)
        )
        assert math.exp(found) == pytest.approx(weight * first + (1 - weight) * second)


def test_better_on_a_text_of_both_kinds():
    news = lm.estimate(["stocks fell today", "stocks rose today", "markets fell"], 2)
    pets = lm.estimate(["the cat sat", "the dog sat", "a cat ran"], 2)
    mixed = lm.interpolate([news, pets], [0.5, 0.5])
    test = ["stocks rose", "the dog ran"]
    assert lm.perplexity(mixed, test).num_unknown == 0
    assert lm.perplexity(mixed, test).value < 20


def test_three_models():
    models = [lm.estimate([text], 1) for text in ("a b", "b c", "c d d")]
    weights = [0.5, 0.25, 0.25]
    mixed = listed(lm.interpolate(models, weights))
    for word in "abcd":
        parts = [math.exp(log_prob(listed(model), word, (), 1)) for model in models]
        expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        assert math.exp(mixed[(word,)][0]) == pytest.approx(expected)


@given(texts("abc"), texts("bcd"), texts("abcd"))
@examples(20)
def test_no_other_weights_fit_the_text_better(left, right, text):
    models = lm.estimate(left, 1, vocabulary="abcd"), lm.estimate(right, 1, vocabulary="abcd")
    weight, other = lm.tune_weights(models, text)
    assert weight + other == pytest.approx(1)
    # unigram mixtures list every word, so the mixture's perplexity is what was minimised
    best = lm.perplexity(lm.interpolate(models, [weight, 1 - weight]), text).value
    for share in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1):
        mixture = lm.interpolate(models, [share, 1 - share])
        assert best <= lm.perplexity(mixture, text).value * (1 + 1e-4)


def test_tuning_ignores_words_that_no_model_has():
    models = [lm.estimate(["a b"], 2), lm.estimate(["b c"], 2)]
    assert lm.tune_weights(models, ["b c x"])[1] > lm.tune_weights(models, ["a b x"])[1]


def test_one_weight_per_model():
    model = lm.estimate(["a"], 1)
    with pytest.raises(LanguageModelError, match="2 models cannot have 1 weights"):
        lm.interpolate([model, model], [1.0])


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_weight_is_a_share(weight):
    model = lm.estimate(["a"], 1)
    with pytest.raises(LanguageModelError):
        lm.interpolate([model, model], [weight, 1 - weight])
