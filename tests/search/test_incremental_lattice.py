"""The lattice that is determinized during the search, against that of the whole utterance."""

from __future__ import annotations

import pytest

from asr_hlg.lattice.compact import GRAPH_SCALE
from asr_hlg.lattice.determinize import determinize
from asr_hlg.lattice.incremental_determinize import IncrementalDeterminizer
from asr_hlg.search import SearchOptions, incremental_lattice, utterance
from asr_hlg.search.fst_decoder import FstTokenPassing
from asr_hlg.search.incremental_lattice import IncrementalLattice, Steps
from tests.search.test_search import random_graph, random_posteriors

BEAM = 2.5
NUM_FRAMES = 40


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Parts of a few frames."""
    monkeypatch.setattr(incremental_lattice, "_MAX_DELAY", 10)
    monkeypatch.setattr(incremental_lattice, "_MIN_SIZE", 4)
    monkeypatch.setattr(incremental_lattice, "_PRUNE_INTERVAL", 5)


def started(number, output_beam, steps, capacity=1 << 12):
    options = SearchOptions(search_beam=12.0, output_beam=output_beam, max_active=400)
    decoder = FstTokenPassing(random_graph(number, ctc=False), options)
    decoder.steps = steps
    scores = decoder.scaled(random_posteriors(decoder.graph, [NUM_FRAMES], number)).array[0]
    return decoder.start(decoder.allocate(capacity), options.limits), scores


def best_scores(compact, beam=float("inf")):
    """Scores of the word sequences that are within a beam of the best one."""
    rest: dict[int, float] = {}

    def best(state):
        if state not in rest:
            ends = [a.counted + best(a.target) for a in compact.arcs[state]]
            rest[state] = 0.0 if state == compact.final else max(ends, default=-float("inf"))
        return rest[state]

    found: dict[tuple[int, ...], float] = {}
    waiting = [(0, (), 0.0)]
    while waiting:
        state, words, score = waiting.pop()
        if state == compact.final:
            found[words] = max(score, found.get(words, -float("inf")))
        for arc in compact.arcs[state]:
            longer = score + arc.counted
            if longer + best(arc.target) >= best(0) - beam:
                waiting.append((arc.target, (*words, arc.word) if arc.word else words, longer))
    return found


def searched(number, steps, sizes=(NUM_FRAMES,), **options):
    search, scores = started(number, BEAM, steps, **options)
    begin = 0
    for size in sizes:
        search.accept(scores[begin : begin + size])
        begin += size
    assert begin == NUM_FRAMES
    arcs = search.lattice()
    return best_scores(arcs.compact) if arcs.num_arcs else None


@pytest.mark.parametrize("number", range(12))
def test_all_word_sequences_within_the_beam_have_their_scores(number, monkeypatch):
    parts = []
    accept = IncrementalDeterminizer.accept
    monkeypatch.setattr(
        IncrementalDeterminizer, "accept", lambda self, part: (parts.append(1), accept(self, part))
    )
    found = searched(number, Steps(4, 1.3))
    search, scores = started(number, BEAM + 2, None)
    search.accept(scores)
    arcs = search.lattice()
    if not arcs.num_arcs:
        assert found is None
        return
    assert len(parts) > 1
    # The beam counts graph scores fully, which the result does not.
    whole = best_scores(determinize(arcs, graph_scale=1.0))
    scaled = best_scores(determinize(arcs, graph_scale=GRAPH_SCALE))
    best = max(whole.values())
    expected = {words for words, score in whole.items() if score > best - BEAM + 1e-6}
    assert expected <= set(found)
    for words in expected:
        assert found[words] == pytest.approx(scaled[words], abs=1e-3)


@pytest.mark.parametrize("number", range(6))
def test_steps_of_a_stream_give_the_lattice_of_the_whole(number):
    expected = searched(number, Steps(4, 0.0))
    assert searched(number, Steps(4, 0.0), [4] * (NUM_FRAMES // 4)) == expected


@pytest.mark.parametrize("number", range(6))
def test_pruned_tokens_can_be_removed_and_workspaces_enlarged(number, monkeypatch):
    expected = searched(number, Steps(4, 1.3))
    monkeypatch.setattr(utterance, "RELEASE", 1)
    assert searched(number, Steps(4, 1.3), capacity=8) == expected


@pytest.mark.parametrize("number", range(6))
def test_a_result_before_the_end_does_not_change_the_last_one(number):
    expected = searched(number, Steps(4, 0.0))
    search, scores = started(number, BEAM, Steps(4, 0.0))
    search.accept(scores[:20])
    search.lattice()
    search.accept(scores[20:])
    arcs = search.lattice()
    assert (best_scores(arcs.compact) if arcs.num_arcs else None) == expected


def test_the_look_ahead_delays_the_last_updates():
    def stops(last, steps):
        frame, found = 0, []
        while frame < last:
            frame, is_update = IncrementalLattice.next_stop(frame, last, steps)
            found.append((frame, is_update))
        return [frame for frame, is_update in found if is_update], [frame for frame, _ in found]

    updates, prunings = stops(40, Steps(8, 7.3))
    assert updates == [8, 16, 24, 32, 40]
    assert {5, 10, 15, 20, 25, 30, 35} <= set(prunings)
    assert stops(40, Steps(8, 8.1))[0] == [8, 16, 24, 40]  # the last two steps are one
    assert stops(13, Steps(8, 30.0))[0] == [13]
