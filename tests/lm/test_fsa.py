"""G against the back-off model that it came from, and against kaldilm's."""

from __future__ import annotations

import logging
import math
from itertools import product

import k2
import kaldifst
import kaldilm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import lm
from asr_hlg.errors import LanguageModelError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from tests.support.examples import examples
from tests.support.reference_lm import sentence_log_prob, texts

LETTERS = "abcd"
WORDS = symbols.table([symbols.EPS, *LETTERS, "#0"])


def longest_history_score(arcs: Arcs, sentence: tuple[str, ...], words=WORDS) -> float:
    """The score of the path that takes #0 only where the word has no arc."""
    backoff = words["#0"]
    table = {
        (s, label): (d, float(score))
        for s, d, label, score in zip(arcs.src, arcs.dst, arcs.ilabel, arcs.score, strict=True)
    }
    state, total = 0, 0.0
    for word in sentence:
        while (state, words[word]) not in table:
            state, score = table[(state, backoff)]
            total += score
        state, score = table[(state, words[word])]
        total += score
    while not math.isfinite(arcs.final[state]):
        state, score = table[(state, backoff)]
        total += score
    return total + float(arcs.final[state])


def best_score(fst: kaldifst.StdVectorFst, sentence: tuple[str, ...]) -> float:
    """OpenFst's best path for a sentence, #0 being free to take anywhere."""
    line = kaldifst.make_linear_acceptor([WORDS[word] for word in sentence])
    kaldifst.add_self_loops(line, isyms=[WORDS["#0"]], osyms=[WORDS["#0"]])
    kaldifst.arcsort(line, "olabel")
    kaldifst.arcsort(fst, "ilabel")
    return -total_cost(kaldifst.shortest_path(kaldifst.compose(line, fst)))


def total_cost(path: kaldifst.StdVectorFst) -> float:
    ok, _, _, weight = kaldifst.get_linear_symbol_sequence(path)
    assert ok
    return weight.value


def sentences(max_words: int):
    return [s for n in range(1, max_words + 1) for s in product(LETTERS, repeat=n)]


@given(texts(), st.integers(1, 4), st.booleans())
@examples(25)
def test_scores_every_sentence_as_the_model_does(train, order, pruned):
    model = lm.estimate(train, order, vocabulary=LETTERS)
    if pruned:
        # suffixes and whole histories go missing
        model = lm.prune(model, 1e-2)
    arcs, dropped = lm.to_arcs(model, WORDS)
    assert dropped.words == ()
    assert dropped.share == 0
    for sentence in sentences(3):
        found = longest_history_score(arcs, sentence)
        assert found == pytest.approx(sentence_log_prob(model, sentence), abs=1e-4)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_same_weighted_language_as_kaldilm(tmp_path, order):
    model = lm.estimate(["a b", "a b c", "c a", "a a b", "d", "b c a b"], order)
    model.write(tmp_path / "lm.arpa")
    symbols.write(WORDS, tmp_path / "words.txt")
    kaldilm.arpa2fst(
        str(tmp_path / "lm.arpa"),
        str(tmp_path / "G.fst"),
        disambig_symbol="#0",
        read_symbol_table=str(tmp_path / "words.txt"),
    )
    theirs = kaldifst.StdVectorFst.read(str(tmp_path / "G.fst"))
    ours = lm.to_arcs(model, WORDS)[0].to_openfst()
    for sentence in sentences(3):
        assert best_score(ours, sentence) == pytest.approx(best_score(theirs, sentence), abs=1e-4)


def test_shape():
    arcs, _ = lm.to_arcs(lm.estimate(["a b", "a c", "d"], 3), WORDS)
    key = arcs.src.astype(np.int64) * 100 + arcs.ilabel
    assert (np.diff(key) > 0).all()  # sorted, and deterministic with #0 as a label
    backoff = arcs.ilabel == WORDS["#0"]
    assert (arcs.olabel[backoff] == 0).all()
    assert (arcs.olabel[~backoff] == arcs.ilabel[~backoff]).all()
    assert backoff.sum() == arcs.num_states - 1  # every history but the empty one
    reached = {0}
    for _ in range(arcs.num_states):
        reached |= {int(d) for s, d in zip(arcs.src, arcs.dst, strict=True) if int(s) in reached}
    assert len(reached) == arcs.num_states


def test_k2_acceptor_of_an_arpa_file(tmp_path):
    model = lm.estimate(["a b", "a c", "d"], 2)
    model.write(tmp_path / "lm.arpa")
    fsa = lm.read_arpa(tmp_path / "lm.arpa", WORDS)
    assert not hasattr(fsa, "aux_labels")
    assert fsa.labels_sym is WORDS
    assert WORDS["#0"] in fsa.labels.tolist()
    line = k2.linear_fsa([WORDS["a"], WORDS["b"]])
    both = k2.intersect(k2.arc_sort(line), k2.arc_sort(fsa), treat_epsilons_specially=False)
    best = k2.shortest_path(k2.create_fsa_vec([k2.connect(both)]), use_double_scores=True)
    assert float(best.scores.sum()) == pytest.approx(sentence_log_prob(model, ("a", "b")), abs=1e-4)


def test_words_outside_the_vocabulary_are_reported(tmp_path, caplog):
    text = ["a zebra b", "a b", "a yak", "a b"]
    model = lm.estimate(text, 3)
    arcs, dropped = lm.to_arcs(model, WORDS)
    share = [math.exp(model.orders[0].log_prob[model.word_ids[w]]) for w in ("zebra", "yak")]
    assert set(dropped.words) == {"zebra", "yak"}
    assert dropped.share == pytest.approx(sum(share))
    # a zebra, zebra b, a yak, yak </s>; <s> a zebra, a zebra b, zebra b </s>, <s> a yak, a yak </s>
    assert dropped.ngrams == (2, 4, 5)
    known = sentence_log_prob(model, ("a", "b"))
    assert longest_history_score(arcs, ("a", "b")) == pytest.approx(known, abs=1e-4)
    model.write(tmp_path / "lm.arpa")
    with caplog.at_level(logging.WARNING, "asr_hlg.lm"):
        lm.read_arpa(tmp_path / "lm.arpa", WORDS)
    assert "2 1-grams, 4 2-grams, 5 3-grams" in caplog.text
    assert "zebra" in caplog.text


def test_symbols_that_are_no_words_are_no_words():
    arcs, dropped = lm.to_arcs(lm.estimate(["a <eps> #0 b"], 2), WORDS)
    assert set(dropped.words) == {symbols.EPS, "#0"}
    assert 0 not in arcs.ilabel


def test_history_that_is_only_a_weight():
    # <s> has a back-off weight though nothing is listed after it
    ids = {word: i for i, word in enumerate(("<s>", "</s>", "a"))}
    unigrams = np.arange(3)[:, None]
    bigram = np.array([[ids["a"], ids["a"]]])
    half, table = np.log([0.5]), [np.log([1e-40, 0.5, 0.5]), np.log([0.9])]
    weights = [np.array([half[0], 0.0, math.log(0.2)]), np.zeros(1)]
    model = lm.ngrams.build(tuple(ids), [unigrams, bigram], table, weights)
    arcs, _ = lm.to_arcs(model, WORDS)
    found = longest_history_score(arcs, ("a", "a"))
    assert math.exp(found) == pytest.approx(0.5 * 0.5 * 0.9 * 0.2 * 0.5)


def test_refused():
    model = lm.estimate(["a b"], 2)
    with pytest.raises(LanguageModelError, match="#0"):
        lm.to_arcs(model, symbols.table([symbols.EPS, "a", "b"]))
    with pytest.raises(LanguageModelError, match="no word"):
        lm.to_arcs(model, symbols.table([symbols.EPS, "z", "#0"]))
    only = lm.ngrams.build(["a"], [np.array([[0]])], [np.zeros(1)], [np.zeros(1)])
    with pytest.raises(LanguageModelError, match="</s>"):
        lm.to_arcs(only, WORDS)
