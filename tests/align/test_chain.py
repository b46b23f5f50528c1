"""Alignment of a chain of words, against enumeration of all its paths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_hlg.align import chain
from tests.support.examples import examples

SILENCE = (0,)
PRONUNCIATIONS = st.lists(st.integers(1, 4), min_size=1, max_size=2)
WORDS = st.lists(st.lists(PRONUNCIATIONS, min_size=1, max_size=2), min_size=0, max_size=2)


def all_alignments(words, num_frames):
    """Every sequence of (word, pronunciation, state) of a chain, one per frame."""
    silences = itertools.product([False, True], repeat=len(words) + 1)
    for silent in silences:
        for choice in itertools.product(*(range(len(word)) for word in words)):
            states = []
            for number in range(len(words) + 1):
                if silent[number]:
                    states.append((-1, number, 0, 0))
                if number < len(words):
                    columns = words[number][choice[number]]
                    states += [(number, choice[number], s, c) for s, c in enumerate(columns)]
            if not states:
                continue
            for cuts in itertools.combinations(range(1, num_frames), len(states) - 1):
                lengths = np.diff([0, *cuts, num_frames])
                yield states, lengths


@examples(150)
@given(WORDS, st.integers(1, 7), st.integers(0, 1000), st.booleans())
def test_the_best_of_all_alignments_is_found(words, num_frames, seed, restricted):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(num_frames, 5)).astype(np.float32)
    spans = [(0, num_frames)] * len(words)
    if restricted:
        ends = np.sort(random.integers(1, num_frames + 1, size=len(words)))
        begins = np.minimum(np.sort(random.integers(0, num_frames, size=len(words))), ends - 1)
        spans = [(int(b), int(e)) for b, e in zip(begins, ends, strict=True)]
    expected = brute_force(words, spans, scores)
    made, owner = chain.make(words, spans, SILENCE, num_frames)
    path, score = made.align(scores, 0.6)
    assert score == pytest.approx(expected, abs=1e-4)
    if expected == -np.inf:
        assert path == []
        return
    # Paths can tie, so that the path found is scored again instead of being compared.
    total, number = 0.0, 0
    assert path[0][1][0] == 0
    assert path[-1][1][-1] == num_frames
    for (hmm, starts), following in itertools.zip_longest(path, path[1:]):
        word, index = owner[hmm]
        assert following is None or following[1][0] == starts[-1]
        assert word in (-1, number)
        number += word >= 0
        columns = SILENCE if word < 0 else words[word][index]
        for column, begin, end in zip(columns, starts[:-1], starts[1:], strict=True):
            total += scores[begin:end, column].sum() + np.log(0.6) * (end - begin - 1)
            total += np.log(0.4)
    assert number == len(words)
    assert total == pytest.approx(score, abs=1e-4)


def brute_force(words, spans, scores):
    """The best alignment; silence lies between the spans of its neighbours."""
    best = -np.inf
    num_frames = len(scores)
    for states, lengths in all_alignments(words, num_frames):
        t, total, inside = 0, 0.0, True
        for (word, number, _, column), length in zip(states, lengths, strict=True):
            total += scores[t : t + length, column].sum()
            total += (length - 1) * np.log(0.6) + np.log(0.4)
            begin, end = spans[word] if word >= 0 else silence_span(spans, number, num_frames)
            inside &= begin <= t and t + length <= end
            t += length
        if inside:
            best = max(best, total)
    return best


def silence_span(spans, number, num_frames):
    begin = spans[number - 1][0] if number else 0
    end = spans[number][1] if number < len(spans) else num_frames
    return begin, end
