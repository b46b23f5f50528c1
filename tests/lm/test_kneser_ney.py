"""Kneser–Ney estimation against hand computation, its equations, and kaldingram."""

from __future__ import annotations

import math
import random
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kaldingram.train import NgramCounts

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError
from tests.support.examples import examples
from tests.support.reference_lm import (
    kneser_ney,
    listed,
    log_prob,
    predicted_words,
    sums_to_one,
    texts,
)

# The three sentences of Chen and Goodman's worked example (TR-10-98, section 2).
CHEN_GOODMAN = ["JOHN READ MOBY DICK", "MARY READ A DIFFERENT BOOK", "SHE READ A BOOK BY CHER"]


def probability(model: lm.ArpaModel, *ngram: str) -> float:
    ids = [model.word_ids.get(word, -1) for word in ngram]
    return math.exp(model.log_prob(np.array([ids]))[0])


def test_bigram_computed_by_hand():
    # bigrams <s>a 3, ab 2, b</s> 2, ac 1, c</s> 1: n1 = n2 = 2, D = 2/6;
    # left contexts a 1, b 1, c 1, </s> 2: n1 = 3, n2 = 1, D = 3/5, all 4 words seen
    model = lm.estimate(["a b", "a b", "a c"], order=2, modified=False)
    assert model.counts == (5, 5)
    expected = {
        ("a",): F(1, 5),
        ("b",): F(1, 5),
        ("c",): F(1, 5),
        ("</s>",): F(2, 5),
        ("a", "b"): F(5, 3) / 3 + F(2, 9) * F(1, 5),
        ("a", "c"): F(2, 3) / 3 + F(2, 9) * F(1, 5),
        ("<s>", "a"): F(8, 3) / 3 + F(1, 9) * F(1, 5),
        ("b", "</s>"): F(5, 3) / 2 + F(1, 6) * F(2, 5),
        ("c", "</s>"): F(2, 3) / 1 + F(1, 3) * F(2, 5),
        ("a", "a"): F(2, 9) * F(1, 5),  # not listed: backs off
        ("a", "</s>"): F(2, 9) * F(2, 5),
    }
    for ngram, value in expected.items():
        assert probability(model, *ngram) == pytest.approx(float(value)), ngram


def test_chen_and_goodmans_sentences():
    # 17 distinct bigrams, 16 of them seen once and READ A twice: D = 16/18. All words of the
    # vocabulary occur, so their unigram probability is N1+(· w) / N1+(· ·), as in equation 24.
    model = lm.estimate(CHEN_GOODMAN, order=2, modified=False)
    assert probability(model, "READ") == pytest.approx(3 / 17)  # after JOHN, MARY and SHE
    assert probability(model, "BOOK") == pytest.approx(2 / 17)
    assert probability(model, "CHER") == pytest.approx(1 / 17)
    steps = {
        ("<s>", "JOHN"): F(1, 9) / 3 + F(8, 9) * F(1, 17),
        ("JOHN", "READ"): F(1, 9) + F(8, 9) * F(3, 17),
        ("READ", "A"): (2 - F(8, 9)) / 3 + F(16, 27) * F(1, 17),
        ("A", "BOOK"): F(1, 9) / 2 + F(8, 9) * F(2, 17),
        ("BOOK", "</s>"): F(1, 9) / 2 + F(8, 9) * F(3, 17),
    }
    for ngram, value in steps.items():
        assert probability(model, *ngram) == pytest.approx(float(value)), ngram
    whole = lm.perplexity(model, ["JOHN READ A BOOK"])
    assert whole.log_prob == pytest.approx(math.log(math.prod(steps.values())))
    assert whole.num_predicted == 5


def zipf_text(seed: int, num_sentences: int) -> list[tuple[str, ...]]:
    """Sentences whose counts of counts give modified smoothing its own discounts."""
    source = random.Random(seed)
    words = [f"w{i}" for i in range(30)]
    weights = [1 / (i + 1) for i in range(30)]
    return [
        tuple(source.choices(words, weights, k=source.randint(1, 8))) for _ in range(num_sentences)
    ]


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equals_the_equations(order, modified):
    sentences = zipf_text(seed=order, num_sentences=60)
    model = lm.estimate(sentences, order, modified=modified, vocabulary=["w1", "never"])
    reference = kneser_ney(sentences, order, modified, extra=("never",))
    for ngram, (found, _) in listed(model).items():
        if ngram != (lm.BOS,):
            assert math.exp(found) == pytest.approx(reference(ngram[-1], ngram[:-1])), ngram
    assert probability(model, "never") > 0


@given(texts(), st.integers(1, 4), st.booleans())
@examples(40)
def test_small_texts(sentences, order, modified):
    model = lm.estimate(sentences, order, modified=modified)
    reference = kneser_ney(sentences, order, modified)
    ngrams = listed(model)
    assert sums_to_one(model)
    for history in [gram for gram in ngrams if len(gram) < order and gram[-1] != lm.EOS]:
        for word in predicted_words(model):
            found = log_prob(ngrams, word, history, model.order)
            assert math.exp(found) == pytest.approx(reference(word, history))


def test_modified_discounts_are_not_the_fallback():
    sentences = zipf_text(seed=7, num_sentences=200)
    plain = lm.estimate(sentences, 2, modified=False)
    modified = lm.estimate(sentences, 2, modified=True)
    gap = np.abs(plain.orders[1].log_prob - modified.orders[1].log_prob)
    assert gap.max() > 0.01
    # three discounts fit the very text they come from no worse than chance, and normalise
    assert sums_to_one(modified)


def test_discounted_terms_equal_kaldingrams():
    # Its models back off instead of interpolating, but (c - D) / c(h) is the same number.
    sentences = zipf_text(seed=3, num_sentences=80)
    theirs = NgramCounts(2)
    for sentence in sentences:
        theirs.add_raw_counts_from_line(" ".join(sentence))
    theirs.cal_discounting_constants()
    theirs.cal_f()
    ours = lm.estimate(sentences, 2, modified=False)
    ngrams = listed(ours)
    checked = 0
    for history, counts in theirs.counts[1].items():
        for word, value in counts.word_to_f.items():
            gamma = math.exp(ngrams[history][1])
            expected = value + gamma * math.exp(ngrams[(word,)][0])
            assert math.exp(ngrams[(*history, word)][0]) == pytest.approx(expected)
            checked += 1
    assert checked == ours.counts[1]


def test_strings_lists_and_empty_sentences():
    by_string = lm.estimate(["grüß dich", "", "  ", "grüß gott"], 2)
    by_list = lm.estimate(iter([["grüß", "dich"], ("grüß", "gott")]), 2)
    assert by_string.words == by_list.words == (lm.BOS, lm.EOS, "dich", "gott", "grüß")
    for ours, theirs in zip(by_string.orders, by_list.orders, strict=True):
        np.testing.assert_array_equal(ours.log_prob, theirs.log_prob)


def test_order_beyond_the_text():
    assert lm.estimate(["a"], order=5).order == 3  # <s> a </s>


@pytest.mark.parametrize(
    ("sentences", "order"),
    [
        ([], 2),
        (["", " "], 2),
        (["a"], 0),
        (["<s> a"], 2),
        ([["a", "</s>"]], 2),
        ([["a b"]], 2),
        ([[""]], 2),
        ("a b", 2),
    ],
)
def test_refused(sentences, order):
    with pytest.raises(LanguageModelError):
        lm.estimate(sentences, order)
