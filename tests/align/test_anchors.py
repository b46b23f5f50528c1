"""Anchors: the longest chain of common trigrams, cuts, and windows between them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asr_hlg.align import anchors, windows
from asr_hlg.align.anchors import Cut, RecognisedWord
from asr_hlg.align.optional import Costs, align
from asr_hlg.align.windows import Inputs, Window

ALPHABET = "._abcdefghij"


def hypothesis(text: str) -> list[RecognisedWord]:
    """Words of 10 frames, with a pause of as many frames as there are dots before each."""
    words, at = [], 0
    for word in text.split():
        at += word.count(".")
        words.append(RecognisedWord(word.strip(".?"), at, at + 10, "?" not in word))
        at += 10
    return words


def longest(words, hypothesis) -> int:
    """Length of the longest chain, by the textbook's table."""
    trigrams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    others = [tuple(w.text for w in hypothesis[j : j + 3]) for j in range(len(hypothesis) - 2)]
    table = np.zeros((len(trigrams) + 1, len(others) + 1), int)
    for i, a in enumerate(trigrams):
        for j, b in enumerate(others):
            table[i + 1, j + 1] = max(table[i, j + 1], table[i + 1, j], table[i, j] + (a == b))
    return int(table[-1, -1])


@pytest.mark.parametrize("seed", range(20))
def test_the_chain_is_the_longest(seed):
    rng = np.random.default_rng(seed)
    words = rng.choice(list("abc"), size=rng.integers(0, 30)).tolist()
    spoken = hypothesis(" ".join(rng.choice(list("abc"), size=rng.integers(0, 30))))
    chain = anchors.chain(words, spoken)
    assert len(chain) == longest(words, spoken)
    for before, after in itertools.pairwise(chain):
        assert before[0] < after[0]
        assert before[1] < after[1]
    for i, j in chain:
        assert words[i : i + 3] == [word.text for word in spoken[j : j + 3]]


def test_cuts_are_within_agreement():
    words = ["x", "y", "a", "b", "c", "d", "e", "f", "z"]
    found = anchors.find(words, hypothesis("p a b ..c ....d e f q r"))
    assert found == [Cut(4, 31, 2), Cut(5, 44, 4), Cut(6, 56, 0)]
    assert anchors.find(words, hypothesis("a b ?c d e f")) == []
    assert anchors.find(words, hypothesis("x y b c d q z")) == []


def test_a_frequent_trigram_is_tried_near_the_diagonal():
    words = ["a"] * 3000
    chain = anchors.chain(words, hypothesis(" ".join(words)))
    assert len(chain) == 2998
    assert all(i == j for i, j in chain)


def test_windows_end_at_long_pauses_and_cover_everything():
    cuts = [Cut(n, 100 * n, n % 7) for n in range(1, 100)]
    parts = list(windows.divide(Window(0, 105, 0, 10_500), cuts, 0.02))
    assert parts[0].first == parts[0].begin == 0
    assert (parts[-1].last, parts[-1].end) == (105, 10_500)
    for before, after in itertools.pairwise(parts):
        assert (before.last, before.end) == (after.first, after.begin)
        assert 500 <= before.end - before.begin <= 1500
        assert before.last % 7 == 6


def spell(text: str) -> list[list[list[int]]]:
    return [[[ALPHABET.index(label) for label in word]] for word in text.split()]


def sound(text: str) -> np.ndarray:
    labels = [ALPHABET.index(label) for label in "".join(f"..{word}.." for word in text.split())]
    frames = np.full((len(labels), len(ALPHABET)), 0.001)
    frames[np.arange(len(labels)), labels] = 1
    return np.log(frames / frames.sum(1, keepdims=True)).astype(np.float32)


def test_windows_give_the_path_of_the_whole(monkeypatch):
    rng = np.random.default_rng(1)
    said = ["".join(rng.permutation(list("abcdefghij"))[:4]) for _ in range(60)]
    text = [*said[:20], "jihgf", *said[20:30], *said[35:]]
    log_probs, units = sound(" ".join(said)), spell(" ".join(text))
    inputs = Inputs(log_probs, 0.02, units, [0, 1])
    whole = align(log_probs, units, [0, 1], Costs())
    cuts = [Cut(n, 8 * n) for n in range(5, 20)] + [Cut(n - 4, 8 * n) for n in range(40, 55)]
    monkeypatch.setattr(windows, "DIRECT_CELLS", 0)
    monkeypatch.setattr(windows, "_WINDOW", (1.0, 2.0))
    parts = windows.align_all(inputs, Costs(), lambda: cuts)
    assert parts.choice.tolist() == whole.choice.tolist()
    assert [span.tolist() for span in parts.spans] == [span.tolist() for span in whole.spans]
    assert np.flatnonzero(parts.choice < 0).tolist() == [20]
    assert parts.score == pytest.approx(whole.score)
    assert parts.unmatched == windows._merged(whole.unmatched, 0.02)


def test_of_a_window_that_is_too_large_both_ends_are_aligned(monkeypatch):
    said = "abcd efgh ijab cdef ghij"
    units = spell(" ".join(["jihg"] * 30 + said.split()))
    inputs = Inputs(np.concatenate([sound("bacd " * 40), sound(said)]), 0.02, units, [0, 1])
    monkeypatch.setattr(windows, "MAX_CELLS", 10_000)
    monkeypatch.setattr(windows, "_BORDER_SECONDS", 1.0)
    monkeypatch.setattr(windows, "_BORDER_WORDS", 10)
    monkeypatch.setattr(windows, "_WINDOW", (1.0, 2.0))
    cut = Cut(32, len(inputs.log_probs) - 3 * 8)
    monkeypatch.setattr(windows, "DIRECT_CELLS", 0)
    path = windows.align_all(inputs, Costs(), lambda: [cut])
    assert np.flatnonzero(path.choice >= 0).tolist() == [30, 31, 32, 33, 34]


def test_a_word_among_many_that_are_not_spoken_is_a_coincidence():
    said = "abcd efgh ijab cdef ghij"
    other = "jihg fedc bajh ijab gfed cbji hgfa"
    units = spell(f"{said} {other} {said}")
    inputs = Inputs(sound(f"{said} cadb ijab dcbe {said}"), 0.02, units, [0, 1])
    direct = align(inputs.log_probs, units, [0, 1], Costs())
    assert direct.choice[8] == 0
    path = windows.align_all(inputs, Costs())
    assert np.flatnonzero(path.choice < 0).tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert len(path.unmatched) == 1
