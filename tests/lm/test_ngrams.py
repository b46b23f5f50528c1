"""Tables of n-grams against dictionaries and the definition of backing off."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import lm
from asr_hlg.lm.ngrams import BadNGram, build, select
from tests.support.examples import examples
from tests.support.reference_lm import listed, log_prob, texts


@given(texts(), st.integers(1, 4))
@examples(30)
def test_look_up_and_backing_off(sentences, order):
    model = lm.estimate(sentences, order)
    ngrams = listed(model)
    for n in range(1, model.order + 1):
        # every combination of words, known or not
        ids = np.array(list(product(range(-1, len(model.words)), repeat=n)))[:5000]
        rows = model.find(ids)
        spelt = model.spell(n, np.maximum(rows, 0))
        found = model.log_prob(ids)
        for gram, row, back, score in zip(ids.tolist(), rows, spelt.tolist(), found, strict=True):
            names = tuple("?" if i < 0 else model.words[i] for i in gram)
            assert (row >= 0) == (names in ngrams)
            assert row < 0 or back == gram
            assert score == pytest.approx(log_prob(ngrams, names[-1], names[:-1], model.order))


def test_millions_of_words_do_not_overflow():
    # (history, word) as one number passes 2^31 long before the tables are large
    size = 60_000
    words = [f"w{i}" for i in range(size)]
    unigrams, bigrams = np.arange(size)[:, None], np.array([[size - 1, size - 1], [0, 1]])
    model = build(words, [unigrams, bigrams], [np.zeros(size), np.zeros(2)], [np.zeros(size)] * 2)
    assert model.spell(2).tolist() == [[0, 1], [size - 1, size - 1]]
    assert model.find(bigrams).tolist() == [1, 0]


def test_order_of_the_input_does_not_matter():
    model = lm.estimate(["a b c", "b c", "c a b"], 3)
    shuffle = [np.random.default_rng(n).permutation(count) for n, count in enumerate(model.counts)]
    shuffle[0] = np.arange(model.counts[0])
    again = build(
        model.words,
        [model.spell(n)[p] for n, p in enumerate(shuffle, start=1)],
        [table.log_prob[p] for table, p in zip(model.orders, shuffle, strict=True)],
        [table.log_backoff[p] for table, p in zip(model.orders, shuffle, strict=True)],
    )
    assert listed(again) == listed(model)


def test_refuses_duplicates_and_orphans():
    one, two = np.zeros(2), np.zeros(2)
    unigrams = np.array([[0], [1]])
    with pytest.raises(BadNGram, match="'a b' is listed twice") as bad:
        build(["a", "b"], [unigrams, np.array([[0, 1], [0, 1]])], [one, two], [one, two])
    assert (bad.value.order, bad.value.row) == (2, 1)
    trigram = np.array([[1, 1, 0]])
    bigrams = np.array([[0, 1], [1, 0]])
    zeros = [one, two, np.zeros(1)]
    with pytest.raises(BadNGram, match="'b b a' has a history that is not listed"):
        build(["a", "b"], [unigrams, bigrams, trigram], zeros, zeros)


@given(texts(), st.randoms())
@examples(30)
def test_select_keeps_what_it_is_told(sentences, source):
    model = lm.estimate(sentences, 3)
    keep = [np.ones(model.counts[0], dtype=bool)]
    for table in model.orders[1:]:
        chosen = np.array([source.random() < 0.5 for _ in range(len(table))], dtype=bool)
        keep.append(chosen & keep[-1][table.history])
    wanted = {
        tuple(model.words[i] for i in ids)
        for n, kept in enumerate(keep, start=1)
        for ids in model.spell(n)[kept]
    }
    before = listed(model)
    assert listed(select(model, keep)) == {gram: before[gram] for gram in wanted}
