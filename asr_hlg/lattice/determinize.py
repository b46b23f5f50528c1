"""Determinization of a lattice over words: each word sequence keeps its best alignment.

The subset construction of Povey et al. 2012, "Generating exact lattices in the WFST framework": a
state stands for the states that the same words can reach, with the scores and alignments by which
they are behind the best of them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from asr_hlg.errors import LatticeError
from asr_hlg.lattice.arrays import FrameArcs
from asr_hlg.lattice.compact import Alignment, CompactLattice, WordArc

_DIGITS = 3  # after the point, to which scores of equal states agree
_MOST_STATES = 200_000


class Weight(NamedTuple):
    """Score that decides which alignment is best, the score that counts, and the alignment."""

    score: float
    counted: float
    alignment: Alignment


_Subset = dict[int, Weight]


def determinize(lattice: FrameArcs, graph_scale: float = 1.0) -> CompactLattice:
    """Determinize a lattice.

    Parameters
    ----------
    lattice : FrameArcs
    graph_scale : float
        Weight of the graph's scores in ``counted``; the best alignment is chosen without it.

    Raises
    ------
    LatticeError
        If the result has too many states.
    """
    steps = _Steps(lattice, graph_scale)
    start: _Subset = {0: Weight(0.0, 0.0, ())}
    numbers = {_key(start): 0}
    subsets = [start]
    arcs: list[list[WordArc]] = []
    finals: list[tuple[int, Weight]] = []
    for number, subset in enumerate(_growing(subsets)):
        following, final = steps.follow(subset)
        arcs.append([])
        for word, reached in following.items():
            common, rest = _normalised(reached)
            key = _key(rest)
            if key not in numbers:
                numbers[key] = len(subsets)
                subsets.append(rest)
                if len(subsets) > _MOST_STATES:
                    raise LatticeError(
                        "has too many different word sequences", remedy="narrow the output beam"
                    )
            arcs[number].append(WordArc(word, numbers[key], common.counted, common.alignment))
        if final is not None:
            finals.append((number, final))
    last = len(arcs)
    arcs.append([])
    for number, weight in finals:
        arcs[number].append(WordArc(0, last, weight.counted, weight.alignment))
    return CompactLattice(arcs, last)


def _growing(items: list[_Subset]) -> Iterator[_Subset]:
    """Items of a list to which the loop appends."""
    place = 0
    while place < len(items):
        yield items[place]
        place += 1


class _Steps:
    """Arcs of the lattice by state, in lists, which Python reads faster than arrays."""

    def __init__(self, lattice: FrameArcs, graph_scale: float):
        words = lattice.word_lattice
        self._final = words.num_states - 1
        self._splits = np.searchsorted(words.src, np.arange(words.num_states + 1)).tolist()
        has_frame = (words.arc >= 0) & (lattice.label[words.arc] >= 0)
        graph = np.where(words.arc >= 0, lattice.graph_score[words.arc], 0.0)
        counted = words.score - (1 - graph_scale) * graph
        labels = zip(
            lattice.label[words.arc].tolist(), lattice.phone[words.arc].tolist(), strict=True
        )
        reads: list[Alignment] = [
            (pair,) if frame else () for pair, frame in zip(labels, has_frame.tolist(), strict=True)
        ]
        self._arcs = list(
            zip(
                words.dst.tolist(),
                words.word.tolist(),
                words.score.tolist(),
                counted.tolist(),
                reads,
                strict=True,
            )
        )

    def follow(self, subset: _Subset) -> tuple[dict[int, _Subset], Weight | None]:
        """States after each next word, and the weight of the end if it can be reached before."""
        reached = dict(subset)
        waiting = sorted(reached)
        following: dict[int, _Subset] = {}
        place = 0
        while place < len(waiting):  # states are in topological order
            state = waiting[place]
            place += 1
            weight = reached[state]
            for target, word, score, counted, read in self._arcs[
                self._splits[state] : self._splits[state + 1]
            ]:
                longer = Weight(
                    weight.score + score, weight.counted + counted, weight.alignment + read
                )
                states = following.setdefault(word, {}) if word else reached
                old = states.get(target)
                if old is None and not word:
                    _insert(waiting, target, place)
                if old is None or longer.score > old.score:
                    states[target] = longer
        return following, reached.get(self._final)


def _insert(waiting: list[int], state: int, place: int) -> None:
    """Insert a state into the sorted rest of a list."""
    bisect.insort(waiting, state, lo=place)


def _normalised(subset: _Subset) -> tuple[Weight, _Subset]:
    """What all states of a subset have in common, and what remains of each."""
    best = max(subset.values(), key=lambda weight: weight.score)
    shared = min(len(weight.alignment) for weight in subset.values())
    prefix = best.alignment[:shared]
    for weight in subset.values():
        length = 0
        for ours, theirs in zip(prefix, weight.alignment, strict=False):
            if ours != theirs:
                break
            length += 1
        prefix = prefix[:length]
    rest = {
        state: Weight(
            weight.score - best.score,
            weight.counted - best.counted,
            weight.alignment[len(prefix) :],
        )
        for state, weight in subset.items()
    }
    return Weight(best.score, best.counted, prefix), rest


def _key(subset: _Subset) -> tuple[tuple[int, float, Alignment], ...]:
    return tuple(
        (state, round(weight.score, _DIGITS), weight.alignment)
        for state, weight in sorted(subset.items())
    )
