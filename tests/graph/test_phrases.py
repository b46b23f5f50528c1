"""Boosted graphs against the plain graph's paths with the boosts added by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.errors import GraphError, OptionError
from asr_hlg.graph.adapt.new_words import with_words
from asr_hlg.graph.adapt.phrases import boost
from asr_hlg.search import decode
from tests.graph.test_new_words import NEW, TOPOLOGIES, compile_toy
from tests.lattice.test_lattice import ENTRIES, EVERYTHING, all_paths, make_graph, random_posteriors
from tests.support.brute_force import log_sum
from tests.support.examples import examples

GRAPH = make_graph()
WORDS = sorted({word for word, _ in ENTRIES})


def earned(words: tuple[str, ...], phrases: dict[tuple[str, ...], float]) -> float:
    """What a sentence's phrases are worth: every word counts for one of them, at best."""
    best = [0.0]
    for end in range(1, len(words) + 1):
        ways = [best[-1]]
        for phrase, value in phrases.items():
            if words[max(end - len(phrase), 0) : end] == phrase:
                ways.append(best[end - len(phrase)] + len(phrase) * value)
        best.append(max(ways))
    return best[-1]


def scores(graph, posteriors) -> dict[tuple[str, ...], list[float]]:
    """Every path's score, by words."""
    found = all_paths(graph, posteriors, 0)
    return {tuple(graph.word_names[i] for i in ids): sorted(s) for ids, s in found.items()}


def check(plain, boosted, phrases, posteriors) -> int:
    """Hold every sentence against its definition; how many of them have a phrase."""
    before, after = scores(plain, posteriors), scores(boosted, posteriors)
    assert before.keys() == after.keys()
    check_token_passing(boosted, posteriors, after)
    changed = 0
    for words, was in before.items():
        gain = earned(words, phrases)
        assert after[words][-1] == pytest.approx(was[-1] + gain, abs=1e-4), words
        if not gain:
            assert after[words] == pytest.approx(was, abs=1e-4), words
        changed += gain > 0
    return changed


def check_token_passing(graph, posteriors, expected: dict[tuple[str, ...], list[float]]) -> None:
    """The other engine, whose L∘G is changed by itself, finds the same best paths and sums."""
    if graph.packed is None:
        return
    lattice = decode(graph, posteriors, replace(EVERYTHING, engine="tokens"))
    best = {path.words: path.score for path in lattice.nbest(100_000)[0]}
    assert best == pytest.approx({words: s[-1] for words, s in expected.items()}, abs=1e-4)
    total = {path.words: path.score for path in lattice.nbest(100_000, forward=True)[0]}
    assert total == pytest.approx({w: log_sum(s) for w, s in expected.items()}, abs=1e-3)


PHRASES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)


@examples(60)
@given(
    st.dictionaries(PHRASES, st.sampled_from([0.0, 0.5, 1.25, 3.0]), max_size=5),
    st.integers(0, 1000),
)
def test_every_sentence_earns_the_boosts_of_its_phrases(phrases, seed):
    posteriors = random_posteriors(GRAPH, [6], seed)
    check(GRAPH, boost(GRAPH, phrases), phrases, posteriors)


@pytest.mark.parametrize("silence", [None, "SIL"])
@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_with_back_offs_silences_and_new_words(tmp_path, kind, silence):
    plain = with_words(compile_toy(tmp_path, kind, silence), NEW, -1.0)
    phrases = {
        ("a", "at"): 2.0,  # a bigram of the model
        ("a", "ah"): 1.5,  # homophones, one of them new
        ("add", "a", "a"): 0.7,
        ("add",): 0.5,
        ("kk", "a"): 1.0,
        ("tack",): 0.3,
    }
    posteriors = random_posteriors(plain, [6], 3)
    assert check(plain, boost(plain, phrases), phrases, posteriors) > 3


def test_best_path_is_that_of_the_boosted_scores():
    posteriors = random_posteriors(GRAPH, [6], 5, sharpness=0.5)
    phrases = {("at", "a"): 4.0}
    before = scores(GRAPH, posteriors)
    expected = max(before, key=lambda words: before[words][-1] + earned(words, phrases))
    plain = decode(GRAPH, posteriors, EVERYTHING)
    boosted = decode(boost(GRAPH, phrases), posteriors, EVERYTHING)
    path = boosted.best_path()[0]
    assert path.words == expected != plain.best_path()[0].words
    same = {p.words: p for p in plain.nbest(100_000)[0]}[expected]
    assert path.graph_score == pytest.approx(same.graph_score + earned(expected, phrases))
    assert path.acoustic_score == pytest.approx(same.acoustic_score)
    assert [word.text for word in boosted.words()[0]] == list(expected)


def test_sums_of_single_words_are_exact_and_those_of_phrases_hold_both_ways():
    posteriors = random_posteriors(GRAPH, [6], 5)
    before = scores(GRAPH, posteriors)
    one = scores(boost(GRAPH, {("at",): 2.0}), posteriors)
    two = scores(boost(GRAPH, {("at", "a"): 2.0}), posteriors)
    for words in before:
        plain = log_sum(before[words])
        assert log_sum(one[words]) == pytest.approx(plain + 2 * words.count("at"), abs=1e-4)
        if words == ("at", "a"):
            assert log_sum(two[words]) == pytest.approx(plain + np.log1p(np.exp(4)), abs=1e-4)


def test_without_a_boost_the_graph_is_the_same():
    assert boost(GRAPH, {}) is GRAPH
    assert boost(GRAPH, {("cat",): 0.0, ("cat", "hat"): 0.0}) is GRAPH


def test_the_graph_itself_stays_as_it_was():
    before = GRAPH.fsa.arcs.values().clone(), GRAPH.fsa.graph_scores.clone()
    boost(GRAPH, {("cat",): 1.0, ("cat", "hat"): 1.0})
    assert bool((GRAPH.fsa.arcs.values() == before[0]).all())
    assert bool((GRAPH.fsa.graph_scores == before[1]).all())


@pytest.mark.parametrize(
    ("phrases", "error"),
    [
        ({("dog",): 1.0}, GraphError),
        ({("cat", "#0"): 1.0}, GraphError),
        ({("<eps>",): 1.0}, GraphError),
        ({("cat",): -1.0}, OptionError),
        ({("cat",): float("nan")}, OptionError),
        ({("cat",): float("inf")}, OptionError),
        ({(): 1.0}, OptionError),
    ],
)
def test_phrases_that_cannot_be(phrases, error):
    with pytest.raises(error):
        boost(GRAPH, phrases)
