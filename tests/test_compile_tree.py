"""L∘G from prefix trees, against OpenFst's composition, determinization and minimisation."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import random_string, transductions
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_hlg import lm, symbols
from asr_hlg.arcs import Arcs
from asr_hlg.graph import compile as stages
from asr_hlg.graph import tree
from asr_hlg.graph.meter import Meter
from asr_hlg.lexicon import Lexicon

PHONES = "abc"
WORDS = "uvwxyz"


def by_openfst(lexicon: Lexicon, G: Arcs) -> Arcs:
    lg = stages.compose_lg(lexicon.arcs(disambig=True), G, Meter())
    return stages.remove_disambig(lg, symbols.first_disambig(lexicon.tokens))


@st.composite
def lexicons(draw) -> Lexicon:
    """Homophones, prefixes, words with several pronunciations of different probability."""
    entries = draw(
        st.lists(
            st.tuples(
                st.sampled_from(WORDS),
                st.lists(st.sampled_from(PHONES), min_size=1, max_size=4).map(tuple),
                st.sampled_from([1.0, 0.5, 0.3]),
            ),
            min_size=1,
            max_size=10,
            unique_by=lambda entry: entry[:2],
        )
    )
    return Lexicon(
        entries,
        silence=draw(st.sampled_from([None, "sil"])),
        silence_prob=0.3,
        position_dependent=draw(st.booleans()),
    )


@st.composite
def grammars(draw, lexicon: Lexicon) -> Arcs:
    """G of a bigram or trigram model, perhaps with a word that L lacks."""
    words = sorted({entry.word for entry in lexicon.entries})
    sentence = st.lists(st.sampled_from(words), min_size=1, max_size=4).map(" ".join)
    sentences = draw(st.lists(sentence, min_size=1, max_size=6))
    G, _ = lm.to_arcs(lm.estimate(sentences, draw(st.integers(2, 3))), lexicon.words)
    changed = draw(st.sampled_from([0, *lexicon.words.ids]))
    if draw(st.booleans()) and changed not in (0, lexicon.words["#0"], G.ilabel[0]):
        for label in (G.ilabel, G.olabel):
            label[label == changed] = lexicon.words["#0"] + 1
    return G


def paths(lg: Arcs, tokens: list[int]) -> dict[tuple[int, ...], list[float]]:
    """All readings of some tokens, with the scores of all their paths."""
    return {words: sorted(scores) for words, scores in transductions(lg, tokens, 0).items()}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_all_paths_are_those_of_openfst(data):
    lexicon = data.draw(lexicons())
    G = data.draw(grammars(lexicon))
    back_off = lexicon.words["#0"]
    if not tree.backs_off(G, back_off):
        assert back_off not in G.ilabel  # every history was that of a whole sentence
        return
    expected, found = by_openfst(lexicon, G), tree.compose(lexicon, G)
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    for one in (expected, found):  # what either reads, the other must read in the same ways
        for _ in range(5):
            labels = random_string(one, random, 12)
            tokens = [label for label in labels or () if label]
            wanted, got = paths(expected, tokens), paths(found, tokens)
            assert wanted.keys() == got.keys()
            for words, scores in wanted.items():
                assert got[words] == pytest.approx(scores, abs=1e-3)
