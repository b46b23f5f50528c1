"""Both kinds of token passing against k2's intersection, and all against what beams promise."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import acoustic
from asr_hlg.audio import recordings
from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.packed_fst import PackedFst
from asr_hlg.lattice import Lattice
from asr_hlg.search import SearchOptions, decode, fst_decoder, fst_records, token_passing
from tests.support.brute_force import ctc_alignments, log_sum, path_scores, transductions
from tests.support.examples import examples
from tests.support.random_graphs import random_graph, random_graphs, random_posteriors, through

TOKENS = SearchOptions(
    search_beam=1e4, output_beam=1e4, min_active=10_000, max_active=100_000, engine="tokens"
)
FST = replace(TOKENS, engine="fst")
K2 = replace(TOKENS, engine="k2")


SEEDS = st.integers(0, 10_000)
GRAPHS = st.integers(0, 15)
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=3)


@examples(160)
@given(st.sampled_from([(TOKENS, True), (FST, True), (FST, False)]), GRAPHS, SEEDS, LENGTHS)
def test_all_paths_are_those_of_k2(engine, number, seed, lengths):
    options, ctc = engine
    graph = random_graph(number, ctc)
    posteriors = random_posteriors(graph, lengths, seed)
    ours, theirs = (decode(graph, posteriors, each) for each in (options, K2))
    for row in range(len(lengths)):
        assert ours.is_empty(row) == theirs.is_empty(row)
    scores = [[path.score for path in lattice.best_path()] for lattice in (ours, theirs)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    # Sums may be smaller: k2's ε-removal leaves some paths of L∘G in the graph twice.
    assert (ours.forward_score() <= theirs.forward_score() + 1e-3).all()
    for mine, other in zip(ours.nbest(20), theirs.nbest(20), strict=True):
        assert [p.score for p in mine] == pytest.approx([p.score for p in other], abs=1e-3)


@examples(40)
@given(GRAPHS, SEEDS, st.integers(1, 5))
@pytest.mark.parametrize("options", [TOKENS, FST], ids=["tokens", "fst"])
def test_the_sum_is_over_all_paths_of_lg_and_all_alignments(options, number, seed, length):
    graph, lg = random_graphs(number)
    posteriors = random_posteriors(graph, [length], seed)
    log_probs = posteriors.log_probs[0].double().numpy()
    expected = defaultdict(list)
    for spoken in range(length + 1):
        for phones in itertools.product(range(1, len(graph.columns)), repeat=spoken):
            alignments = path_scores(log_probs, ctc_alignments(phones, length))
            if len(alignments):
                for words, scores in transductions(lg, phones, epsilon=0).items():
                    expected[words] += [log_sum(alignments) + score for score in scores]
    lattice = decode(graph, posteriors, replace(options, floor=0.0))
    found = lattice.nbest(10_000, forward=True)[0] if not lattice.is_empty(0) else []
    ids = {tuple(graph.words[word] for word in path.words): path.score for path in found}
    assert ids == pytest.approx({w: log_sum(s) for w, s in expected.items()}, abs=1e-3)


@examples(40)
@given(GRAPHS, SEEDS, LENGTHS)
def test_batches_and_threads_change_nothing(number, seed, lengths):
    graph = random_graph(number)
    posteriors = random_posteriors(graph, lengths, seed)
    options = replace(TOKENS, search_beam=6.0, output_beam=4.0, min_active=0)
    torch.set_num_threads(2)
    try:
        together = decode(graph, posteriors, options)
    finally:
        torch.set_num_threads(1)
    for row, length in enumerate(lengths):
        alone = posteriors.utterance(row)
        assert alone.lengths.tolist() == [length]
        single = decode(graph, alone, options).utterances[0]
        assert (single is None) == together.is_empty(row)
        if single is not None:
            for mine, other in zip(
                vars(single).values(), vars(together.utterances[row]).values(), strict=True
            ):
                np.testing.assert_array_equal(mine, other)


@examples(60)
@given(GRAPHS, SEEDS, st.integers(1, 12), st.floats(0.5, 12))
def test_the_output_beam_keeps_what_lies_within_it_and_nothing_else(number, seed, length, beam):
    graph = random_graph(number)
    posteriors = random_posteriors(graph, [length], seed)
    whole = decode(graph, posteriors, TOKENS).utterances[0]
    pruned = decode(graph, posteriors, replace(TOKENS, output_beam=beam)).utterances[0]
    assert (whole is None) == (pruned is None)
    if whole is not None and pruned is not None:
        scores = through(whole)
        kept = scores >= scores.max() - beam
        doubtful = np.abs(scores - (scores.max() - beam)) < 1e-3
        assert abs(pruned.num_arcs - kept.sum()) <= doubtful.sum()
        np.testing.assert_allclose(through(pruned).max(), scores.max(), atol=1e-4)
        assert through(pruned).min() >= scores.max() - beam - 1e-3


@examples(60)
@given(GRAPHS, SEEDS, st.integers(1, 12), st.floats(0.5, 12), st.integers(1, 20))
def test_no_beam_finds_what_is_not_there(number, seed, length, beam, max_active):
    """Whatever is pruned, a path's score is one that the whole lattice gives to its words."""
    graph = random_graph(number)
    posteriors = random_posteriors(graph, [length], seed)
    narrow = replace(TOKENS, search_beam=beam, min_active=0, max_active=max_active)
    whole, pruned = (decode(graph, posteriors, options) for options in (TOKENS, narrow))
    if pruned.is_empty(0):  # a beam may lose every path
        return
    best = {path.words: path.score for path in whole.nbest(10_000)[0]}
    for path in pruned.nbest(5)[0]:
        assert path.score <= best[path.words] + 1e-3
    assert pruned.forward_score()[0] <= whole.forward_score()[0] + 1e-6


def test_lattices_are_the_same_for_k2():
    """Through an FsaVec and back: same arrays, same answers."""
    graph = random_graph(3)
    lattice = decode(graph, random_posteriors(graph, [9, 1, 7], 5), TOKENS)
    rows = [row for row in range(3) if not lattice.is_empty(row)]
    again = Lattice(lattice.fsas, rows, lattice.scores, graph)
    assert [p.words for p in again.best_path()] == [p.words for p in lattice.best_path()]
    np.testing.assert_allclose(again.forward_score(), lattice.forward_score(), rtol=1e-6)
    total = lattice.fsas.get_tot_scores(use_double_scores=True, log_semiring=True)
    np.testing.assert_allclose(total, lattice.forward_score()[rows], rtol=1e-6)


def test_a_workspace_grows():
    graph = random_graph(3)
    posteriors = random_posteriors(graph, [12], 1)
    expected = decode(graph, posteriors, TOKENS).forward_score()
    while not token_passing._idle.empty():
        token_passing._idle.get()
    token_passing._idle.put(token_passing.allocate(1))
    assert np.array_equal(decode(graph, posteriors, TOKENS).forward_score(), expected)
    assert len(token_passing._idle.get().label_tokens) > 1


def test_a_workspace_for_arcs_of_any_label_grows():
    graph = random_graph(3, ctc=False)
    posteriors = random_posteriors(graph, [12], 1)
    expected = decode(graph, posteriors, FST).forward_score()
    while not fst_decoder._idle.empty():
        fst_decoder._idle.get()
    fst_decoder._idle.put(fst_records.allocate(1))
    assert np.array_equal(decode(graph, posteriors, FST).forward_score(), expected)
    assert len(fst_decoder._idle.get().tokens) > 1


def with_epsilon_loop(loop: float) -> DecodingGraph:
    """Reads column 1, then writes word 1 on an ε-arc; beside it is a cycle of two ε-arcs."""
    graph, _ = random_graphs.__wrapped__(0)  # not the one that other tests share
    graph.views.__dict__["packed_fst"] = PackedFst.pack(
        src=np.array([0, 1, 2, 1]),
        dst=np.array([1, 2, 1, 3]),
        label=np.array([1, -1, -1, -1]),
        word=np.array([0, 0, 0, 1]),
        score=np.array([0.0, loop, 0.0, -1.0]),
        final=np.array([-np.inf, -np.inf, -np.inf, -0.5]),
    )
    return graph


def test_cycles_of_epsilon_arcs_end_or_are_refused():
    posteriors = random_posteriors(random_graph(0), [1], 0)
    path = decode(with_epsilon_loop(-0.25), posteriors, FST).best_path()[0]
    assert path.graph_score == pytest.approx(-1.5)
    assert len(path.words) == 1
    with pytest.raises(GraphError, match="cycle of ε-arcs"):
        decode(with_epsilon_loop(0.25), posteriors, FST)


def test_the_engine_is_chosen_by_the_graph():
    hmm = random_graph(0, ctc=False)
    posteriors = random_posteriors(hmm, [12], 0)
    with pytest.raises(OptionError, match="CTC topology"):
        decode(hmm, posteriors, TOKENS)
    auto, theirs = (
        decode(hmm, posteriors, replace(TOKENS, engine=engine)) for engine in ("auto", "k2")
    )
    assert auto.best_path()[0].words == theirs.best_path()[0].words
    assert random_graph(0).packed is not None
    with pytest.raises(OptionError, match="unknown engine"):
        SearchOptions(engine="fast")  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("beam", [8.0, 11.0, 14.0])
def test_equal_beams_find_equal_scores_in_speech(speech, english, beam):
    """Not worse in more than one utterance of a hundred; here, in none of 24."""
    if english.packed is None:
        pytest.skip("graphs/en was compiled before token passing: make graph GRAPH=en")
    model = acoustic.load("hama")
    ours, theirs = (
        SearchOptions.from_graph(english, search_beam=beam, engine=e) for e in ("tokens", "k2")
    )
    for number, recording in enumerate(recordings([speech / "ljspeech" / "flac"])):
        if number == 24:
            break
        posteriors = model.posteriors([recording.load(16000)], 16000)
        mine, other = (
            decode(english, posteriors, options).best_path()[0] for options in (ours, theirs)
        )
        assert mine.score >= other.score - 1e-2
