"""Pruned determinization, against all paths of small random lattices."""

from __future__ import annotations

import random

import pytest

from asr_hlg.lattice.pruned_determinize import Arc, Weight, determinize

BEAM = 2.0
NUM_LAYERS = 5


def arc(label, target, cost, *frames):
    """An arc with frames: each begins a phone, or 0 for a frame within one."""
    alignment = tuple((phone or 1, phone) for phone in frames)
    return Arc(label, target, Weight(-cost, -cost / 2, alignment))


def random_lattice(seed):
    """States in layers; the last layers' states lead to ends with labels below 0."""
    rng = random.Random(seed)
    arcs, ends, states = {}, {}, [0]
    for layer in range(1, NUM_LAYERS):
        following = [3 * layer + i for i in range(3)]
        for state in states:
            arcs[state] = [
                arc(
                    rng.choice([0, 0, 1, 2]),
                    rng.choice(following),
                    rng.uniform(0, 4),
                    *rng.choices([0, 2, 3], k=rng.choice([0, 1, 1, 2])),
                )
                for _ in range(3)
            ]
        states = following
    for state in states:
        arcs[state] = [arc(-state, 100 + state, 0.0)]
        ends[100 + state] = -rng.uniform(0, 1)
    return arcs, ends


def best_paths(arcs, ends, start):
    """The best score, graph score and alignment of every sequence of labels."""
    best = {}
    waiting = [(start, (), Weight(0.0, 0.0, ()))]
    while waiting:
        state, labels, weight = waiting.pop()
        for label, target, more in arcs.get(state, ()):
            longer, labels_here = weight.times(more), (*labels, label) if label else labels
            waiting.append((target, labels_here, longer))
            if target in ends:
                old = best.get(labels_here)
                if old is None or longer.score > old.score:
                    best[labels_here] = longer
    return best


def found_paths(rows):
    return best_paths(
        dict(enumerate(rows)), {a.target for row in rows for a in row if a.label < 0}, 0
    )


@pytest.mark.parametrize("seed", range(30))
def test_every_label_sequence_keeps_its_best_path(seed):
    arcs, ends = random_lattice(seed)
    rows = determinize(arcs, ends, 0, 100.0)
    expected, found = best_paths(arcs, ends, 0), found_paths(rows)
    assert found.keys() == expected.keys()
    for labels, weight in expected.items():
        assert found[labels].score == pytest.approx(weight.score, abs=0.01)
        assert found[labels].graph == pytest.approx(weight.graph, abs=0.01)
        assert found[labels].alignment == weight.alignment
    for row in rows:
        assert len({a.label for a in row} - {0}) == len(row)


@pytest.mark.parametrize("seed", range(30))
def test_arcs_are_those_of_paths_within_the_beam(seed):
    arcs, ends = random_lattice(seed)
    score = {
        labels: weight.score + ends[100 - labels[-1]]
        for labels, weight in best_paths(arcs, ends, 0).items()
    }
    worst = max(score.values()) - BEAM
    rows = determinize(arcs, ends, 0, BEAM)
    found = found_paths(rows)
    assert {labels for labels in score if score[labels] > worst + 0.01} <= found.keys()
    assert found.keys() <= score.keys()
    used = set()
    for labels, weight in found.items():
        if score[labels] < worst - 0.01:
            continue
        assert weight.score + ends[100 - labels[-1]] == pytest.approx(score[labels], abs=0.01)
        state = 0
        for label in labels:
            used.add((state, label))
            state = next(a.target for a in rows[state] if a.label == label)
    assert used == {(state, a.label) for state, row in enumerate(rows) for a in row}


def test_what_the_first_pass_prunes_does_not_keep_states_apart():
    # Words 1 and 2, then 3 and 4. Word 1 with phone 3 leads to state 2, from which all paths are
    # 2.4 behind. Without it, both words lead to state 1 alone, so that 2 4 is left, 3 behind.
    arcs = {
        0: [arc(1, 5, 0.0), arc(1, 6, 1.9), arc(2, 5, 1.5)],
        5: [arc(0, 1, 0.0, 2)],
        6: [arc(0, 2, 0.0, 3)],
        1: [arc(3, 7, 0.0, 2), arc(4, 7, 1.5, 2)],
        2: [arc(3, 7, 0.5, 2)],
        7: [arc(-1, 8, 0.0)],
    }
    found = found_paths(determinize(arcs, {8: 0.0}, 0, BEAM))
    assert {labels[:2]: -weight.score for labels, weight in found.items()} == {
        (1, 3): 0.0,
        (1, 4): 1.5,
        (2, 3): 1.5,
        (2, 4): 3.0,
    }


def test_no_path_to_an_end():
    assert determinize({0: [arc(1, 1, 0.0)]}, {2: 0.0}, 0, BEAM) == []
