"""L∘G from prefix trees, against OpenFst's composition, determinization and minimisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import lm
from asr_hlg.errors import GraphError
from asr_hlg.fst import symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile as stages
from asr_hlg.graph import compile_lg
from asr_hlg.graph import prefix_tree as tree
from asr_hlg.graph.meter import Meter
from asr_hlg.lexicon import Lexicon
from tests.support.brute_force import random_string, transductions
from tests.support.examples import examples

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


@examples(100)
@given(st.data())
def test_all_paths_are_those_of_openfst(data):
    lexicon = data.draw(lexicons())
    G = data.draw(grammars(lexicon))
    back_off = lexicon.words["#0"]
    if not tree.is_back_off_acceptor(G, back_off):
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


def toy(entries: list[tuple], sentences: list[str], **options) -> tuple[Lexicon, Arcs, Arcs]:
    """A lexicon, the G of a bigram model, and L∘G."""
    lexicon = Lexicon(entries, **options)
    G, _ = lm.to_arcs(lm.estimate(sentences, 2), lexicon.words)
    return lexicon, G, tree.compose(lexicon, G)


ENTRIES = [("cat", tuple("kat")), ("cad", tuple("kad")), ("hat", tuple("hat")), ("a", ("a",))]
SENTENCES = ["cat a hat", "hat a cat", "a cad a cat"]


def leaving(lg: Arcs) -> dict[int, list[tuple]]:
    rows = zip(lg.src, lg.ilabel, lg.olabel, lg.dst, lg.score.round(4), strict=True)
    found: dict[int, list[tuple]] = {state: [] for state in range(lg.num_states)}
    for src, *arc in rows:
        found[int(src)].append(tuple(float(x) for x in arc))
    return found


@pytest.mark.parametrize("silence", [None, "sil"])
def test_it_is_minimal_and_reads_nothing_only_to_back_off(silence):
    lexicon, G, lg = toy(ENTRIES, SENTENCES, silence=silence)
    arcs = leaving(lg)
    inside = [tuple(sorted(arcs[s])) for s in arcs if not np.isfinite(lg.final[s])]
    assert len(inside) == len(set(inside))
    reads_nothing = lg.ilabel == 0
    assert (lg.olabel[reads_nothing] == 0).all()
    smallest = by_openfst(lexicon, G)
    assert lg.num_states <= smallest.num_states
    assert lg.num_arcs <= smallest.num_arcs


def test_scores_come_as_early_as_shared_beginnings_allow():
    """Behind the first arc, what a word still costs is its share among those still possible."""
    lexicon, _, lg = toy(ENTRIES, SENTENCES)
    arcs, tokens = leaving(lg), lexicon.tokens
    for state, row in arcs.items():
        if np.isfinite(lg.final[state]) or any(label == 0 for label, *_ in row):
            continue  # a root
        assert sum(np.exp(score) for *_, score in row) == pytest.approx(1, abs=1e-3)
    k = [row for row in arcs[0] if row[0] == tokens["k"]]
    assert [word for _, word, _, _ in k] in ([0.0], [float(lexicon.words["cat"])])


def test_a_g_that_tree_composition_does_not_fit_goes_to_openfst():
    lexicon, G, _ = toy(ENTRIES, SENTENCES)
    back_off = lexicon.words["#0"]
    assert tree.is_back_off_acceptor(G, back_off)
    twice = Arcs(
        *(np.append(c, c[:1]) for c in (G.src, G.dst, G.ilabel, G.olabel, G.score)), G.final
    )
    assert not tree.is_back_off_acceptor(twice, back_off)
    assert not tree.is_back_off_acceptor(G.take(np.flatnonzero(G.ilabel != back_off)), back_off)
    silent = replace(G, ilabel=np.where(np.arange(G.num_arcs) == 0, 0, G.ilabel))
    assert not tree.is_back_off_acceptor(silent, back_off)
    other = replace(G, olabel=np.where(G.olabel == 1, 2, G.olabel))
    assert not tree.is_back_off_acceptor(other, back_off)


def test_a_g_without_a_word_of_l_is_empty():
    lexicon = Lexicon(ENTRIES)
    back_off, unknown = lexicon.words["#0"], lexicon.words["#0"] + 1
    src, dst, read, write = np.array(
        [(0, 1, unknown, unknown), (0, 2, back_off, 0), (2, 1, unknown, unknown)], dtype=np.int32
    ).T
    final = np.array([-np.inf, 0, -np.inf], dtype=np.float32)
    G = Arcs(src, dst, read, write, np.zeros(3, dtype=np.float32), final)
    with pytest.raises(GraphError, match="empty"):
        compile_lg(lexicon, G, Meter())
