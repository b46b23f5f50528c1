"""The decoder protocol: the choice of an engine, beams and random posteriors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from asr_hlg import grammar
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import (
    FstTokenPassing,
    Intersection,
    SearchOptions,
    TensorFstTokenPassing,
    TensorTokenPassing,
    TokenPassing,
    engines,
    make_decoder,
    warm_up,
)


def toy_graph(hmm: bool = False) -> DecodingGraph:
    lexicon = Lexicon([("cat", ("k", "ae", "t")), ("at", ("ae", "t"))])
    G = grammar.compile("(cat | at)+", lexicon.words)
    H = topology.hmm(lexicon.num_tokens - 1) if hmm else topology.ctc(lexicon.num_tokens)
    return compile_hlg(H, lexicon, G)


@pytest.mark.parametrize(
    ("hmm", "engine", "expected"),
    [
        (False, "auto", TokenPassing),
        (False, "tokens", TokenPassing),
        (False, "k2", Intersection),
        (False, "fst", FstTokenPassing),
        (False, "tensors", TensorTokenPassing),
        (True, "auto", FstTokenPassing),
        (True, "tensors", TensorFstTokenPassing),
        (True, "k2", Intersection),
    ],
)
def test_the_engine_follows_from_options_and_graph(hmm, engine, expected):
    decoder = make_decoder(toy_graph(hmm), engine=engine)
    assert type(decoder) is expected
    warm_up(decoder)


@pytest.mark.parametrize("hmm", [False, True])
def test_without_k2_for_cuda_all_graphs_are_searched_in_tensors_there(hmm, monkeypatch):
    graph = replace(toy_graph(hmm), device="cuda")
    for k2_has_cuda, engine in (True, "k2"), (False, "tensors"):
        monkeypatch.setattr(engines, "_k2_has_cuda", lambda value=k2_has_cuda: value)
        assert engines._automatic(graph) == engine


def test_token_passing_refuses_other_graphs():
    with pytest.raises(OptionError, match="CTC topology"):
        TokenPassing(toy_graph(hmm=True))


def test_changes_apply_to_the_options_of_the_recipe():
    graph = toy_graph()
    graph.meta["recipe"] = {"search": {"acoustic_scale": 0.7}}
    assert make_decoder(graph, search_beam=9.0).options == SearchOptions(
        acoustic_scale=0.7, search_beam=9.0
    )
    assert make_decoder(graph, SearchOptions()).options == SearchOptions()
    with pytest.raises(GraphError, match="unknown key"):
        make_decoder(graph, beam=9.0)


@pytest.mark.parametrize("engine", ["tokens", "fst", "k2", "tensors"])
def test_narrower_decoders_search_the_same_graph(engine):
    options = SearchOptions(engine=engine, search_beam=10.0, max_active=1000)
    wide = make_decoder(toy_graph(), options)
    narrow = wide.narrower()
    assert type(narrow) is type(wide)
    assert narrow.graph is wide.graph
    assert narrow.options == options.narrower()
    assert (narrow.options.search_beam, narrow.options.max_active) == (8.0, 250)
    noise = wide.noise()
    assert noise.tokens == wide.graph.columns
    all_paths, fewer_paths = (decoder.decode(noise) for decoder in (wide, narrow))
    assert fewer_paths.best_path()[0].text == all_paths.best_path()[0].text
    assert fewer_paths.forward_score()[0] <= all_paths.forward_score()[0] + 1e-4


@pytest.mark.parametrize("engine", ["tokens", "k2", "tensors"])
def test_lost_utterances_are_searched_again(engine, monkeypatch):
    """The beam loses the only word that fits; a beam four times as wide keeps it."""
    graph = toy_graph()
    options = SearchOptions(search_beam=1.0, min_active=0, engine=engine)
    decoder = make_decoder(graph, options)
    scores = torch.full((1, 2, len(graph.columns)), -20.0)
    scores[0, 0, graph.columns.index("k")] = -0.1  # "cat" does not end after two frames
    scores[0, 0, graph.columns.index("ae")] = -2.0
    scores[0, 1, graph.columns.index("t")] = -0.1
    posteriors = Posteriors(scores, torch.tensor([2], dtype=torch.int32), 0.02, graph.columns)
    assert decoder.decode(posteriors).best_path()[0].text == "at"
    monkeypatch.setattr(SearchOptions, "wider", lambda self: self)
    assert decoder.decode(posteriors).is_empty(0)
