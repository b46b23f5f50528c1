"""Perplexity against the definition and against kaldingram."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from kaldingram.ppl import compute_ppl
from kaldingram.prune import ArpaParser

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError
from tests.support.examples import examples
from tests.support.reference_lm import sentence_log_prob, texts

TEXT = ["the cat sat on the mat", "the hat", "a cat and a hat", "the cat in the hat sat"]


@given(texts(), texts())
@examples(30)
def test_equals_the_definition(train, test):
    # `vocabulary` makes every word known
    model = lm.estimate(train, 3, vocabulary="abcd")
    found = lm.perplexity(model, test)
    expected = sum(sentence_log_prob(model, sentence) for sentence in test)
    predicted = sum(len(sentence) + 1 for sentence in test)
    assert found.log_prob == pytest.approx(expected)
    assert found.num_predicted == predicted
    assert found.value == pytest.approx(math.exp(-expected / predicted))


def test_equals_kaldingrams(tmp_path):
    model = lm.estimate(TEXT, 3)
    model.write(tmp_path / "lm.arpa")
    (theirs,) = ArpaParser().loadf(tmp_path / "lm.arpa", encoding="utf-8")
    test = ["the cat and the hat", "a mat", "sat sat sat"]
    expected = compute_ppl(theirs, test)
    found = lm.perplexity(model, test)
    assert found.value == pytest.approx(expected["ppl"], rel=1e-5)
    assert found.num_words == expected["num_words"]


def test_unknown_words_are_left_out_and_cut_the_history():
    model = lm.estimate(TEXT, 3)
    found = lm.perplexity(model, ["the dog sat"])
    ids = [model.word_ids[word] for word in (lm.BOS, "the", "sat", lm.EOS)]
    bos, the, sat, eos = ids
    steps = [[bos, the], [sat], [sat, eos]]
    # after an unknown word: the unigram of `sat` without back-off; the history of </s> is `sat`
    expected = sum(model.log_prob(_array(step))[0] for step in steps)
    assert found.log_prob == pytest.approx(expected)
    assert (found.num_unknown, found.num_predicted) == (1, 3)


def test_unknown_symbol_of_the_model_counts():
    model = lm.estimate([*TEXT, "<unk> sat"], 2)
    found = lm.perplexity(model, ["the dog sat"])
    assert (found.num_unknown, found.num_predicted) == (1, 4)
    assert found.log_prob == pytest.approx(sentence_log_prob(model, ("the", "<unk>", "sat")))


def test_refused():
    model = lm.estimate(TEXT, 2)
    with pytest.raises(LanguageModelError):
        lm.perplexity(model, [])


def _array(ids):
    import numpy as np

    return np.array([ids])
