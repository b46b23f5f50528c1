"""Decoding finds the best word sequence of all, which is found by trying each."""

from __future__ import annotations

import itertools
import math

import k2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.graph import compile_hlg, topology
from tests.support.brute_force import ctc_alignments, hmm_alignments, log_sum, path_scores
from tests.support.cat_hat import (
    LEXICON,
    ROUNDING,
    Bigram,
    best_score,
    intersect,
    lexicons,
    random_bigram,
    random_log_probs,
    total_score,
)
from tests.support.examples import examples


def word_sequences(words, longest):
    for length in range(longest + 1):
        yield from itertools.product(words, repeat=length)


def sentence_scores(words, entries, log_probs, topo, language):
    """log P(A|S) P(S|W) P(W) of every alignment and pronunciation of a word sequence.

    ``entries`` maps words to ``[(phone ids, probability), …]``, ``language`` is log P(W).
    """
    scores = []
    for choice in itertools.product(*(entries[word] for word in words)):
        phones = [phone for pronunciation, _ in choice for phone in pronunciation]
        prior = language + sum(math.log(probability) for _, probability in choice)
        if topo == "ctc":
            paths, structure = ctc_alignments(phones, len(log_probs)), 0.0
        else:
            # One state a phone: every frame either repeats the state or leaves it.
            paths = [pdfs for pdfs, _ in hmm_alignments(phones, len(log_probs))]
            structure = len(log_probs) * math.log(0.5)
        scores += (path_scores(log_probs, paths) + structure + prior).tolist()
    return scores


def decoded_words(path, table):
    return tuple(table[word] for word in path.aux_labels.values.tolist() if word > 0)


def assert_decodes_to_the_argmax(lexicon, bigram, topo, log_probs, longest):
    entries = {word: [] for word in bigram.words}
    for word, phones, probability, _, _ in lexicon.entries:
        entries[word].append(([lexicon.tokens[phone] for phone in phones], probability))
    scores = {
        words: sentence_scores(words, entries, log_probs.numpy(), topo, bigram.log_prob(words))
        for words in word_sequences(bigram.words, longest)
    }
    scores = {words: found for words, found in scores.items() if found}
    H = (
        topology.ctc(lexicon.num_tokens)
        if topo == "ctc"
        else topology.hmm(lexicon.num_tokens - 1, 1)
    )
    lattice = intersect(compile_hlg(H, lexicon, bigram.arcs(lexicon.words)), log_probs)
    if not scores:
        assert lattice.num_arcs == 0
        return
    viterbi = {words: max(found) for words, found in scores.items()}
    best = max(viterbi.values())
    assert best_score(lattice).item() == pytest.approx(best, abs=ROUNDING)
    winner = decoded_words(k2.shortest_path(lattice, use_double_scores=True), lexicon.words)
    # Homophones may tie; whichever wins must score as the brute-force winner does.
    assert viterbi[winner] == pytest.approx(best, abs=ROUNDING)
    forward = log_sum(score for found in scores.values() for score in found)
    assert total_score(lattice).item() == pytest.approx(forward, abs=ROUNDING)


@pytest.mark.parametrize("topo", ["ctc", "hmm"])
@pytest.mark.parametrize("num_frames", [6, 9, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_best_path_is_the_argmax_over_all_sentences_of_cat_and_hat(topo, num_frames, seed):
    table = np.random.default_rng(seed).dirichlet(np.ones(4), size=4)
    bigram = Bigram(table, ["cat", "and", "hat"])
    log_probs = random_log_probs(num_frames, 7, seed, sharpness=3)
    # Three phones a word: twelve frames hold four words and no more.
    assert_decodes_to_the_argmax(LEXICON, bigram, topo, log_probs, longest=4)


@examples(40)
@given(lexicons, st.sampled_from(["ctc", "hmm"]), st.integers(1, 4), st.integers(0, 10**6))
def test_best_path_is_the_argmax_for_any_lexicon_and_bigram(lexicon, topo, num_frames, seed):
    """Homophones, prefixes, words of one phone, doubled phones; four frames hold four words."""
    bigram = random_bigram(lexicon, np.random.default_rng(seed))
    log_probs = random_log_probs(num_frames, 3, seed)
    assert_decodes_to_the_argmax(lexicon, bigram, topo, log_probs, longest=4)
