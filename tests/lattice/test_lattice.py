"""Lattices against paths counted one by one: scores, n-best, times, posteriors, risk."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg import grammar
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import LatticeError, ModelError, OptionError
from asr_hlg.graph import compile_hlg, topology
from asr_hlg.lattice import Path, kernels
from asr_hlg.lattice.path import word_spans
from asr_hlg.lexicon import Lexicon
from asr_hlg.search import SearchOptions, decode
from tests.support.brute_force import Machine, log_sum
from tests.support.examples import examples

EVERYTHING = SearchOptions(search_beam=1e4, output_beam=1e4, min_active=10_000, max_active=100_000)
ENTRIES = [
    ("cat", ("k", "ae", "t")),
    ("and", ("ae", "n", "d")),
    ("hat", ("h", "ae", "t")),
    ("a", ("ae",)),
    ("at", ("ae", "t")),
    ("add", ("ae", "d")),
    ("ad", ("ae", "d")),
]


def make_graph(entries=ENTRIES, silence=None):
    lexicon = Lexicon(entries, silence=silence)
    words = " | ".join(sorted({word for word, *_ in entries}))
    G = grammar.compile(f"({words})+", lexicon.words)
    return compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)


@pytest.fixture(scope="module", params=["tokens", "k2"])
def everything(request):
    """Options that prune nothing, for each engine."""
    return replace(EVERYTHING, engine=request.param)


@pytest.fixture(scope="module")
def graph():
    return make_graph()


def random_posteriors(graph, lengths, seed=0, sharpness=2.0) -> Posteriors:
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(len(lengths), max(lengths), len(graph.columns)))
    log_probs = torch.from_numpy(logits).log_softmax(dim=2).float()
    return Posteriors(log_probs, torch.tensor(lengths, dtype=torch.int32), 0.02, graph.columns)


def all_paths(graph, posteriors: Posteriors, row: int) -> dict[tuple, list[float]]:
    """Scores of every path of the graph over an utterance, by word ids; plain walking."""
    machine = Machine.of(graph.fsa)
    log_probs = posteriors.log_probs[row].double().numpy()
    found = defaultdict(list)
    stack = [(0, 0, (), 0.0)]
    while stack:
        state, frame, words, total = stack.pop()
        if frame == int(posteriors.lengths[row]):
            for written, score in machine.final.get(state, ()):
                found[words + written].append(total + score)
            continue
        for dst, label, written, score in machine.leaving.get(state, ()):
            new = total + score + log_probs[frame, label]
            stack.append((dst, frame + 1, words + written, new))
    return dict(found)


def texts(graph, by_ids: dict[tuple, float]) -> dict[str, float]:
    return {" ".join(graph.word_names[i] for i in ids): score for ids, score in by_ids.items()}


@pytest.mark.parametrize("seed", range(4))
def test_best_forward_and_nbest_equal_enumeration(graph, everything, seed):
    posteriors = random_posteriors(graph, [6, 4], seed)
    lattice = decode(graph, posteriors, everything)
    for row in range(2):
        paths = all_paths(graph, posteriors, row)
        best = texts(graph, {ids: max(scores) for ids, scores in paths.items()})
        total = texts(graph, {ids: log_sum(scores) for ids, scores in paths.items()})

        viterbi = lattice.best_path()[row]
        assert viterbi.score == pytest.approx(max(best.values()), abs=1e-4)
        assert best[viterbi.text] == pytest.approx(viterbi.score, abs=1e-4)
        assert viterbi.graph_score + viterbi.acoustic_score == pytest.approx(viterbi.score)
        assert float(lattice.forward_score()[row]) == pytest.approx(
            log_sum(total.values()), abs=1e-4
        )
        forward = lattice.forward_path()[row]
        assert forward.text == max(total, key=total.__getitem__)
        assert forward.score == pytest.approx(total[forward.text], abs=1e-4)

        for expected, is_forward in ((best, False), (total, True)):
            found = lattice.nbest(1000, forward=is_forward)[row]
            assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
            assert {p.text: p.score for p in found} == pytest.approx(expected, abs=1e-4)
            assert len(found) == len(expected)


def test_scores_are_those_of_graph_and_acoustics(graph, everything):
    """The shares of a path are what its arcs carry, with the acoustic scale applied."""
    posteriors = random_posteriors(graph, [6], 7)
    options = SearchOptions(**{**vars(everything), "acoustic_scale": 0.5, "floor": 0.0})
    path = decode(graph, posteriors, options).best_path()[0]
    full = decode(graph, posteriors, SearchOptions(**{**vars(options), "acoustic_scale": 1.0}))
    same_words = {p.text: p for p in full.nbest(1000)[0]}[path.text]
    # Same words, so the same graph score wherever the best alignment has one pronunciation.
    assert path.graph_score == pytest.approx(same_words.graph_score, abs=1e-3)
    assert path.acoustic_score == pytest.approx(0.5 * same_words.acoustic_score, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_word_posteriors(graph, everything, seed):
    """In a lattice of single words, a word's confidence is its share of all paths."""
    lexicon = graph.lexicon
    single = compile_hlg(
        topology.ctc(lexicon.num_tokens),
        lexicon,
        grammar.compile("cat | and | hat | a | at | add | ad", lexicon.words),
    )
    posteriors = random_posteriors(single, [5], seed)
    paths = all_paths(single, posteriors, 0)
    total = log_sum(score for scores in paths.values() for score in scores)
    share = texts(single, {w: np.exp(log_sum(s) - total) for w, s in paths.items()})
    lattice = decode(single, posteriors, everything)
    for path in lattice.nbest(10)[0]:
        (word,) = lattice.words([path])[0]
        assert word.confidence == pytest.approx(share[word.text], abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_slots_are_distributions_and_mbr_lowers_the_risk(graph, everything, seed):
    posteriors = random_posteriors(graph, [8], seed, sharpness=1.0)
    lattice = decode(graph, posteriors, everything)
    (network,) = lattice.confusion_networks()
    for slot in network.slots:
        assert sum(slot.values()) == pytest.approx(1.0, abs=1e-5)
        assert min(slot.values()) >= -1e-9

    paths = all_paths(graph, posteriors, 0)
    total = log_sum(score for scores in paths.values() for score in scores)
    share = {w: np.exp(log_sum(s) - total) for w, s in paths.items()}

    def risk(hypothesis) -> float:
        return sum(p * edit_distance(hypothesis, words) for words, p in share.items())

    best = tuple(graph.words[word] for word in lattice.best_path()[0].words)
    answer = tuple(word for word in network.reference if word)
    # The recursion's risk is an upper bound of the true one (Xu et al. 2011, section 3).
    assert risk(answer) <= network.risk + 1e-3
    assert risk(answer) <= risk(best) + 0.05
    path = lattice.mbr_path()[0]
    assert tuple(graph.words[word] for word in path.words) == answer
    assert [word.text for word in lattice.words([path])[0]] == list(path.words)


def edit_distance(a, b) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_times_follow_the_tokens(graph):
    """Sure posteriors: every word begins with its first token and ends with its last."""
    frames = ["<blk>", "k", "k", "ae", "<blk>", "t", "<blk>", "ae", "n", "d", "d", "<blk>"]
    log_probs = torch.full((1, len(frames), len(graph.columns)), -20.0)
    for frame, token in enumerate(frames):
        log_probs[0, frame, graph.columns.index(token)] = 0.0
    posteriors = Posteriors(log_probs, torch.tensor([12], dtype=torch.int32), 0.02, graph.columns)
    lattice = decode(graph, posteriors, SearchOptions())
    cat, last = lattice.words()[0]
    assert (cat.text, last.text) == ("cat", "and")
    assert (cat.start, cat.end) == pytest.approx((0.02, 0.12))
    assert (last.start, last.end) == pytest.approx((0.14, 0.22))
    assert cat.confidence > 0.99


def test_a_path_may_have_no_words(everything):
    lexicon = Lexicon([("cat", ("k", "ae", "t"))])
    G = grammar.compile("[cat]", lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    lattice = decode(graph, random_posteriors(graph, [2]), everything)
    assert lattice.best_path()[0].words == ()
    assert not lattice.is_empty(0)
    assert lattice.words() == [[]]


def test_times_skip_silence():
    graph = make_graph(silence="SIL")
    frames = ["SIL", "k", "ae", "t", "SIL", "SIL", "h", "<blk>", "ae", "t"]
    log_probs = torch.full((1, len(frames), len(graph.columns)), -20.0)
    for frame, token in enumerate(frames):
        log_probs[0, frame, graph.columns.index(token)] = 0.0
    posteriors = Posteriors(log_probs, torch.tensor([10], dtype=torch.int32), 1.0, graph.columns)
    words = decode(graph, posteriors, SearchOptions()).words()[0]
    assert [(w.text, w.start, w.end) for w in words] == [("cat", 1, 4), ("hat", 6, 10)]


def test_utterances_without_a_path_are_empty(graph, everything):
    """Two frames are too few for any of these words; no frames are too few for anything."""
    lexicon = Lexicon([("cat", ("k", "ae", "t"))])
    G = grammar.compile("cat", lexicon.words)
    only_cat = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    posteriors = random_posteriors(only_cat, [2, 0, 5])
    lattice = decode(only_cat, posteriors, everything)
    assert [lattice.is_empty(row) for row in range(3)] == [True, True, False]
    assert [path.text for path in lattice.best_path()] == ["", "", "cat"]
    assert [path.text for path in lattice.forward_path()] == ["", "", "cat"]
    assert [path.text for path in lattice.mbr_path()] == ["", "", "cat"]
    assert [len(paths) for paths in lattice.nbest(5)] == [1, 1, 1]
    assert lattice.forward_score()[:2].tolist() == [-np.inf, -np.inf]
    assert [len(words) for words in lattice.words()] == [0, 0, 1]
    with pytest.raises(LatticeError, match="no lattice"):
        lattice.words([Path(("cat",), 0.0, 0.0, 0.0)] * 3)


def test_a_lost_utterance_is_searched_again_with_a_wider_beam():
    """A beam that drops the only path to the end is widened for that utterance alone."""
    lexicon = Lexicon([("cat", ("k", "ae", "t")), ("hat", ("h", "ae", "t", "t"))])
    G = grammar.compile("cat | hat", lexicon.words)
    graph = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)
    # Three frames that sound like h: only "cat" fits, and the beam loses it in the first frame.
    log_probs = torch.full((1, 3, len(graph.columns)), -9.0)
    log_probs[0, :, graph.columns.index("h")] = 0.0
    posteriors = Posteriors(log_probs, torch.tensor([3], dtype=torch.int32), 0.02, graph.columns)
    narrow = SearchOptions(search_beam=4.0, min_active=0, max_active=1, floor=0.0)
    assert decode(graph, posteriors, narrow).best_path()[0].text == "cat"


@examples(60)
@given(st.integers(0, 10_000), st.integers(3, 7))
def test_batches_equal_single_utterances(everything, seed, frames):
    graph = make_graph()
    posteriors = random_posteriors(graph, [frames, 3, frames - 1], seed)
    together = decode(graph, posteriors, everything).best_path()
    for row, path in enumerate(together):
        alone = Posteriors(
            posteriors.log_probs[row : row + 1],
            posteriors.lengths[row : row + 1],
            posteriors.frame_shift,
            posteriors.tokens,
        )
        assert decode(graph, alone, everything).best_path()[0].score == pytest.approx(path.score)


def test_posteriors_of_another_model_are_matched_by_name(graph, everything):
    posteriors = random_posteriors(graph, [6])
    order = list(range(len(graph.columns)))[::-1]
    renamed = Posteriors(
        posteriors.log_probs[:, :, order],
        posteriors.lengths,
        posteriors.frame_shift,
        tuple(graph.columns[i] for i in order),
    )
    best = decode(graph, posteriors, everything).best_path()[0]
    assert decode(graph, renamed, everything).best_path()[0] == best
    lacking = Posteriors(
        posteriors.log_probs[:, :, :-1], posteriors.lengths, 0.02, posteriors.tokens[:-1]
    )
    with pytest.raises(ModelError, match=graph.columns[-1]):
        decode(graph, lacking, everything)


def test_summed_ranking_falls_back_to_candidates(graph, everything, monkeypatch):
    """With too few histories allowed, the exact sums of the best alignments' sequences rank."""
    from asr_hlg.lattice import arrays

    posteriors = random_posteriors(graph, [6], 3)
    lattice = decode(graph, posteriors, everything)
    exact = lattice.nbest(3, forward=True)[0]
    calls = []
    original = kernels.best_sequences

    def limited(*args):
        calls.append(args[-2])
        return original(*args[:-1], 1 if args[-2] else args[-1])

    monkeypatch.setattr(arrays.kernels, "best_sequences", limited)
    assert [p.text for p in lattice.nbest(3, forward=True)[0]] == [p.text for p in exact]
    assert calls == [True, False]


@pytest.mark.parametrize(
    ("words", "tokens", "spans"),
    [
        (["a", "b"], "x y", [(0, 1), (1, 2)]),
        (["b", "a"], "SIL y SIL x SIL", [(1, 2), (3, 4)]),
        (["ab", "a"], "x y x", [(0, 2), (2, 3)]),
        (["a", "ab"], "x x y", [(0, 1), (1, 3)]),
        ([], "SIL", []),
    ],
)
def test_word_spans(words, tokens, spans):
    said = {"a": [("x",)], "b": [("y",)], "ab": [("x",), ("x", "y")]}
    segments = [(token, at, at + 1) for at, token in enumerate(tokens.split())]
    assert word_spans(words, segments, said.__getitem__, frozenset(["SIL"])) == spans


def test_word_spans_refuse_other_tokens():
    with pytest.raises(LatticeError, match="do not spell"):
        word_spans(["a"], [("y", 0, 1)], lambda word: [("x",)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"search_beam": 0},
        {"floor": 1.0},
        {"min_active": 5, "max_active": 2},
        {"acoustic_scale": -1},
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(OptionError):
        SearchOptions(**wrong)


def test_nbest_of_nothing_is_refused(graph, everything):
    with pytest.raises(LatticeError):
        decode(graph, random_posteriors(graph, [6]), everything).nbest(0)
