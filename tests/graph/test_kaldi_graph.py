"""Kaldi's graphs, static or composed: transition-ids become columns, phones and words."""

from __future__ import annotations

from dataclasses import replace

import kaldifst
import numpy as np
import pytest

from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError
from asr_hlg.fst import openfst, symbols
from asr_hlg.fst.arcs import Arcs
from asr_hlg.graph import DecodingGraph
from asr_hlg.graph.kaldi_graph import Transitions, import_kaldi
from asr_hlg.search import SearchOptions, decode
from tests.support import fst_files

WORDS = {0: "<eps>", 1: "a", 2: "b"}
NGRAM = {(): {1: 1.0, 2: 2.0, 0: 0.5}, (0,): {1: 0.1}, (1,): {2: 0.2}, (2,): {}}
BACK_OFF = {context: 0.3 * len(context) for context in NGRAM}
# Transition-ids 1, 2 are phone 1 with pdfs 0, 1 (self-loop); 3, 4 phone 2 with pdfs 0, 2; 5 is #0.
TRANSITIONS = Transitions(
    np.array([-1, 0, 1, 0, 2], np.int32),
    np.array([0, 1, 1, 2, 2], np.int32),
    np.array([False, True, False, True, False]),
)


def hcl():
    """The words a and b of one phone each, with self-loops, and #0 before the next word."""
    src, dst = np.array([0, 0, 1, 1, 2, 2], np.int32), np.array([1, 2, 0, 1, 0, 2], np.int32)
    ilabel = np.array([1, 3, 5, 2, 5, 4], np.int32)
    olabel = np.array([1, 2, 0, 0, 0, 0], np.int32)
    final = np.array([0.0, -np.inf, -np.inf], np.float32)
    return Arcs(src, dst, ilabel, olabel, np.full(6, -0.5, np.float32), final)


@pytest.fixture
def folders(tmp_path):
    """A folder with HCLr and Gr, and one with HCLG, composed by OpenFst."""
    ahead, static = tmp_path / "ahead", tmp_path / "static"
    for folder in (ahead, static):
        (folder / "graph" / "phones").mkdir(parents=True)
        (folder / "graph/phones/word_boundary.int").write_text("1 singleton\n2 singleton\n")
    openfst.write(tmp_path / "HCL.fst", hcl())
    content = (tmp_path / "HCL.fst").read_bytes()
    lookahead = fst_files.lookahead(content, fst_files.reachable(hcl(), 3), 3)
    (ahead / "graph/HCLr.fst").write_bytes(lookahead)
    (ahead / "graph/Gr.fst").write_bytes(fst_files.ngram(NGRAM, BACK_OFF, WORDS))
    (ahead / "graph/disambig_tid.int").write_text("5\n")
    g = openfst.read(ahead / "graph/Gr.fst").arcs
    left = hcl().to_openfst()
    kaldifst.arcsort(left, "olabel")
    composed = Arcs.from_openfst(kaldifst.compose(left, g.to_openfst()))
    ilabel = np.where(composed.ilabel == 5, 0, composed.ilabel).astype(np.int32)
    columns = composed.src, composed.dst, ilabel, composed.olabel, composed.score, composed.final
    openfst.write(static / "graph/HCLG.fst", Arcs(*columns))
    symbols.write(symbols.table(WORDS.values()), static / "graph/words.txt")
    return ahead, static


def likelihoods(seed, frames=12):
    scores = 3 * np.random.default_rng(seed).normal(size=(1, frames, 3)).astype(np.float32)
    return Posteriors(scores, [frames], 0.03, symbols.pdf_names(3))


def test_look_ahead_and_static_graphs_give_the_same_words_scores_and_times(folders, tmp_path):
    graphs = [
        DecodingGraph.load(import_kaldi(folder, tmp_path / f"{folder.name}-graph", TRANSITIONS))
        for folder in folders
    ]
    options = SearchOptions(search_beam=1e3, output_beam=20.0, floor=0.0)
    for seed in range(20):
        ours, theirs = (decode(graph, likelihoods(seed), options) for graph in graphs)
        path, expected = ours.best_path()[0], theirs.best_path()[0]
        assert path.words == expected.words
        assert len(path.words) > 0
        assert path.score == pytest.approx(expected.score, abs=1e-3)
        assert path.tokens == expected.tokens
        for word, other in zip(ours.words()[0], theirs.words()[0], strict=True):
            assert (word.start, word.end) == (other.start, other.end)
        # Summed over all paths, which have different alignments of ε in the two graphs.
        assert ours.forward_score() == pytest.approx(theirs.forward_score(), abs=1e-3)


def test_the_search_in_tensors_finds_the_lattices_of_token_passing(folders, tmp_path):
    for folder in folders:
        graph = DecodingGraph.load(import_kaldi(folder, tmp_path / folder.name / "g", TRANSITIONS))
        for seed in range(5):
            ours, theirs = (
                decode(graph, likelihoods(seed), SearchOptions(floor=0.0, engine=engine))
                for engine in ("tensors", "fst")
            )
            path, expected = ours.best_path()[0], theirs.best_path()[0]
            assert (path.words, path.tokens) == (expected.words, expected.tokens)
            assert path.score == pytest.approx(expected.score, abs=1e-4)
            assert ours.forward_score() == pytest.approx(theirs.forward_score(), abs=1e-4)
            for word, other in zip(ours.words()[0], theirs.words()[0], strict=True):
                assert replace(word, confidence=0.0) == replace(other, confidence=0.0)
                assert word.confidence == pytest.approx(other.confidence, abs=1e-6)
            scores = [[p.score for p in each.nbest(10)[0]] for each in (ours, theirs)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_phrases_take_the_place_of_the_language_model(folders, tmp_path):
    notes = []
    ahead = folders[0]
    made = import_kaldi(
        ahead, tmp_path / "phrases", TRANSITIONS, note=notes.append, phrases=["b b", "nowhere"]
    )
    graph = DecodingGraph.load(made)
    assert any("nowhere" in note for note in notes)
    options = SearchOptions(search_beam=1e3, output_beam=20.0, floor=0.0)
    found = {decode(graph, likelihoods(seed), options).best_path()[0].words for seed in range(20)}
    assert found
    assert {word for words in found for word in words} == {"b"}
    with pytest.raises(GraphError, match="none of the words"):
        import_kaldi(ahead, tmp_path / "none", TRANSITIONS, phrases=["nowhere"])
    with pytest.raises(GraphError, match="cannot have other phrases"):
        import_kaldi(folders[1], tmp_path / "static-phrases", TRANSITIONS, phrases=["b"])


def test_phones_span_their_frames_and_words_their_phones(folders, tmp_path):
    graph = DecodingGraph.load(import_kaldi(folders[0], tmp_path / "graph", TRANSITIONS))
    scores = np.full((1, 5, 3), -30.0, np.float32)
    for frame, pdf in enumerate([0, 1, 1, 0, 2]):  # phone 1 for three frames, phone 2 for two
        scores[0, frame, pdf] = 0.0
    lattice = decode(graph, Posteriors(scores, [5], 0.03, symbols.pdf_names(3)))
    path = lattice.best_path()[0]
    assert path.tokens == (("phone_1", 0, 3), ("phone_2", 3, 5))
    assert path.words == ("a", "b")
    assert [word.end for word in lattice.words()[0]] == pytest.approx([0.09, 0.15])


def test_the_search_options_of_model_conf_are_kept(folders, tmp_path):
    (folders[0] / "conf").mkdir()
    conf = folders[0] / "conf/model.conf"
    conf.write_text("--beam=10.0\n--lattice-beam=2.0\n--max-active=3000\n--min-active=200\n")
    graph = DecodingGraph.load(import_kaldi(folders[0], tmp_path / "graph", TRANSITIONS))
    options = SearchOptions.from_graph(graph)
    assert (options.search_beam, options.output_beam) == (10.0, 2.0)
    assert (options.max_active, options.min_active, options.floor) == (3000, 200, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "graph/HCLr.fst").unlink(), "neither HCLG.fst nor HCLr.fst"),
        (lambda f: (f / "graph/disambig_tid.int").unlink(), "disambig_tid.int is missing"),
        (lambda f: (f / "graph/disambig_tid.int").write_text("x"), "one positive number"),
        (lambda f: (f / "graph/phones/word_boundary.int").write_text("1 middle"), "singleton"),
        (
            lambda f: (f / "graph/Gr.fst").write_bytes(fst_files.ngram(NGRAM, BACK_OFF)),
            "words.txt",
        ),
    ],
)
def test_files_that_are_missing_or_wrong_are_named(folders, tmp_path, change, message):
    change(folders[0])
    with pytest.raises(GraphError, match=message) as raised:
        import_kaldi(folders[0], tmp_path / "graph", TRANSITIONS)
    assert raised.value.path is not None
