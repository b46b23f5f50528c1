"""Words added to a compiled graph against the graph that has them from the start."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from asr_hlg import grammar, lm
from asr_hlg.errors import GraphError, LexiconError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.adapt.new_words import with_words
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import decode
from tests.lattice.test_lattice import EVERYTHING, all_paths, random_posteriors
from tests.support.brute_force import log_sum

ENTRIES = [
    ("cat", ("k", "ae", "t")),
    ("at", ("ae", "t")),
    ("a", ("ae",)),
    ("add", ("ae", "d")),
    ("ad", ("ae", "d")),
]
# "cat", "a" and <s> are histories; "at", "add" and "ad" are not, and back off at once.
ARPA = """\\data\\
ngram 1={count}
ngram 2=4

\\1-grams:
-99 <s> -0.3
-1.0 </s>
-0.9 cat -0.2
-0.5 at
-0.8 a -0.4
-0.9 add
-0.7 ad
{more}
\\2-grams:
-0.2 <s> cat
-0.4 cat a
-0.3 a at
-0.6 a </s>

\\end\\
"""
NEW: dict[str, list[tuple[str, ...]]] = {
    "tack": [("t", "ae", "k")],  # begins as no other word does
    "ah": [("ae",)],  # sounds like "a"
    "cad": [("k", "ae", "d"), ("k", "d")],
    "kk": [("k", "k")],
}
TOPOLOGIES = {
    "ctc": lambda n: topology.ctc(n),
    "ctc-modified": lambda n: topology.ctc(n, modified=True),
    "hmm": lambda n: topology.hmm(n - 1, 2, 0.4),
    "chain": lambda n: topology.chain(n - 1, 0.3),
}


def compile_toy(tmp_path, kind="ctc", silence=None, words=(), log_prob=0.0) -> DecodingGraph:
    """The toy model; ``words`` of NEW are in its lexicon and its unigrams."""
    tokens = ["<blk>", *(["SIL"] if silence else []), "ae", "d", "k", "t"]
    entries = [*ENTRIES, *((word, phones) for word in words for phones in NEW[word])]
    lexicon = Lexicon(entries, tokens=tokens, silence=silence, silence_prob=0.3)
    more = "".join(f"{log_prob / math.log(10):.9f} {word}\n" for word in words)
    path = tmp_path / "toy.arpa"
    path.write_text(ARPA.format(count=7 + len(words), more=more))
    G, _ = lm.to_arcs(lm.ArpaModel.read(path), lexicon.words)
    return compile_hlg(TOPOLOGIES[kind](lexicon.num_tokens), lexicon, G)


def scores(graph: DecodingGraph, posteriors, row: int) -> dict[str, tuple[float, float]]:
    """The best path and the sum of all paths of every word sequence, by plain walking."""
    found = all_paths(graph, posteriors, row).items()
    name = graph.word_names
    return {" ".join(name[i] for i in ids): (max(s), log_sum(s)) for ids, s in found}


def token_passing(graph: DecodingGraph, posteriors, row: int) -> dict[str, tuple[float, float]]:
    """The same from the engine that searches L∘G, which is extended by itself."""
    lattice = decode(graph, posteriors, replace(EVERYTHING, engine="tokens"))
    best, total = (
        {path.text: path.score for path in lattice.nbest(100_000, forward)[row]}
        for forward in (False, True)
    )
    return {text: (best[text], total[text]) for text in best}


@pytest.mark.parametrize("silence", [None, "SIL"])
@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_an_extended_graph_equals_one_compiled_with_the_words(tmp_path, kind, silence):
    log_prob = -1.7
    extended = with_words(compile_toy(tmp_path, kind, silence), NEW, log_prob)
    whole = compile_toy(tmp_path, kind, silence, tuple(NEW), log_prob)
    assert extended.columns == whole.columns
    posteriors = random_posteriors(whole, [6, 4, 1], seed=1)
    for row in range(3):
        found, expected = scores(extended, posteriors, row), scores(whole, posteriors, row)
        assert found.keys() == expected.keys()
        for text, pair in expected.items():
            assert found[text] == pytest.approx(pair, abs=1e-4), text
        assert (extended.packed is not None) == (kind == "ctc")
        if extended.packed is not None and expected:
            assert token_passing(extended, posteriors, row) == {
                text: pytest.approx(pair, abs=1e-4) for text, pair in expected.items()
            }
    assert {"tack", "a"} <= expected_words(whole, posteriors)


def expected_words(graph: DecodingGraph, posteriors) -> set[str]:
    return {word for text in scores(graph, posteriors, 0) for word in text.split()}


def test_words_keep_their_ids_and_get_spellings_and_names(tmp_path):
    graph = compile_toy(tmp_path)
    extended = with_words(graph, {"tack": NEW["tack"]})
    assert extended.word_names == [*graph.word_names[:-1], "tack", "#0"]
    assert extended.spellings("tack") == [("t", "ae", "k")]
    assert extended.spellings("cat") == graph.spellings("cat")
    assert extended.lexicon.pronunciations("tack") == NEW["tack"]
    assert "tack" not in graph.words
    assert "tack" not in graph.lexicon


def test_a_new_word_is_by_default_one_among_all(tmp_path):
    graph = compile_toy(tmp_path)  # of five words
    posteriors = random_posteriors(graph, [4])
    found, expected = (
        scores(with_words(graph, NEW, log_prob), posteriors, 0)["tack"]
        for log_prob in (None, math.log(1 / 5))
    )
    assert found == pytest.approx(expected)


def test_the_graph_itself_stays_as_it_was(tmp_path):
    graph = compile_toy(tmp_path)
    before = [graph.fsa.arcs.values().clone(), graph.fsa.phones.clone(), graph.fsa.scores.clone()]
    with_words(graph, NEW)
    after = [graph.fsa.arcs.values(), graph.fsa.phones, graph.fsa.scores]
    assert all(bool((a == b).all()) for a, b in zip(before, after, strict=True))


def test_a_folder_keeps_the_slot(tmp_path):
    graph = compile_toy(tmp_path, silence="SIL")
    graph.save(tmp_path / "graph")
    loaded = with_words(DecodingGraph.load(tmp_path / "graph"), NEW)
    posteriors = random_posteriors(graph, [4])
    found, expected = (scores(g, posteriors, 0) for g in (loaded, with_words(graph, NEW)))
    assert found.keys() == expected.keys()
    assert all(found[text] == pytest.approx(expected[text]) for text in found)


def test_new_words_fit_the_graph(tmp_path):
    graph = compile_toy(tmp_path)
    with pytest.raises(GraphError, match="already: cat"):
        with_words(graph, {"cat": [("k", "ae")]})
    with pytest.raises(LexiconError, match="'z' of word 'zoo'"):
        with_words(graph, {"zoo": [("z", "ae")]})


def test_a_grammar_takes_no_new_words():
    lexicon = Lexicon(ENTRIES, silence="SIL")
    G = grammar.compile("cat at | a add", lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    with pytest.raises(GraphError, match="does not take new words"):
        with_words(graph, {"tack": NEW["tack"]})
