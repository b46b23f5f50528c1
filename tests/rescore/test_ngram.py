"""Rescoring against definitions: paths enumerated one by one, sentences scored by hand."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest
import torch

from asr_hlg import lm
from asr_hlg.acoustic.posteriors import Posteriors
from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph import compile_hlg, metadata, topology
from asr_hlg.graph.adapt.pronounce import from_sources
from asr_hlg.graph.build import build
from asr_hlg.graph.recipe import Recipe
from asr_hlg.lattice import Path
from asr_hlg.lexicon import Lexicon
from asr_hlg.rescore import NgramRescorer, NgramScales
from asr_hlg.rescore.automaton import UNKNOWN
from asr_hlg.search import SearchOptions, decode
from tests.support.brute_force import Machine, log_sum

# By k2, whose graph the paths are counted in: its ε-removal has some paths of L∘G twice.
EVERYTHING = SearchOptions(
    search_beam=1e4,
    output_beam=1e4,
    min_active=10_000,
    max_active=100_000,
    floor=0.0,
    engine="k2",
)
ENTRIES = [
    ("cat", ("k", "ae", "t")),
    ("and", ("ae", "n")),
    ("and", ("ae",), 0.3),
    ("at", ("ae", "t")),
    ("tack", ("t", "ae", "k")),
]
TEXT = ["cat and at", "at and tack", "cat at", "and and tack", "tack at cat and", "cat"]


@pytest.fixture(scope="module")
def new() -> lm.ArpaModel:
    return lm.estimate(TEXT, order=3)


@pytest.fixture(scope="module")
def old() -> lm.ArpaModel:
    return lm.estimate(TEXT[:4], order=2)


@pytest.fixture(scope="module")
def graph(old):
    lexicon = Lexicon(ENTRIES)
    G, _ = lm.to_arcs(old, lexicon.words)
    return compile_hlg(topology.ctc(lexicon.num_tokens), lexicon, G)


def random_posteriors(graph, lengths, seed=0) -> Posteriors:
    logits = np.random.default_rng(seed).normal(size=(len(lengths), max(lengths), 5))
    log_probs = torch.from_numpy(2 * logits).log_softmax(dim=2).float()
    assert log_probs.shape[2] == len(graph.columns)
    return Posteriors(log_probs, torch.tensor(lengths, dtype=torch.int32), 0.02, graph.columns)


def all_paths(graph, posteriors: Posteriors) -> dict[str, list[tuple[float, float]]]:
    """(graph score, acoustic score) of every path over the first utterance, by its words."""
    machine = Machine.of(graph.fsa)
    log_probs = posteriors.log_probs[0].double().numpy()
    found = defaultdict(list)
    stack = [(0, 0, (), 0.0, 0.0)]
    while stack:
        state, frame, words, graph_score, acoustic = stack.pop()
        if frame == int(posteriors.lengths[0]):
            for written, score in machine.final.get(state, ()):
                text = " ".join(graph.word_names[i] for i in words + written)
                found[text].append((graph_score + score, acoustic))
            continue
        for dst, label, written, score in machine.leaving.get(state, ()):
            heard = acoustic + log_probs[frame, label]
            stack.append((dst, frame + 1, words + written, graph_score + score, heard))
    return dict(found)


def sentence_log_prob(model: lm.ArpaModel, text: str) -> float:
    """The chain rule, one conditional probability after the other."""
    words = [lm.BOS, *text.split(), lm.EOS]
    ids = [model.word_ids[word] for word in words]
    total = 0.0
    for end in range(2, len(ids) + 1):
        ngram = ids[max(0, end - model.order) : end]
        total += float(model.log_prob(np.array([ngram]))[0])
    return total


def sequences(lattice, forward=False, row=0) -> dict[str, float]:
    """Scores of all word sequences of a lattice, best first."""
    found = lattice.utterances[row].word_lattice.best_sequences(1000, log=forward)
    names = lattice.graph.word_names
    return {" ".join(names[i] for i in ids): score for ids, score in found}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scales", [NgramScales(), NgramScales(1.3, 0.5, 0.8, -0.7)])
def test_every_path_has_the_score_of_the_formula(graph, old, new, seed, scales):
    posteriors = random_posteriors(graph, [5], seed)
    paths = all_paths(graph, posteriors)
    expected = {
        text: [
            scales.acoustic * acoustic
            + scales.lexicon * (score - sentence_log_prob(old, text))
            + scales.lm * sentence_log_prob(new, text)
            + scales.word * len(text.split())
            for score, acoustic in shares
        ]
        for text, shares in paths.items()
    }
    assert len(expected) > 5
    first = decode(graph, posteriors, EVERYTHING)
    rescorer = NgramRescorer(graph.words, new, old, scales)
    lattice = rescorer(first, beam=np.inf)
    for forward, combine in ((False, max), (True, log_sum)):
        by_hand = {text: combine(scores) for text, scores in expected.items()}
        assert sequences(lattice, forward) == pytest.approx(by_hand, abs=1e-3)
    total = log_sum(score for scores in expected.values() for score in scores)
    assert float(lattice.forward_score()[0]) == pytest.approx(total, abs=1e-3)

    best = lattice.best_path()[0]
    assert best.score == pytest.approx(max(map(max, expected.values())), abs=1e-3)
    assert best.score == pytest.approx(best.graph_score + best.acoustic_score)
    assert [word.text for word in lattice.words()[0]] == list(best.words)

    listed = [
        Path(tuple(text.split()), score + acoustic, score, acoustic)
        for text, shares in paths.items()
        for score, acoustic in shares
    ]
    ranked = rescorer.nbest(listed)
    by_hand = sorted((score for scores in expected.values() for score in scores), reverse=True)
    assert [path.score for path in ranked] == pytest.approx(by_hand, abs=1e-3)
    assert ranked[0].words == best.words
    assert all(p.score == pytest.approx(p.graph_score + p.acoustic_score) for p in ranked)


def test_a_beam_keeps_the_best_path_and_drops_others(graph, old, new):
    for seed in range(5):
        first = decode(graph, random_posteriors(graph, [8], seed), EVERYTHING)
        rescorer = NgramRescorer(graph.words, new, old)
        whole, narrow = rescorer(first, beam=np.inf), rescorer(first, beam=3.0)
        assert narrow.best_path()[0].text == whole.best_path()[0].text
        assert narrow.best_path()[0].score == pytest.approx(whole.best_path()[0].score, abs=1e-4)
        assert 0 < narrow.utterances[0].num_arcs < whole.utterances[0].num_arcs
        scores = list(sequences(narrow).values())
        assert scores[-1] >= scores[0] - 3.0 - 1e-4


def test_the_same_model_changes_nothing(graph, old):
    lattice = decode(graph, random_posteriors(graph, [6, 4, 0], 4), EVERYTHING)
    again = NgramRescorer(graph.words, old, old)(lattice, beam=np.inf)
    assert again.is_empty(2)
    assert again.best_path()[2].words == ()
    for row in range(2):
        before, after = sequences(lattice, row=row), sequences(again, row=row)
        assert list(before) == list(after)
        assert before == pytest.approx(after, abs=1e-4)
        assert lattice.best_path()[row].tokens == again.best_path()[row].tokens
    words = [[(w.text, w.start) for w in row] for row in lattice.words()]
    assert words == [[(w.text, w.start) for w in row] for row in again.words()]


def test_nothing_but_empty_lattices(graph, old, new):
    lattice = decode(graph, random_posteriors(graph, [0], 0), EVERYTHING)
    rescorer = NgramRescorer(graph.words, new, old)
    assert rescorer(lattice).best_path() == lattice.best_path()
    assert rescorer.nbest(lattice.nbest(5)[0]) == lattice.nbest(5)[0]


def test_a_graph_without_a_model_gets_one(new):
    lexicon = Lexicon(ENTRIES)
    loose = compile_hlg(topology.ctc(lexicon.num_tokens), lexicon)
    lattice = decode(loose, random_posteriors(loose, [5], 1), EVERYTHING)
    after = sequences(NgramRescorer(loose.words, new)(lattice, beam=np.inf))
    by_hand = {t: score + sentence_log_prob(new, t) for t, score in sequences(lattice).items()}
    assert after == pytest.approx(by_hand, abs=1e-3)


def test_words_that_the_new_model_lacks(graph, old):
    """Such a word costs a fixed score and ends the history; sentences without it do not."""
    small = lm.estimate(["cat and at", "at and cat", "cat at"], order=2)
    rescorer = NgramRescorer(graph.words, small, old, NgramScales(lexicon=0.0, acoustic=1e-9))
    assert rescorer.missing == ("tack",)
    lattice = decode(graph, random_posteriors(graph, [6], 2), EVERYTHING)
    scores = sequences(rescorer(lattice, np.inf))

    def log_prob(*ngram: str) -> float:
        ids = np.array([[small.word_ids[word] for word in ngram]])
        return float(small.log_prob(ids)[0])

    def backoff(word: str) -> float:
        return float(small.orders[0].log_backoff[small.word_ids[word]])

    assert scores["cat"] == pytest.approx(
        log_prob("<s>", "cat") + log_prob("cat", "</s>"), abs=1e-4
    )
    by_hand = backoff("<s>") + UNKNOWN + log_prob("</s>")
    assert scores["tack"] == pytest.approx(by_hand, abs=1e-4)
    by_hand = log_prob("<s>", "and") + backoff("and") + UNKNOWN + log_prob("</s>")
    assert scores["and tack"] == pytest.approx(by_hand, abs=1e-4)


RECIPE = """
[topology]
kind = "ctc"
[lexicon]
files = ["lexicon.txt"]
[lm]
file = "old.arpa"
prune = 0.001
"""


def test_the_first_model_is_made_again_from_the_recipe(tmp_path, old, new):
    Lexicon([entry[:2] for entry in ENTRIES]).write(tmp_path / "lexicon.txt")
    old.write(tmp_path / "old.arpa")
    new.write(tmp_path / "new.arpa")
    (tmp_path / "mine.toml").write_text(RECIPE)
    folder = build(Recipe.read(tmp_path / "mine.toml"))
    rescorer = NgramRescorer.of_graph(folder, tmp_path / "new.arpa")
    by_hand = NgramRescorer(rescorer.words, new, lm.prune(old, 0.001))
    for name in ("_old", "_new"):
        for mine, theirs in zip(getattr(rescorer, name), getattr(by_hand, name), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
    same = NgramRescorer.of_graph(folder, tmp_path / "old.arpa")
    assert len(same._old.word) <= len(same._new.word)

    new.write(tmp_path / "old.arpa")
    with pytest.raises(GraphError, match=r"old\.arpa: is not the language model"):
        NgramRescorer.of_graph(folder, tmp_path / "new.arpa")
    (tmp_path / "old.arpa").unlink()
    with pytest.raises(GraphError, match="not a file"):
        NgramRescorer.of_graph(folder, tmp_path / "new.arpa")

    meta = json.loads((folder / "graph.json").read_text())
    meta["recipe"]["lm"] = None
    metadata.write(folder, meta)
    assert len(NgramRescorer.of_graph(folder, tmp_path / "new.arpa")._old.word) == 0


def test_the_graph_need_not_be_beside_its_recipe(tmp_path, old, new):
    """As graphs in the cache folder are not."""
    place = tmp_path / "recipes"
    place.mkdir()
    Lexicon([entry[:2] for entry in ENTRIES]).write(place / "lexicon.txt")
    old.write(place / "old.arpa")
    new.write(tmp_path / "new.arpa")
    (place / "mine.toml").write_text(RECIPE)
    folder = build(Recipe.read(place / "mine.toml"), tmp_path / "elsewhere" / "mine")
    rescorer = NgramRescorer.of_graph(folder, tmp_path / "new.arpa")
    beside = NgramRescorer.of_graph(build(Recipe.read(place / "mine.toml")), tmp_path / "new.arpa")
    for mine, theirs in zip(rescorer._old, beside._old, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    entries = from_sources(metadata.read(folder), folder)
    assert [entry.word for entry in entries] == [entry[0] for entry in ENTRIES]


def test_the_first_model_may_be_a_mixture(tmp_path, old, new):
    Lexicon([entry[:2] for entry in ENTRIES]).write(tmp_path / "lexicon.txt")
    old.write(tmp_path / "old.arpa")
    new.write(tmp_path / "new.arpa")
    recipe = RECIPE.replace("prune", 'mix = "new.arpa"\nmix_weight = 0.25\nprune')
    (tmp_path / "mine.toml").write_text(recipe)
    folder = build(Recipe.read(tmp_path / "mine.toml"))
    assert set(metadata.read(folder)["sources"]) == {"lexicon.txt", "old.arpa", "new.arpa"}
    rescorer = NgramRescorer.of_graph(folder, tmp_path / "new.arpa")
    mixture = lm.prune(lm.interpolate([old, new], [0.75, 0.25]), 0.001)
    by_hand = NgramRescorer(rescorer.words, new, mixture)
    for mine, theirs in zip(rescorer._old, by_hand._old, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)

    old.write(tmp_path / "new.arpa")
    with pytest.raises(GraphError, match=r"new\.arpa: is not the language model"):
        NgramRescorer.of_graph(folder, tmp_path / "old.arpa")
    (tmp_path / "mine.toml").write_text(recipe.replace("0.25", "1.25"))
    with pytest.raises(GraphError, match="mix_weight must be from 0 to 1"):
        Recipe.read(tmp_path / "mine.toml")


@pytest.mark.parametrize("wrong", [{"acoustic": 0.0}, {"lexicon": -1.0}, {"lm": -0.1}])
def test_scales_out_of_range(wrong):
    with pytest.raises(OptionError):
        NgramScales(**wrong)
