"""CTC scores of word sequences against a sum over all label strings of the frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asr_hlg.rescore.ctc import WordChain

SILENCE = 1


def strings(words):
    """Every token string that the words allow, silence included, as often as it is allowed."""
    if not words:
        return [(), (SILENCE,)]
    return [
        silence + tuple(phones) + rest
        for silence in ((), (SILENCE,))
        for phones in words[0]
        for rest in strings(words[1:])
    ]


def by_enumeration(log_probs, words):
    """Log-sum and maximum over all paths whose string, without repeats and blanks, is allowed."""
    count: dict[tuple[int, ...], int] = {}
    for string in strings(words):
        count[string] = count.get(string, 0) + 1
    total = best = -np.inf
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        string = tuple(token for token, _ in itertools.groupby(path) if token)
        if string in count:
            score = log_probs[np.arange(len(path)), path].sum()
            total = np.logaddexp(total, score + np.log(count[string]))
            best = max(best, score)
    return total, best


WORDS = [
    [],
    [[(2,)]],
    [[(2, 2)]],
    [[(2,)], [(2, 3), (3,)]],
    [[(3, 2)], [(2,)]],
    [[(2, 3), (2,)], [(3,)], [(2,)]],
    [[(1, 2)]],
]


@pytest.mark.parametrize("words", WORDS)
def test_scores_equal_the_sum_over_all_strings(words):
    log_probs = np.log(np.random.default_rng(len(words)).dirichlet(np.ones(4), 6))
    chain = WordChain.of(words)
    total, best = by_enumeration(log_probs, words)
    assert chain.log_prob(np.exp(log_probs), SILENCE) == pytest.approx(total, abs=1e-9)
    aligned = chain.align(log_probs, SILENCE)
    assert aligned.log_prob == pytest.approx(best, abs=1e-9)
    own = log_probs[np.arange(len(log_probs)), aligned.labels].sum()
    assert own == pytest.approx(best, abs=1e-9)


def test_spans_lie_where_the_tokens_are_probable():
    labels = [0, 2, 2, 0, 3, 1, 1, 0, 2, 0, 3, 0]
    probabilities = np.full((len(labels), 4), 0.02)
    probabilities[np.arange(len(labels)), labels] = 0.94
    aligned = WordChain.of([[(2, 3)], [(3, 2), (2, 3)]]).align(np.log(probabilities), SILENCE)
    assert aligned.spans == [(1, 5), (8, 11)]
    assert aligned.labels.tolist() == labels


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_too_few_frames_have_no_alignment(frames):
    probabilities = np.full((frames, 4), 0.25)
    chain = WordChain.of([[(2, 2)]])  # needs a blank between both tokens
    assert chain.log_prob(probabilities, SILENCE) == -np.inf
    assert chain.align(np.log(probabilities), SILENCE).log_prob == -np.inf


def test_without_a_silence_token():
    log_probs = np.log(np.random.default_rng(9).dirichlet(np.ones(3), 5))
    chain = WordChain.of([[(1,)], [(2,)]])
    total = -np.inf
    for path in itertools.product(range(3), repeat=5):
        if tuple(token for token, _ in itertools.groupby(path) if token) == (1, 2):
            total = np.logaddexp(total, log_probs[np.arange(5), path].sum())
    assert chain.log_prob(np.exp(log_probs), -1) == pytest.approx(total, abs=1e-9)


def test_long_sequences_do_not_underflow():
    """A minute of frames that contradict the word: e^-41,000 is below any float."""
    probabilities = np.full((3000, 3), 1e-6)
    probabilities[:, 2] = 1 - 2e-6
    chain = WordChain.of([[(1,)]])
    best = chain.align(np.log(probabilities), -1).log_prob
    assert best == pytest.approx(3000 * np.log(1e-6))
    # All alignments are equally probable: one for every first and last frame of the word.
    score = chain.log_prob(probabilities, -1)
    assert score == pytest.approx(best + np.log(3000 * 3001 / 2), rel=1e-9)
