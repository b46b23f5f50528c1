"""Compiled graphs accept the strings of OpenFst's composition of the same parts."""

from __future__ import annotations

from dataclasses import replace

import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lexicon import Lexicon
from tests.support.brute_force import Machine, log_sum, random_string, transductions
from tests.support.cat_hat import LEXICON, PHONES, ROUNDING, lexicons, random_bigram
from tests.support.examples import examples
from tests.support.topologies import to_openfst


def openfst_hlg(H, lexicon, G):
    """H∘L∘G by kaldifst, composed and nothing else; input labels are moved up by one."""
    up = kaldifst.compile(to_openfst(H, label_offset=1))
    lg = openfst_compose(lexicon.arcs().to_openfst(), G.to_openfst())
    return Arcs.from_openfst(openfst_compose(up, lg))


def openfst_compose(a, b):
    kaldifst.arcsort(a, "olabel")
    return kaldifst.compose(a, b)


def assert_equal_languages(graph, reference, random, exact_sums=True):
    """Strings from either are accepted by the other, with the same words and scores."""
    ours, theirs = Machine.of(graph.fsa), Machine.of(reference)
    drawn = [random_string(ours, random, 8) for _ in range(20)]
    for walk in (random_string(theirs, random, 12) for _ in range(20)):
        if walk is not None:
            drawn.append([label - 1 for label in walk if label > 0])
    strings = {tuple(labels) for labels in drawn if labels is not None}
    for labels in strings:
        got = transductions(ours, labels)
        expected = transductions(theirs, [label + 1 for label in labels], epsilon=0)
        assert got.keys() == expected.keys() != set()
        for words in expected:
            assert max(got[words]) == pytest.approx(max(expected[words]), abs=ROUNDING)
            if exact_sums:
                assert log_sum(got[words]) == pytest.approx(log_sum(expected[words]), abs=ROUNDING)
    return len(strings)


TOPOLOGIES = {
    "ctc": lambda num_tokens: topology.ctc(num_tokens),
    "modified": lambda num_tokens: topology.ctc(num_tokens, modified=True),
    "hmm": lambda num_tokens: topology.hmm(num_tokens - 1, 2, skip=0.1),
    "chain": lambda num_tokens: topology.chain(num_tokens - 1),
}


@pytest.mark.parametrize("topo", TOPOLOGIES)
def test_compiled_graph_is_openfsts_for_cat_and_hat(topo):
    H = TOPOLOGIES[topo](LEXICON.num_tokens)
    random = np.random.default_rng(2)
    G = random_bigram(LEXICON, random).arcs(LEXICON.words)
    graph = compile_hlg(H, LEXICON, G)
    assert assert_equal_languages(graph, openfst_hlg(H, LEXICON, G), random) > 5


@examples(40)
@given(lexicons, st.sampled_from(sorted(TOPOLOGIES)), st.booleans(), st.integers(0, 10**6))
def test_compiled_graph_is_openfsts_for_any_lexicon(lexicon, topo, silence, seed):
    random = np.random.default_rng(seed)
    if silence:
        lexicon = Lexicon(
            [entry[:3] for entry in lexicon.entries],
            tokens=["<blk>", "a", "b", "SIL"],
            silence="SIL",
            silence_prob=0.3,
        )
    H = TOPOLOGIES[topo](lexicon.num_tokens)
    G = random_bigram(lexicon, random).arcs(lexicon.words)
    graph = compile_hlg(H, lexicon, G)
    assert_equal_languages(graph, openfst_hlg(H, lexicon, G), random)


@pytest.mark.parametrize("topo", TOPOLOGIES)
def test_without_a_grammar_any_word_may_follow_any(topo):
    H = TOPOLOGIES[topo](LEXICON.num_tokens)
    loop = np.zeros(3, dtype=np.int32)
    words = np.array([LEXICON.words[word] for word in PHONES], dtype=np.int32)
    zero = np.zeros(3, dtype=np.float32)
    G = Arcs(loop, loop, words, words, zero, zero[:1])
    random = np.random.default_rng(6)
    assert assert_equal_languages(compile_hlg(H, LEXICON), openfst_hlg(H, LEXICON, G), random) > 3


def back_off_bigram(table):
    """A G with back-off arcs: a word is reached by its bigram or through state 2."""
    cat, hat, pause = table["cat"], table["hat"], table["#0"]
    arcs = [
        (0, 1, cat, 0.6), (0, 2, pause, 0.4),
        (1, 0, hat, 0.5), (1, 2, pause, 0.3),
        (2, 1, cat, 0.2), (2, 0, hat, 0.3), (2, 0, table["and"], 0.4),
    ]  # fmt: skip
    src, dst, label, probability = (np.array(column) for column in zip(*arcs, strict=True))
    src, dst, label = (column.astype(np.int32) for column in (src, dst, label))
    final = np.log([0.1, 0.2, 0.1]).astype(np.float32)
    words = np.where(label == pause, 0, label)
    return Arcs(src, dst, label, words, np.log(probability).astype(np.float32), final)


@pytest.mark.parametrize("topo", TOPOLOGIES)
def test_compiled_graph_with_back_off_is_openfsts(topo):
    G = back_off_bigram(LEXICON.words)
    H = TOPOLOGIES[topo](LEXICON.num_tokens)
    graph = compile_hlg(H, LEXICON, G)
    reference = openfst_hlg(H, LEXICON, replace(G, ilabel=G.olabel))
    random = np.random.default_rng(4)
    # A bigram and its back-off may end in one arc, the better of the two: sums may differ.
    assert assert_equal_languages(graph, reference, random, exact_sums=False) > 5
