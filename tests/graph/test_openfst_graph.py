"""Imported graphs decode as kaldi-decoder's FasterDecoder does with the same file."""

from __future__ import annotations

from dataclasses import replace

import k2
import numpy as np
import pytest
import torch

from asr_hlg import grammar
from asr_hlg.acoustic.arrays import log_softmax
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError
from asr_hlg.fst import openfst, symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.fst.symbols import SymbolTable
from asr_hlg.graph import DecodingGraph, compile_hlg, topology
from asr_hlg.graph.export import arcs_of, export
from asr_hlg.graph.openfst_graph import ImportOptions, import_graph
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions, decode
from tests.support.cat_hat import best_score, intersect
from tests.support.faster_decoder import faster_decoder


def toy_graph():
    lexicon = Lexicon([("cat", ("k", "ae", "t")), ("at", ("ae", "t")), ("tack", ("t", "ae", "k"))])
    G = grammar.compile("(cat | at | tack)+", lexicon.words)
    return compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)


def random_posteriors(columns, seed, frames=40, sharpness=3.0):
    logits = sharpness * np.random.default_rng(seed).normal(size=(1, frames, len(columns)))
    return Posteriors(log_softmax(logits.astype(np.float32)), [frames], 0.04, columns)


@pytest.fixture
def exported(tmp_path):
    export(toy_graph(), tmp_path, "openfst")
    return tmp_path


def reimported(folder, path=None, **options):
    notes = []
    chosen = ImportOptions(folder / "tokens.txt", folder / "words.txt")
    output = folder / "graph"
    import_graph(path or folder / "HLG.fst", output, replace(chosen, **options), note=notes.append)
    return DecodingGraph.load(output), notes


def test_a_graph_that_is_exported_and_imported_decodes_as_before(exported):
    ours = toy_graph()
    again, notes = reimported(exported)
    assert any("shifted" in note for note in notes)
    for seed in range(20):
        posteriors = random_posteriors(ours.columns, seed)
        options = SearchOptions(engine="fst", search_beam=1e3, floor=0.0)
        expected = decode(ours, posteriors, options).best_path()[0]
        got = decode(again, posteriors, replace(options, engine="auto")).best_path()[0]
        assert got.words == expected.words
        assert got.score == pytest.approx(expected.score, abs=1e-3)


@pytest.mark.parametrize("beam", [8.0, 200.0])
def test_words_and_scores_are_those_of_faster_decoder(exported, beam):
    graph, _ = reimported(exported)
    search = faster_decoder(exported / "HLG.fst", graph.word_names)
    for seed in range(50):
        posteriors = random_posteriors(graph.columns, seed)
        options = SearchOptions(search_beam=beam, min_active=20, floor=0.0)
        words, score = search(posteriors, options)
        path = decode(graph, posteriors, options).best_path()[0]
        assert path.words == words
        assert path.score == pytest.approx(score, abs=1e-2)


def test_the_three_numberings_of_labels_are_told_apart(exported):
    expected = None
    arcs = openfst.read(exported / "HLG.fst").arcs
    names = symbols.names(symbols.read(exported / "tokens.txt"))
    has_eps = arcs.ilabel == 0
    variants = {"shifted": (arcs, names), "kaldi": (arcs, ["<eps>", *names])}
    if not has_eps.any():
        variants["k2"] = (replace(arcs, ilabel=arcs.ilabel - 1), names)
    for labels, (changed, table) in variants.items():
        openfst.write(exported / "G.fst", changed)
        symbols.write(SymbolTable(table), exported / "tokens.txt")
        graph, notes = reimported(exported, exported / "G.fst")
        assert any(f"labels: {labels} " in note for note in notes)
        words = [
            decode(graph, random_posteriors(graph.columns, seed)).best_path()[0].words
            for seed in range(5)
        ]
        expected = expected or words
        assert words == expected


def test_lg_is_composed_with_the_ctc_topology(tmp_path):
    ours = toy_graph()
    openfst.write(tmp_path / "LG.fst", ours.lg)
    symbols.write(ours.tokens, tmp_path / "tokens.txt")
    symbols.write(ours.words, tmp_path / "words.txt")
    graph, notes = reimported(tmp_path, tmp_path / "LG.fst")
    assert any("L∘G" in note for note in notes)
    for seed in range(10):
        posteriors = random_posteriors(ours.columns, seed)
        expected = decode(ours, posteriors).best_path()[0]
        assert decode(graph, posteriors).best_path()[0].words == expected.words


def test_h_without_words_gives_tokens(tmp_path):
    columns = ("<blk>", "a", "b")
    arcs = Arcs.from_k2(topology.ctc(3))
    openfst.write(tmp_path / "H.fst", replace(arcs, ilabel=arcs.ilabel + 1))
    symbols.write(SymbolTable(columns), tmp_path / "tokens.txt")
    graph, _ = reimported(tmp_path, tmp_path / "H.fst", words=None)
    scores = np.full((1, 6, 3), -20.0, np.float32)
    for frame, label in enumerate([1, 1, 0, 1, 2, 2]):
        scores[0, frame, label] = 0.0
    found = decode(graph, Posteriors(scores, [6], 0.1, columns))
    assert found.best_path()[0].words == ("a", "a", "b")
    assert [word.start for word in found.words()[0]] == pytest.approx([0.0, 0.3, 0.4])
    assert [word.end for word in found.words()[0]] == pytest.approx([0.2, 0.4, 0.6])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "HLG.fst").write_bytes(b"abc"), "not a binary OpenFst file"),
        (lambda folder: (folder / "words.txt").write_text("<eps> 0\n"), "the graph writes the id"),
        (lambda folder: (folder / "tokens.txt").write_text("<blk> 0\nk 1\n"), "--labels"),
    ],
)
def test_what_does_not_fit_is_refused(exported, change, message):
    change(exported)
    with pytest.raises(GraphError, match=message):
        reimported(exported)


@pytest.mark.parametrize("kind", ["k2", "icefall"])
def test_k2_reads_the_file_that_is_exported_for_it(tmp_path, kind):
    graph = toy_graph()
    files = {path.name for path in export(graph, tmp_path, kind)}
    assert files == {"HLG.pt", "tokens.txt", "words.txt"} | (
        {"lexicon.txt"} if kind == "icefall" else set()
    )
    again = k2.Fsa.from_dict(torch.load(tmp_path / "HLG.pt"))
    for seed in range(5):
        posteriors = random_posteriors(graph.columns, seed)
        log_probs = torch.from_numpy(posteriors.array[0])
        expected, got = intersect(graph, log_probs), intersect(again, log_probs)
        assert best_score(got) == pytest.approx(float(best_score(expected)), abs=1e-3)
        paths = [k2.shortest_path(lattice, use_double_scores=True) for lattice in (got, expected)]
        words = [path.aux_labels.values.tolist() for path in paths]
        assert words[0] == words[1]


def test_hotwords_on_an_imported_graph_are_refused_with_a_remedy(exported):
    graph, _ = reimported(exported)
    with pytest.raises(GraphError, match="was imported, and has no L∘G"):
        graph.lg  # noqa: B018


def test_the_exported_arcs_are_those_of_the_view():
    graph = toy_graph()
    arcs = arcs_of(graph)
    assert arcs.num_arcs == len(graph.packed_fst.arcs) + len(graph.packed_fst.eps_arcs)
    assert arcs.num_states == graph.packed_fst.num_states
