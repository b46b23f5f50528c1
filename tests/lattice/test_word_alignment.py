"""Determinized and word-aligned lattices against all paths of small random lattices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asr_hlg.lattice import FrameArcs
from asr_hlg.lattice.determinize import determinize
from asr_hlg.lattice.timed_words import timed_words
from asr_hlg.lattice.word_alignment import AlignedLattice, align_words

# Phones 1 and 2 begin words, 3 is inside and 4 ends them; 5 is a word; 6 is silence.
POSITIONS = {1: "begin", 2: "begin", 3: "internal", 4: "end", 5: "singleton", 6: "nonword"}
PRONUNCIATIONS = {1: (1, 4), 2: (2, 3, 4), 3: (5,), 4: (1, 3, 4)}


def random_lattice(seed, count=6):
    """Lattice of random paths that share states, its alignments being words of PRONUNCIATIONS."""
    random = np.random.default_rng(seed)
    frames = int(random.integers(8, 12))
    nodes = {(0, ""): 0}
    rows = set()
    for _ in range(count):
        phones, words = [], []
        while True:
            word = int(random.integers(0, 5))
            spelled = PRONUNCIATIONS[word] if word else (6,)
            if len(phones) + len(spelled) > frames - 1:
                break
            lengths = random.integers(1, 3, len(spelled))
            if len(phones) + lengths.sum() > frames - 1:
                break
            place = len(phones) + int(random.integers(0, lengths.sum()))
            words += [(place, word)] if word else []
            for phone, length in zip(spelled, lengths, strict=True):
                phones += [phone] + [0] * (length - 1)
        phones += [6] + [0] * (frames - len(phones) - 1)
        state = 0
        for t, phone in enumerate(phones):
            word = dict(words).get(t, 0)
            # a state after a word's last frame is shared by all paths that have the same rest
            rest = tuple(phones[t + 1 :]), tuple(w for p, w in words if p > t)
            target = nodes.setdefault((t + 1, str(rest)), len(nodes))
            rows.add((state, target, phone, t, word))
            state = target
    # numbered by time, the order that lattices have
    order = sorted(nodes.items(), key=lambda item: (item[0][0], item[1]))
    number = {old: new for new, (_, old) in enumerate(order)}
    ends = [number[old] for (t, _), old in nodes.items() if t == frames]
    table = sorted((number[s], number[d], p, t, w) for s, d, p, t, w in rows)
    table += [(end, len(nodes), 0, frames, 0) for end in ends]
    src, dst, phone, frame, word = (np.array(x, np.int32) for x in zip(*table, strict=True))
    label = np.where(frame == frames, -1, phone)
    score, graph = random.normal(size=len(src)), random.normal(size=len(src))
    splits = np.append(0, np.cumsum(word > 0))
    return FrameArcs(
        len(nodes) + 1, src, dst, label.astype(np.int32), phone, frame, score, graph,
        word[word > 0], splits,
    )  # fmt: skip


def paths(lattice):
    """Arcs of every path."""

    def walk(state):
        if state == lattice.num_states - 1:
            yield ()
        for arc in np.flatnonzero(lattice.src == state):
            for rest in walk(lattice.dst[arc]):
                yield (arc, *rest)

    return list(walk(0))


def words_of(lattice, path):
    splits = lattice.word_splits
    return tuple(w for arc in path for w in lattice.words[splits[arc] : splits[arc + 1]].tolist())


def best_by_words(lattice):
    """Best path of every word sequence."""
    best = {}
    for path in paths(lattice):
        words = words_of(lattice, path)
        score = lattice.score[list(path)].sum()
        if words not in best or score > best[words][0]:
            best[words] = score, path
    return best


def sequences(compact, state=0):
    if state == compact.final:
        yield (), 0.0, ()
    for arc in compact.arcs[state]:
        for words, score, alignment in sequences(compact, arc.target):
            own = (arc.word,) if arc.word else ()
            yield own + words, arc.counted + score, arc.alignment + alignment


@pytest.mark.parametrize("seed", range(40))
def test_each_word_sequence_keeps_its_best_alignment(seed):
    lattice = random_lattice(seed)
    expected = best_by_words(lattice)
    found = list(sequences(determinize(lattice, graph_scale=0.9)))
    assert len(found) == len({words for words, _, _ in found}) == len(expected)
    for words, score, alignment in found:
        path = list(expected[words][1])
        counted = expected[words][0] - 0.1 * lattice.graph_score[path].sum()
        assert score == pytest.approx(counted)
        frames = [arc for arc in path if lattice.label[arc] >= 0]
        pairs = zip(lattice.label[frames].tolist(), lattice.phone[frames].tolist(), strict=True)
        assert list(alignment) == list(pairs)


def spans(lattice, path):
    """Words with their frames, from the phones of a path."""
    onsets = [(int(lattice.frame[a]), int(lattice.phone[a])) for a in path if lattice.phone[a]]
    ends = [t for t, _ in onsets[1:]] + [max(int(lattice.frame[a]) for a in path)]
    words, begin, result = iter(words_of(lattice, path)), 0, []
    for (t, phone), end in zip(onsets, ends, strict=True):
        position = POSITIONS[phone]
        begin = t if position in ("begin", "singleton") else begin
        if position in ("end", "singleton"):
            result.append((next(words), begin, end))
    return result


def aligned_paths(lattice, state=0):
    if state == lattice.num_states - 1:
        yield (), 0.0
    for arc in np.flatnonzero(lattice.src == state):
        times = lattice.times[lattice.src[arc]], lattice.times[lattice.dst[arc]]
        for rest, score in aligned_paths(lattice, lattice.dst[arc]):
            word = int(lattice.word[arc])
            yield ((word, *times), *rest) if word else rest, lattice.score[arc] + score


@pytest.mark.parametrize("seed", range(40))
def test_arcs_of_an_aligned_lattice_have_the_frames_of_their_words(seed):
    lattice = random_lattice(seed)
    aligned = align_words(determinize(lattice), POSITIONS)
    assert (aligned.src < aligned.dst).all()
    expected = {
        tuple(spans(lattice, path)): score for score, path in best_by_words(lattice).values()
    }
    found = dict(aligned_paths(aligned))
    assert found.keys() == expected.keys()
    for key, score in found.items():
        assert score == pytest.approx(expected[key], rel=1e-5, abs=1e-5)


def test_of_words_with_equal_posteriors_the_larger_id_is_taken():
    """As Kaldi's sort by posterior and id does, also where the best path has the other."""
    src, dst = np.array([0, 0], np.int32), np.array([1, 1], np.int32)
    for words in ((7, 9), (9, 7)):
        lattice = AlignedLattice(
            src, dst, np.array(words, np.int32), np.log([0.5, 0.5]), np.array([0.0, 2.0])
        )
        assert [word.word for word in timed_words(lattice)] == [9]


def test_times_and_confidences_are_averages():
    """Two words compete; the first word's end differs between the paths."""
    p = 0.75
    # a(0-2) b(2-6) with probability p, a(0-4) c(4-6) otherwise
    lattice = AlignedLattice(
        np.array([0, 0, 1, 2], np.int32),
        np.array([1, 2, 3, 3], np.int32),
        np.array([7, 7, 8, 9], np.int32),
        np.array([np.log(p), np.log(1 - p), 0.0, 0.0]),
        np.array([0.0, 2.0, 4.0, 6.0]),
    )
    first, second = timed_words(lattice)
    assert (first.word, first.begin, first.confidence) == (7, 0.0, pytest.approx(1.0))
    # a ends at 2.5 on average and b begins at 2: the six frames are shared by their lengths
    assert first.end == pytest.approx(6 * 2.5 / (2.5 + 4))
    assert (second.word, second.end) == (8, 6.0)
    assert second.confidence == pytest.approx(p)
    assert first.end == second.begin


@pytest.mark.parametrize("seed", range(20))
def test_words_have_the_fewest_expected_errors_or_are_a_fixed_point(seed):
    lattice = random_lattice(seed, count=3)
    aligned = align_words(determinize(lattice), POSITIONS)
    words = timed_words(aligned)
    assert all(0 < word.confidence <= 1 + 1e-9 for word in words)
    assert all(a.end <= b.begin + 1e-9 for a, b in itertools.pairwise(words))
    total = sum(np.exp(score) for _, score in aligned_paths(aligned))
    best = max(np.exp(score) for _, score in aligned_paths(aligned)) / total
    if best > 0.99:
        top = max(aligned_paths(aligned), key=lambda item: item[1])[0]
        assert [word.word for word in words] == [word for word, _, _ in top]
