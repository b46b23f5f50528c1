"""Searches of transducers against enumeration of all token sequences and alignments."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from asr_hlg import grammar, lm
from asr_hlg.errors import GraphError, ModelError, OptionError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.transducer import TransducerOptions, make_decoder, token_graph, token_lexicon
from tests.support import transducer_reference as reference
from tests.support.transducer_toys import (
    BIGRAMS,
    LEXICON,
    TOKENS,
    bigram_graph,
    features_of,
    lattice_of,
    network_of,
)

NO_BEAM = {"search_beam": 1000.0, "max_active": 100_000, "max_contexts": 10_000}
SEARCHES = [
    TransducerOptions("greedy"),
    TransducerOptions("beam", beam_size=5),
    TransducerOptions("graph", search_beam=8.0),
]


def sequence_scores_of(network, features):
    """Sum over alignments and best alignment of every token sequence, for features ``(T, 12)``."""
    return reference.sequence_scores(
        len(features),
        len(network.config.tokens),
        lambda tokens: reference.table_of(network, features, tokens),
    )


def ids_of(network, path):
    return tuple(network.config.tokens.index(token) for token in path.words)


def test_the_topology_has_one_token_or_blank_a_frame():
    graph = token_graph(TOKENS)
    assert graph.columns == TOKENS
    assert graph.fsa.shape[0] == 2
    assert sorted(graph.fsa.labels.tolist()) == [-1, 0, 1, 2, 3]
    with pytest.raises(OptionError, match="needs ∅ and a token"):
        topology.transducer(1)


@pytest.mark.parametrize("prediction", ["stateless", "lstm"])
def test_greedy_takes_the_most_probable_of_every_frame(prediction):
    network = network_of(prediction)
    features, lengths = features_of(30)
    tokens, score = [], 0.0
    for t in range(30):
        frame = reference.table_of(network, features[0, t : t + 1], tokens)[0, -1]
        score += frame.max()
        if frame.argmax():
            tokens.append(int(frame.argmax()))
    assert len(tokens) > 5
    assert len(set(tokens)) > 1
    [best] = lattice_of(network, features, lengths, options=TransducerOptions("greedy")).best_path()
    assert ids_of(network, best) == tuple(tokens)
    assert best.score == pytest.approx(score, abs=1e-4)
    [narrow] = lattice_of(
        network, features, lengths, options=TransducerOptions("beam", beam_size=1)
    ).best_path()
    assert narrow.tokens == best.tokens
    assert narrow.score == pytest.approx(best.score, abs=1e-4)


@pytest.mark.parametrize("prediction", ["stateless", "lstm"])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_without_limit_sums_over_all_alignments(prediction, seed):
    network = network_of(prediction, TOKENS[:3], seed)
    features, lengths = features_of(4, seed=seed)
    expected = sequence_scores_of(network, features[0])
    assert len(expected) == 31
    options = TransducerOptions("beam", beam_size=31)
    lattice = lattice_of(network, features, lengths, options=options)
    [ranked] = lattice.nbest(31, forward=True)
    assert len(ranked) == 31
    for path in ranked:
        total, best = expected[ids_of(network, path)]
        assert path.score == pytest.approx(total, abs=1e-4)
        assert path.acoustic_score == pytest.approx(best, abs=1e-4)
    assert ranked[0].score == max(path.score for path in ranked)
    # All token sequences together have probability 1.
    assert lattice.forward_score().item() == pytest.approx(0.0, abs=1e-4)


def test_a_beam_merges_alignments_of_the_same_tokens():
    """The best sum over alignments is found where the best alignment has other tokens."""
    network = network_of(tokens=TOKENS[:3])
    for seed in range(200):
        features, lengths = features_of(4, seed=seed)
        expected = sequence_scores_of(network, features[0])
        by_sum = max(expected, key=lambda tokens: expected[tokens][0])
        by_best = max(expected, key=lambda tokens: expected[tokens][1])
        if by_sum != by_best:
            break
    assert by_sum != by_best
    options = TransducerOptions("beam", beam_size=8)
    lattice = lattice_of(network, features, lengths, options=options)
    assert ids_of(network, lattice.forward_path()[0]) == by_sum
    assert ids_of(network, lattice.best_path()[0]) == by_best


@pytest.mark.parametrize("seed", range(3))
def test_the_token_graph_allows_all_sequences(seed):
    network = network_of(tokens=TOKENS[:3], seed=seed)
    features, lengths = features_of(4, seed=seed)
    expected = sequence_scores_of(network, features[0])
    lattice = lattice_of(network, features, lengths, options=TransducerOptions("graph", **NO_BEAM))
    [ranked] = lattice.nbest(31)
    assert {ids_of(network, path) for path in ranked} == set(expected)
    for path in ranked:
        assert path.score == pytest.approx(expected[ids_of(network, path)][1], abs=1e-4)
    [summed] = lattice.nbest(31, forward=True)
    for path in summed:
        assert path.score == pytest.approx(expected[ids_of(network, path)][0], abs=1e-4)
    assert lattice.forward_score().item() == pytest.approx(0.0, abs=1e-4)


def bigram_score(words):
    table = {}
    for line in BIGRAMS.split("\\2-grams:")[1].splitlines():
        if line.startswith("-"):
            score, *pair = line.split()
            table[tuple(pair)] = float(score) * math.log(10)
    pairs = itertools.pairwise(("<s>", *words, "</s>"))
    return sum(table.get(pair, -math.inf) for pair in pairs)


@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_a_graph_gives_words_by_lexicon_and_ngram(tmp_path, scale):
    """All word sequences that fit into five frames, by definition and by search."""
    network, graph = network_of(), bigram_graph(tmp_path)
    features, lengths = features_of(5)
    by_tokens = sequence_scores_of(network, features[0])
    expected: dict[tuple[str, ...], tuple[float, float]] = {}
    for count in range(6):
        for words in itertools.product(("ab", "b", "cab"), repeat=count):
            if math.isinf(bigram_score(words)):
                continue  # cab cab, which only a back-off would allow
            fusion = scale * bigram_score(words)
            readings = itertools.product(*(LEXICON.pronunciations(word) for word in words))
            ids = [tuple(TOKENS.index(t) for phones in r for t in phones) for r in readings]
            scores = [by_tokens[tokens] for tokens in ids if tokens in by_tokens]
            if scores:
                total = float(np.logaddexp.reduce([score for score, _ in scores]))
                expected[words] = fusion + total, fusion + max(score for _, score in scores)
    options = TransducerOptions("graph", graph_scale=scale, **NO_BEAM)
    lattice = lattice_of(network, features, lengths, graph, options)
    # Without weights a back-off is no worse than the bigram, and so counts as another path.
    for forward in (False, True) if scale else (False,):
        ranked = [
            path
            for path in lattice.nbest(10 * len(expected), forward)[0]
            if ("cab", "cab") not in itertools.pairwise(path.words)
        ]
        assert {path.words for path in ranked} == set(expected)
        for path in ranked:
            score = expected[path.words][0 if forward else 1]
            assert path.score == pytest.approx(score, abs=2e-3)
            assert path.graph_score == pytest.approx(scale * bigram_score(path.words), abs=2e-3)


def test_the_ngram_changes_the_result(tmp_path):
    network, graph = network_of(), bigram_graph(tmp_path)
    features, lengths = features_of(9)
    texts = {
        scale: lattice_of(
            network, features, lengths, graph, TransducerOptions("graph", graph_scale=scale)
        ).best_path()[0]
        for scale in (0.0, 3.0)
    }
    assert texts[0.0].words != texts[3.0].words
    assert bigram_score(texts[3.0].words) > bigram_score(texts[0.0].words)
    assert texts[3.0].acoustic_score < texts[0.0].acoustic_score


def test_an_ngram_over_tokens_is_fused(tmp_path):
    """With tokens as words: shallow fusion without a lexicon."""
    network = network_of(tokens=TOKENS[:3])
    features, lengths = features_of(4)
    lexicon = token_lexicon(TOKENS[:3])
    model = lm.estimate(["a b a b", "a b", "b a b"], order=1)
    model.write(tmp_path / "unigram.arpa")
    G = lm.read_arpa(tmp_path / "unigram.arpa", lexicon.words)
    graph = compile_hlg(topology.transducer(3), lexicon, G)
    unigram = {
        word: float(model.log_prob(np.array([[model.word_ids[word]]]))[0])
        for word in ("a", "b", "</s>")
    }
    expected = {
        tokens: best + 0.5 * (sum(unigram[TOKENS[k]] for k in tokens) + unigram["</s>"])
        for tokens, (_, best) in sequence_scores_of(network, features[0]).items()
    }
    options = TransducerOptions("graph", graph_scale=0.5, **NO_BEAM)
    for path in lattice_of(network, features, lengths, graph, options).nbest(31)[0]:
        assert path.score == pytest.approx(expected[ids_of(network, path)], abs=1e-3)


def test_a_grammar_is_respected():
    network = network_of()
    G = grammar.compile("cab b", LEXICON.words)
    graph = compile_hlg(topology.transducer(len(TOKENS)), LEXICON, G)
    features, lengths = features_of(12, 4, 3)
    lattice = lattice_of(network, features, lengths, graph)
    assert [path.text for path in lattice.best_path()] == ["cab b", "cab b", ""]
    assert lattice.is_empty(2)  # four tokens do not fit into three frames
    assert [word.text for word in lattice.words()[0]] == ["cab", "b"]
    for word in lattice.words()[0]:
        assert 0 <= word.start < word.end <= 12 * 0.03 + 1e-9
        assert word.confidence == pytest.approx(1.0)


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options.search)
def test_a_batch_gives_the_lattices_of_its_utterances(options, tmp_path):
    network = network_of(seed=3)
    graph = bigram_graph(tmp_path) if options.search == "graph" else None
    decoder = make_decoder(network, graph, options)
    inputs, lengths = 3 * torch.randn(4, 70, 4), torch.tensor([70, 12, 0, 41])
    together = decoder.decode(network.posteriors(*network.encode(inputs, lengths)))
    assert together.is_empty(2)
    for row, length in enumerate(lengths.tolist()):
        one = network.encode(inputs[row : row + 1, :length], lengths[row : row + 1])
        alone = decoder.decode(network.posteriors(*one))
        for a, b in zip(alone.best_path(), [together.best_path()[row]], strict=True):
            assert (a.words, a.tokens) == (b.words, b.tokens)
            assert a.score == pytest.approx(b.score, abs=1e-3)
        for a, b in zip(alone.words()[0], together.words()[row], strict=True):
            assert (a.text, a.start, a.end) == (b.text, b.start, b.end)
        if length:
            total = together.forward_score()[row].item()
            assert alone.forward_score().item() == pytest.approx(total, abs=1e-3)


def test_tokens_have_the_frames_that_emit_them():
    network = network_of()
    features, lengths = features_of(20)
    for options in SEARCHES:
        lattice = lattice_of(network, features, lengths, options=options)
        [path], [words] = lattice.best_path(), lattice.words()
        table = reference.table_of(network, features[0], ids_of(network, path))
        emitted = {begin: name for name, begin, end in path.tokens if end == begin + 1}
        assert len(emitted) == len(path.words)
        labels = [TOKENS.index(emitted.get(t, "<blk>")) for t in range(20)]
        score = reference.alignment_score(table, labels, "modified")
        assert path.score == pytest.approx(score, abs=1e-3)
        assert [word.start for word in words] == pytest.approx([0.03 * t for t in sorted(emitted)])


@pytest.mark.parametrize("options", SEARCHES, ids=lambda options: options.search)
def test_a_blank_penalty_gives_more_words(options):
    network = network_of()
    features, lengths = features_of(40)
    counts = []
    for penalty in (-3.0, 0.0, 3.0):
        changed = TransducerOptions(options.search, blank_penalty=penalty)
        lattice = lattice_of(network, features, lengths, options=changed)
        counts.append(len(lattice.best_path()[0].words))
    assert counts[0] < counts[1] < counts[2]


def test_tokens_are_matched_by_name(tmp_path):
    """A graph with some of the network's tokens, in another order."""
    network = network_of(tokens=("<blk>", "x", "c", "b", "a", "y"))
    features, lengths = features_of(6)
    graph = bigram_graph(tmp_path)
    [path] = lattice_of(network, features, lengths, graph).best_path()
    names = [name for name, _, _ in path.tokens]
    table = reference.table_of(
        network, features[0], [network.config.tokens.index(n) for n in names]
    )
    frames = {begin: network.config.tokens.index(name) for name, begin, _ in path.tokens}
    labels = [frames.get(t, 0) for t in range(6)]
    score = reference.alignment_score(table, labels, "modified")
    assert path.acoustic_score == pytest.approx(score, abs=1e-3)
    with pytest.raises(ModelError, match="lacks tokens of the graph: c"):
        make_decoder(network_of(tokens=("<blk>", "a", "b")), graph)


def test_a_narrow_beam_is_widened_where_it_loses_every_path():
    network = network_of()
    G = grammar.compile("cab cab cab", LEXICON.words)
    graph = compile_hlg(topology.transducer(len(TOKENS)), LEXICON, G)
    features, lengths = features_of(10)
    options = TransducerOptions("graph", search_beam=6.0, max_active=3, max_contexts=3)
    decoder = make_decoder(network, graph, options)
    assert decoder._search(features, [10], options) == [None]
    lattice = decoder.decode(network.posteriors(features, lengths))
    assert lattice.best_path()[0].text == "cab cab cab"


def test_graphs_and_networks_that_do_not_fit(tmp_path):
    network = network_of()
    with pytest.raises(GraphError, match=r"\[topology\] kind = \"transducer\""):
        make_decoder(network, compile_hlg(topology.ctc(len(TOKENS)), LEXICON))
    with pytest.raises(ModelError, match="use a stateless prediction network"):
        make_decoder(network_of("lstm"), bigram_graph(tmp_path))
    with pytest.raises(OptionError, match="does not use a graph"):
        make_decoder(network, bigram_graph(tmp_path), TransducerOptions("beam"))
    for wrong in ({"search": "wide"}, {"beam_size": 0}, {"graph_scale": -1.0}):
        with pytest.raises(OptionError):
            TransducerOptions(**wrong)


def test_a_saved_graph_searches_alike(tmp_path):
    network, graph = network_of(), bigram_graph(tmp_path)
    features, lengths = features_of(15)
    graph.save(tmp_path / "graph")
    paths = [
        lattice_of(network, features, lengths, g).best_path()[0]
        for g in (graph, DecodingGraph.load(tmp_path / "graph"))
    ]
    assert paths[0] == paths[1]
