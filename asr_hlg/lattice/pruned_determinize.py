"""Pruned determinization of a lattice over words, in two passes, as Kaldi does it.

Povey et al. 2012, "Generating exact lattices in the WFST framework". Kaldi's
``DeterminizeLatticePhonePruned`` is this with a pass before, in which phones are labels too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from asr_hlg.lattice.compact import Alignment

_DELTA = 1 / 1024  # difference of scores up to which states are equal
_MOST_STATES = 20_000
_NEVER = -float("inf")
_PHONE = 1 << 42  # labels of phones, and states between arcs, begin here


class Weight(NamedTuple):
    """Total score, the graph's part of it, and the frames read."""

    score: float
    graph: float
    alignment: Alignment

    def times(self, other: Weight) -> Weight:
        """The weight of one path after the other."""
        return Weight(
            self.score + other.score, self.graph + other.graph, self.alignment + other.alignment
        )


ONE = Weight(0.0, 0.0, ())


class Arc(NamedTuple):
    """An arc; ``label`` 0 is none."""

    label: int
    target: int
    weight: Weight


_Subset = dict[int, Weight]
"""States that the same labels reach, with what they are behind the best of them."""


def determinize(
    arcs: Mapping[int, list[Arc]], ends: Mapping[int, float], start: int, beam: float
) -> list[list[Arc]]:
    """Determinize a lattice over words and phones, and the result over words.

    Both passes add an arc if the best path that it is part of is within the beam. Arcs may
    together make other paths, outside the beam; which ones, depends on the first pass.

    Parameters
    ----------
    arcs : mapping
        The arcs of every state, without cycles; labels are below 2^42.
    ends : mapping
        Final scores. They decide what is within the beam, and are not part of the result. A label
        that no other arc has leads to each of these states.
    start : int
    beam : float

    Returns
    -------
    list of list of Arc
        Arcs of every state; state 0 is the start. None if no path leads to an end.
    """
    first = _Determinizer(_with_phones(arcs, start), ends, start, beam)
    words = {
        state: [arc._replace(label=0) if arc.label > _PHONE else arc for arc in row]
        for state, row in enumerate(first.result())
    }
    return _Determinizer(words, first.ends, 0, beam).result()


def _with_phones(arcs: Mapping[int, list[Arc]], start: int) -> dict[int, list[Arc]]:
    """The lattice with labels where phones begin; none on arcs of the start, as in Kaldi."""
    result: dict[int, list[Arc]] = {}
    added = _PHONE
    for source, row in arcs.items():
        for arc in row:
            state = source
            *before, last = [(arc.label, arc.weight)] if source == start else _pieces(arc)
            for label, weight in before:
                added += 1
                result.setdefault(state, []).append(Arc(label, added, weight))
                state = added
            result.setdefault(state, []).append(Arc(last[0], arc.target, last[1]))
    return result


def _pieces(arc: Arc) -> Iterator[tuple[int, Weight]]:
    """An arc's label, and the phones that begin on it, each with the frames up to the next."""
    label, weight = arc.label, arc.weight._replace(alignment=())
    for place, frame in enumerate(arc.weight.alignment):
        phone = frame[1] and _PHONE + frame[1]
        if phone and not place and not label:
            label = phone
        elif phone and not place:  # the frame stays with the word
            yield label, weight._replace(alignment=(frame,))
            label, weight = phone, ONE
            continue
        elif phone:
            yield label, weight
            label, weight = phone, ONE
        weight = weight._replace(alignment=(*weight.alignment, frame))
    yield label, weight


class _Determinizer:
    """Determinizes a lattice, its best paths first, as far as they are within the beam.

    As :mod:`asr_hlg.lattice.determinize`, with the pruning of Kaldi's
    ``LatticeDeterminizerPruned``.

    Attributes
    ----------
    ends : dict
        Final scores of states of the result.
    """

    def __init__(
        self, arcs: Mapping[int, list[Arc]], ends: Mapping[int, float], start: int, beam: float
    ):
        self.ends: dict[int, float] = {}
        self._given, self._given_ends = arcs, ends
        order = topological(start, lambda state: (arc.target for arc in arcs.get(state, ())))
        self._rank = {state: place for place, state in enumerate(order)}
        self._rest: dict[int, float] = {}  # best scores to the end
        for state in reversed(order):
            best = ends.get(state, _NEVER)
            for arc in arcs.get(state, ()):
                best = max(best, arc.weight.score + self._rest[arc.target])
            self._rest[state] = best
        self._cutoff = self._rest[start] - beam
        self._arcs: list[list[Arc]] = []
        self._forward: list[float] = []
        self._alike: dict[object, list[tuple[int, list[float]]]] = {}
        self._waiting: list[tuple[float, int, int, int, _Subset]] = []
        self._count = 0
        if self._rest[start] > _NEVER:
            self._state(self._minimal({start: ONE}), 0.0)

    def result(self) -> list[list[Arc]]:
        """Arcs of every state; state 0 is the start. None if no path leads to an end."""
        while self._waiting and len(self._arcs) < _MOST_STATES:
            _, _, source, label, subset = heapq.heappop(self._waiting)
            before, subset = _normalised(subset)
            after, subset = _normalised(self._minimal(subset))
            weight = before.times(after)
            target = self._state(subset, self._forward[source] + weight.score)
            self._arcs[source].append(Arc(label, target, weight))
        return self._arcs

    def _state(self, subset: _Subset, score: float) -> int:
        """Number of a state; ``score`` is that of the best path to it."""
        items = sorted(subset.items())
        scores = [weight.score for _, weight in items]
        alike = self._alike.setdefault(
            tuple((state, weight.alignment) for state, weight in items), []
        )
        for number, others in alike:
            if all(abs(a - b) <= _DELTA for a, b in zip(scores, others, strict=True)):
                return number
        number = len(self._arcs)
        alike.append((number, scores))
        self._arcs.append([])
        self._forward.append(score)
        for state, weight in items:
            if state in self._given_ends:
                final = weight.score + self._given_ends[state]
                self.ends[number] = max(final, self.ends.get(number, _NEVER))
        self._plan(number, subset, score)
        return number

    def _plan(self, number: int, subset: _Subset, score: float) -> None:
        """Enqueue the arcs of a state that are within the beam."""
        following: dict[int, _Subset] = {}
        for state, weight in subset.items():
            for arc in self._given.get(state, ()):
                if arc.label:
                    states = following.setdefault(arc.label, {})
                    longer = weight.times(arc.weight)
                    if arc.target not in states or longer.score > states[arc.target].score:
                        states[arc.target] = longer
        for label, states in following.items():
            best = score + max(w.score + self._rest[state] for state, w in states.items())
            if best >= self._cutoff:
                self._count += 1  # the first of equals
                heapq.heappush(self._waiting, (-best, self._count, number, label, states))

    def _minimal(self, subset: _Subset) -> _Subset:
        """States reached without a label, if there is a label behind them or they are final."""
        reached = dict(subset)
        waiting = [(self._rank[state], state) for state in reached]
        heapq.heapify(waiting)
        minimal: _Subset = {}
        while waiting:
            _, state = heapq.heappop(waiting)
            weight = reached[state]
            if state in self._given_ends:
                minimal[state] = weight
            for arc in self._given.get(state, ()):
                if arc.label:
                    minimal[state] = weight
                    continue
                old = reached.get(arc.target)
                if old is None:
                    heapq.heappush(waiting, (self._rank[arc.target], arc.target))
                if old is None or weight.score + arc.weight.score > old.score:
                    reached[arc.target] = weight.times(arc.weight)
        return minimal


def _normalised(subset: _Subset) -> tuple[Weight, _Subset]:
    """What all states of a subset have in common, and what remains of each."""
    best = max(subset.values(), key=lambda weight: weight.score)
    length = min(len(weight.alignment) for weight in subset.values())
    for weight in subset.values():
        while weight.alignment[:length] != best.alignment[:length]:
            length -= 1
    rest = {
        state: Weight(
            weight.score - best.score, weight.graph - best.graph, weight.alignment[length:]
        )
        for state, weight in subset.items()
    }
    return best._replace(alignment=best.alignment[:length]), rest


def topological(start: int, targets: Callable[[int], Iterable[int]]) -> list[int]:
    """States that can be reached from a state, in topological order."""
    done: list[int] = []
    seen: set[int] = set()
    stack = [(start, False)]
    while stack:
        state, is_left = stack.pop()
        if is_left:
            done.append(state)
        elif state not in seen:
            seen.add(state)
            stack.append((state, True))
            stack.extend((target, False) for target in targets(state) if target not in seen)
    return done[::-1]
