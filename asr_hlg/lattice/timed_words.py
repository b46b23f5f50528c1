"""Words of minimum Bayes risk with averaged times, as Kaldi's ``lattice-mbr-decode`` gives them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asr_hlg.lattice import kernels
from asr_hlg.lattice.mbr import slot_posteriors
from asr_hlg.lattice.word_alignment import AlignedLattice

_MOST_ROUNDS = 100


class TimedWord(NamedTuple):
    """A word, its frames [begin, end), which are averages, and its posterior."""

    word: int
    begin: float
    end: float
    confidence: float


def timed_words(lattice: AlignedLattice) -> list[TimedWord]:
    """Words with the fewest expected errors.

    The rounds are those of Xu, Povey, Mangu, Zhu 2011: every slot gets its most probable word, of
    equals that with the larger id, until none is more probable than that of the round before.
    A word's times are averages over the arcs that are aligned with it.
    """
    ids, local = np.unique(np.append(0, lattice.word), return_inverse=True)
    word = local[1:].astype(np.int64)
    path = kernels.best_path(lattice.src, lattice.dst, lattice.score, lattice.num_states)
    hypothesis = word[path]
    for _ in range(_MOST_ROUNDS):
        hypothesis = hypothesis[hypothesis > 0]
        reference = np.zeros(2 * len(hypothesis) + 1, np.int64)
        reference[1::2] = hypothesis
        _, stats, begins, ends = slot_posteriors(
            lattice.src, lattice.dst, word, lattice.score, lattice.times, reference, len(ids)
        )
        stats[0] = np.maximum(0.0, 1.0 - stats[1:].sum(0))
        compared = stats.astype(np.float32)  # as in Kaldi
        hypothesis = len(ids) - 1 - compared[::-1].argmax(0)
        slots = np.arange(len(reference))
        if (compared[hypothesis, slots] == compared[reference, slots]).all():
            break
    found = []
    for slot in np.flatnonzero(hypothesis):
        row = hypothesis[slot]
        share = stats[row, slot]
        times = begins[row, slot] / share, ends[row, slot] / share
        found.append(TimedWord(int(ids[row]), *times, float(min(share, 1.0))))
    return _without_overlaps(found)


def _without_overlaps(words: list[TimedWord]) -> list[TimedWord]:
    """Words of which none begins before the one before ends: both share their time by length."""
    result: list[TimedWord] = []
    for word in words:
        result.append(word)
        if len(result) < 2 or result[-2].end <= word.begin:
            continue
        before = result[-2]
        earliest = result[-3].end if len(result) > 2 else 0.0
        left = max(earliest, min(before.begin, word.begin))
        right = max(before.end, word.end)
        first, second = before.end - before.begin, word.end - word.begin
        middle = left + (right - left) * first / (first + second) if first > 0 else left
        result[-2] = before._replace(begin=left, end=middle)
        result[-1] = word._replace(begin=middle, end=right)
    return result
