"""Interpolated models against the weighted sum that defines them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError
from tests.support.reference_lm import listed, log_prob, sums_to_one, texts


@given(texts("abc"), texts("bcd"), st.integers(1, 3), st.integers(1, 3), st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_mixes_what_either_lists(left, right, left_order, right_order, weight):
    models = lm.estimate(left, left_order), lm.estimate(right, right_order)
    mixed = lm.interpolate(*models, weight)
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
    mixed = lm.interpolate(news, pets, 0.5)
    test = ["stocks rose", "the dog ran"]
    assert lm.perplexity(mixed, test).num_unknown == 0
    assert lm.perplexity(mixed, test).value < 20


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_weight_is_a_share(weight):
    model = lm.estimate(["a"], 1)
    with pytest.raises(LanguageModelError):
        lm.interpolate(model, model, weight)
